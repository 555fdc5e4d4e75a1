"""The benchmark: `make bench`, or parts of it with `make bench BENCH="--only join --quick"`."""
