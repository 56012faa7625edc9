"""Makes `tools` importable from the tests, gives the numerical libraries one thread, and names the slow tests."""
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last, so that it never hides an installed emlit
for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):  # more threads cost time on small arrays, much on a busy machine
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: builds and installs the package (deselect with -m 'not slow')")
