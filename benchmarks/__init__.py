"""Speed and memory of emlit beside its peers. `python -m benchmarks` runs what `make bench` runs."""
