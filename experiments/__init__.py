"""What the published numbers come from: `python -m experiments.FOLDER.SCRIPT`, from the root of the repository."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments/results"
ROWS = RESULTS / "rows"
"""Results and tables of each env, which ship with imagoal."""
