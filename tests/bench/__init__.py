"""The benchmark, `make bench`; parts of it: `make bench BENCH="--quick --only latency,scale"`."""
