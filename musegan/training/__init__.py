"""Training loops and the folders they write."""
