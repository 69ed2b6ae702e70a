"""What people look at: comparisons, films, plots and the report."""

from imagoal.eval.show._compare import compare
from imagoal.eval.show._film import record_film
from imagoal.eval.show._picture import draw_film, save_film
from imagoal.eval.show._report import SHIPPED, report
from imagoal.eval.show._row import parse_row
from imagoal.eval.show._sources import read_results

__all__ = ["SHIPPED", "compare", "draw_film", "parse_row", "read_results", "record_film", "report", "save_film"]
