"""Maximum likelihood and Expectation-Maximization, derived and running."""
__version__ = "0.1.0"
from .mixture import GaussianMixture, Mixture
