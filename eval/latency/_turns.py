"""What is compared takes turns, in random order, so that whatever else runs on the machine meets all alike."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from imagoal.eval.latency._machine import Clock


def in_turn(count: int, rounds: int, seed: int) -> Iterator[tuple[int, int]]:
    """The number of a round and which of `count` is next: each once in every round, in random order."""
    rng = np.random.default_rng(seed)
    for number in range(rounds):
        for which in rng.permutation(count):
            yield number, int(which)


def take_turns(
    jobs: Mapping[str, Callable[[], object]],
    rounds: int,
    seed: int = 0,
    clock: Clock = time.thread_time,
    prepare: Callable[[str, int], object] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each job in each round, after one round that warms up and is not counted.

    Args:
        jobs: what is timed, by name.
        rounds: how many are counted.
        seed: of the order within the rounds.
        clock: seconds; CPU time of this thread by default.
        prepare: called before each job with its name and the number of the round, 0 for the one that warms up; not timed.
    """
    names, seconds = list(jobs), [[0.0] * len(jobs) for _ in range(rounds + 1)]
    for number, which in in_turn(len(names), rounds + 1, seed):
        if prepare:
            prepare(names[which], number)
        began = clock()
        jobs[names[which]]()
        seconds[number][which] = clock() - began
    return {name: [line[which] for line in seconds[1:]] for which, name in enumerate(names)}


def ratio(times: Mapping[str, Sequence[float]], name: str, base: str) -> float:
    """Median over the rounds of a job's time divided by another's in the same round."""
    return median(own / other for own, other in zip(times[name], times[base], strict=True))
