"""What acts in an environment, one per file."""
