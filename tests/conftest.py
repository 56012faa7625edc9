"""Makes `tools` importable from the tests and names the slow ones."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last, so that it never hides an installed emlit


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: builds and installs the package (deselect with -m 'not slow')")
