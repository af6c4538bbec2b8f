"""Speed and memory of the way from files to batches."""
