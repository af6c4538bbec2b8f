"""Speed of the ops: a file for each gives its cases, `python -m benchmarks.ops` measures them."""
