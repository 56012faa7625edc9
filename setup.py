"""Packaging of emlit: every value comes from settings.ini."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]


def long_description():
    """The README with its links made absolute, since package indexes do not resolve relative ones."""
    text = (here / "README.md").read_text(encoding="utf-8")
    raw = cfg["git_url"].replace("github.com", "raw.githubusercontent.com")
    text = text.replace("](nbs/images/", f"]({raw}/{cfg['branch']}/nbs/images/")
    for target in ("nbs/", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        text = text.replace(f"]({target}", f"]({cfg['git_url']}/blob/{cfg['branch']}/{target}")
    return text


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    url=cfg["git_url"],
    project_urls={"Documentation": cfg["doc_host"] + cfg["doc_baseurl"]},
    license="Apache-2.0",
    keywords=cfg["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Topic :: Scientific/Engineering :: Mathematics",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: {v}" for v in cfg["python_versions"].split()),
    ],
    packages=find_packages(include=["emlit", "emlit.*"]),
    package_data={"emlit": ["csv/*.csv"]},
    python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(),
    extras_require={"dev": cfg["dev_requirements"].split(), **{extra: cfg[f"{extra}_requirements"].split() for extra in ("numba", "parquet", "dask")}},
    entry_points={"nbdev": [f"{cfg['lib_name']} = {cfg['lib_name']}._modidx:d"]},  # nbdev links names in the text to these
    zip_safe=False,
)
