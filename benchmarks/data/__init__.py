"""Speed and memory of the way from files to batches, and what it loses: `reading`, `losses`, `preparation`, `loader`."""
