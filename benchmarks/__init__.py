"""Benchmarks: `python -m benchmarks.ops.binarize`; results are JSON lines in `benchmarks/results/`."""
