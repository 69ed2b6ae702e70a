"""Frozen encoders, predictors, world models, and their training."""
