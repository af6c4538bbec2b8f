"""Speed of training steps of networks, and quality of what they learn."""
