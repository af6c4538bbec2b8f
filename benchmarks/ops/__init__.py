"""One benchmark per op: equal results first, then rivals interleaved in one run."""
