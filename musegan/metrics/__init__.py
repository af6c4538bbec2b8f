"""Rolls to numbers."""
