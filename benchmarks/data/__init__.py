"""What data sets hold and what reading them loses: `python -m benchmarks.data.reading FOLDER`, `.losses FOLDER`."""
