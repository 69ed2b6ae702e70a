"""A shortlist keeps the best of a search, and settles which of them is best exactly."""

import pytest
import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.planning._rescoring import Finalists


def numbers(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def first_action(actions: Tensor) -> Tensor:
    return actions[:, :, 0, 0]


def test_a_shortlist_keeps_the_best_of_all_calls_by_problem() -> None:
    shortlist = Finalists(first_action, 3)
    populations = [numbers(2, count, 4, 1) + 0.1 * count for count in (2, 7, 5)]
    for population in populations:
        assert torch.equal(shortlist(population), first_action(population))
    every = torch.cat(populations, 1)
    assert shortlist.costs is not None
    assert shortlist.sequences is not None
    assert torch.equal(shortlist.costs, first_action(every).sort(1).values[:, :3])
    assert torch.equal(first_action(shortlist.sequences), shortlist.costs)


def test_costs_that_are_not_finite_never_reach_a_shortlist() -> None:
    shortlist = Finalists(lambda actions: torch.tensor([[torch.nan, 3.0, -torch.inf, 2.0]]), 2)
    population = numbers(1, 4, 3, 1)
    shortlist(population)
    assert shortlist.sequences is not None
    assert torch.equal(shortlist.sequences, population[:, [3, 1]])


def test_finalists_are_judged_exactly_and_the_regret_is_what_the_rough_choice_would_have_cost() -> None:
    exact = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, torch.nan, 8.0]])
    rough = torch.tensor([[1.2, 1.1, 3.0, 4.0], [5.0, 6.0, 4.0, 8.0]])
    shortlist = Finalists(lambda actions: rough.gather(1, actions[:, :, 0, 0].long()), 3)
    shortlist(torch.arange(4.0).expand(2, 4)[:, :, None, None])
    verdict = shortlist.settle(lambda actions: exact.gather(1, actions[:, :, 0, 0].long()))
    assert verdict.actions[:, 0, 0].tolist() == [0.0, 0.0]
    assert verdict.cost.tolist() == [1.0, 5.0]
    assert verdict.regret.tolist() == [1.0, torch.inf]
    same = shortlist.settle(lambda actions: rough.gather(1, actions[:, :, 0, 0].long()))
    assert same.regret.tolist() == [0.0, 0.0]


def test_nothing_searched_is_nothing_to_judge() -> None:
    with pytest.raises(UsageError, match="nothing was searched"):
        Finalists(first_action, 3).settle(first_action)
