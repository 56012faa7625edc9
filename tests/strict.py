"""What many test files share: comparing in full, and warnings that are errors or are not heard."""
import warnings

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_warnings():
    "Any warning is an error, in the files that import this."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def equal(actual, desired, rtol=1e-10, **kwargs):
    "Equal numbers, to rounding, of equal shape and type."
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=float), rtol=rtol, strict=True, **kwargs)


def quiet(f):
    "What f() returns; its warnings are not heard."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f()
