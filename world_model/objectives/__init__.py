"""Objectives for pre-training an encoder, one per file."""
