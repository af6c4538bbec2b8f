"""MIDI to tracks, packed bars and batches."""
