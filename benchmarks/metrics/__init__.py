"""Speed of the metrics that look through a whole corpus: `originality`."""
