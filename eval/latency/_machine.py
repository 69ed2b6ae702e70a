"""What the machine at hand can do, and what else it was doing."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from imagoal.world_model.models import bf16_units

SIZE = 1024
"""Rows and columns of the matrices: large enough to keep the units busy, small enough to stay in a cache."""
REPEATS = 3
"""Products in a burst."""

Clock = Callable[[], float]
"""Seconds."""


def cpu_clock(threads: int) -> Clock:
    """CPU time of the work: of this thread, or of the whole process where several threads share it."""
    return time.thread_time if threads == 1 else time.process_time


def fair_clock(threads: int) -> Clock:
    """What ratios are taken of: CPU time on one thread, which other processes do not lengthen, and wall time on several."""
    return time.thread_time if threads == 1 else time.perf_counter


class Gemm:
    """Matrix products on so many threads, a burst now and then; their rate is what nothing on this machine exceeds by much."""

    def __init__(self, threads: int) -> None:
        self._threads, self._clock = threads, fair_clock(threads)
        types = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bf16_units() else {})
        self._matrices = {name: torch.ones(SIZE, SIZE, dtype=dtype) for name, dtype in types.items()}
        self._seconds: dict[str, list[float]] = {name: [] for name in types}

    def measure(self) -> None:
        """A burst."""
        torch.set_num_threads(self._threads)
        for name, matrix in self._matrices.items():
            for _ in range(REPEATS):
                began = self._clock()
                torch.mm(matrix, matrix)
                self._seconds[name].append(self._clock() - began)

    def gflops(self) -> dict[str, float | None]:
        """Median GFLOP/s for fp32, and for bf16 where the processor has a unit for it."""
        known = {name: 2e-9 * SIZE**3 / median(seconds) for name, seconds in self._seconds.items()}
        return {name: round(known[name], 1) if name in known else None for name in ("fp32", "bf16")}


def since_start(moment: float) -> float | None:
    """Milliseconds from the start of this process to a moment of `time.perf_counter`; None where the system does not tell."""
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return None
    ticks = int(stat.read_text().rpartition(")")[2].split()[19])  # the 22nd field, after a name that may hold anything
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return 1000 * (age - (time.perf_counter() - moment))


def count_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float:
    """Processes that wanted to run in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def busy(start: float, threads: int, cpus: int, stretch: float) -> str | None:
    """Why not to trust the times, if there is a reason.

    Args:
        start: load before anything was timed.
        threads: the most that were used.
        cpus: that there are.
        stretch: wall time of a plan on one thread divided by its CPU time; 1 on an idle machine.
    """
    if start + threads > cpus + 0.5:
        return f"the load was {start:g} before anything was timed, and {threads} of {cpus} CPUs are used: close other programs"
    if stretch > 1.15:
        return (
            f"plans waited {100 * (stretch - 1):.0f} % longer than they computed: close other programs, or trust CPU times only"
        )
    return None
