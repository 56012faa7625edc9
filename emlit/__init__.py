"""Maximum likelihood and Expectation-Maximization, derived and running."""
__version__ = "0.1.0"
from . import acceleration, convergence, direct, distributed, missing, online, stream, tall
from .chains import HMM, CategoricalHMM, GaussianHMM, PoissonHMM
from .choosing import Selection, plot_ellipses, plot_history, plot_responsibilities, plot_selection, select
from .conditional import GaussianMixtureImputer, Pooled, pool
from .gaussian import GaussianMixture, Prior
from .keeping import load, save
from .mixture import Mixture
from .regression import LinearRegression, LogisticRegression
from .topics import LatentDirichletAllocation
