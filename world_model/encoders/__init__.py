"""Frozen encoders, one per file."""
