"""Benchmarks: `python -m benchmarks.ops`; results are JSON lines in `benchmarks/results/`."""
