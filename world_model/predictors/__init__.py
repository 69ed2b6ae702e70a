"""Action-conditioned predictors, one per file."""
