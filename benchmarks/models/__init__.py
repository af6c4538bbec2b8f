"""Speed of training steps of networks."""
