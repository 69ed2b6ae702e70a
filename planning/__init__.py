"""Planners, one per file, and the cost that they minimise."""
