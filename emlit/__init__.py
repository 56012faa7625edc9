"""Maximum likelihood and Expectation-Maximization, derived and running."""
__version__ = "0.1.0"
from .choosing import Selection, plot_ellipses, plot_history, plot_responsibilities, plot_selection, select
from .gaussian import GaussianMixture, Prior
from .keeping import load, save
from .mixture import Mixture
from .regression import LinearRegression, LogisticRegression
