"""Reports as HTML: one file each, without scripts or network."""
