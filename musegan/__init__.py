"""musegan: bars of multitrack music from a convolutional GAN over piano-rolls."""

__version__ = "0.1.0"
