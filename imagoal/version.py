"""The version of imagoal. A leaf."""

__version__ = "0.1.0"
