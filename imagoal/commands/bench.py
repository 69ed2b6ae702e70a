"""`imagoal bench`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagoal import files
from imagoal.commands._agent_flags import AgentFlags
from imagoal.commands._common import cpus
from imagoal.errors import UsageError

if TYPE_CHECKING:  # the door stays quick
    from imagoal.eval.latency import Budgets, Timing


@dataclass(frozen=True)
class Bench(AgentFlags):
    """Time an agent's plans: cold and warm, by phase, with percentiles, beside what the machine can do; success at a budget."""

    tasks: str = "dev"
    """dev, test, or an .npz file: whose episodes the plans are made in."""
    plans: int = 662
    """Warm plans of each row; p90 is given from 64 up, p99 from 662."""
    batches: str = "1,8"
    """Problems planned for side by side: a row for each."""
    all_threads: bool = False
    """Rows for all CPUs too, beside those for --threads."""
    budget_ms: str = ""
    """Milliseconds per env action, e.g. 10,33,100: how many tasks succeed under each."""
    count: int = 20
    """Tasks under each budget, from the first."""
    most_iterations: int = 30
    """Of a search under a budget that time does not end before, whatever --planner.iterations is."""
    seed: int = 0
    """Of the order in which rows and budgets take turns."""
    out: Path | None = None
    """The numbers as JSON, the figure of success beside it; if not said, a file below runs/bench named after these flags."""

    def run(self) -> int:
        """Time, print and write."""
        self.prepare()
        timing, budgets = self._timing(), self._budgets()
        from imagoal.eval.latency import bench, bench_text, budget_figure

        env = self.make_env()
        found = bench(self.built(env), env, self.tasks, timing, budgets)
        out = self.out or Path("runs/bench") / f"{self._name()}.json"
        files.write_json(out, found)
        print(bench_text(found))
        print(f"wrote {out}")
        if budgets:
            setting, kind = found["setting"], found["setting"]["headline"]
            title = f"{setting['env']}: success ({kind}) against time, n = {found['budgets'][0]['success'][kind]['n']}"
            files.write_text(out.with_suffix(".svg"), budget_figure(title, found["budgets"], kind))
            print(f"wrote {out.with_suffix('.svg')}")
        return 0

    def _timing(self) -> "Timing":
        from imagoal.eval.latency import Timing

        threads = (self.threads, cpus()) if self.all_threads and cpus() != self.threads else (self.threads,)
        return Timing(self.plans, tuple(int(each) for each in _numbers("--batches", self.batches, r"\d+")), threads, self.seed)

    def _budgets(self) -> "Budgets | None":
        from imagoal.eval.latency import Budgets

        given = _numbers("--budget-ms", self.budget_ms, r"-?\d+(\.\d+)?") if self.budget_ms else []
        budgets = Budgets(tuple(given) or (1.0,), self.count, self.most_iterations)
        return budgets if given else None

    def _name(self) -> str:
        """Of a file: the same for the same flags, another for others."""
        return f"{re.sub('[^A-Za-z0-9_]', '-', self.env)}-{self.agent}-{files.hash_of(repr(self))[:8]}"


def _numbers(flag: str, text: str, form: str) -> list[float]:
    """Numbers with commas between them.

    Raises:
        UsageError: it is no such list.
    """
    parts = text.split(",")
    if not all(re.fullmatch(form, part) for part in parts):
        raise UsageError(f"{flag} {text!r}; expected numbers with commas between them, e.g. 1,8")
    return [float(part) for part in parts]
