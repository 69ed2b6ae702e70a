"""imagoal: plan to image goals with learned world models."""

__version__ = "0.1.0"
