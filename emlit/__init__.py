"""Maximum likelihood and Expectation-Maximization, derived and running."""
__version__ = "0.1.0"
