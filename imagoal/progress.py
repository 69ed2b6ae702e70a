"""Progress of long work: a moving bar on a terminal, a plain line now and then otherwise. A leaf."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """`with Progress("training", total=3000) as progress: progress.advance(loss=0.3)`; writes to stderr."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self._bar: Bar | None = None
        self._began = self._said = time.monotonic()
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[numbers]}"), console=Console(stderr=True))
            self._task = self._bar.add_task(label, total=total, completed=done, numbers="")

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None:
            print(f"{self.label}: {self.done}/{self.total} in {time.monotonic() - self._began:.0f} s", file=sys.stderr)

    def advance(self, count: int = 1, **numbers: float) -> None:
        """`count` more are done; `numbers` are shown beside the count."""
        self.done += count
        text = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self._bar:
            self._bar.update(self._task, completed=self.done, numbers=text)
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(f"{self.label}: {self.done}/{self.total} {text}", file=sys.stderr, flush=True)
