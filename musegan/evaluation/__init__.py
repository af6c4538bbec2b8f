"""Generated phrases beside real ones: statistics, floors, naive rows."""
