"""The public library: lazy, complete, documented by examples that run, and one Push episode in a few lines."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import imagoal
from imagoal.errors import UsageError

FUNCTIONS = [name for name in imagoal.__all__ if inspect.isfunction(getattr(imagoal, name)) and name != "make"]


def test_every_public_name_is_there_and_listed_once() -> None:
    listed = sorted(name for names in imagoal._PLACES.values() for name in names)
    assert listed == sorted(imagoal.__all__)
    assert set(imagoal.__all__) <= set(dir(imagoal))
    with pytest.raises(AttributeError, match="module 'imagoal' has no attribute 'nothing'"):
        imagoal.nothing  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, imagoal; assert not {'torch', 'mujoco', 'gymnasium', 'numpy'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_public_function_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(imagoal, name)
    found = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert sum(len(test.examples) for test in found) >= 2, f"{name} has no example"
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said: list[str] = []
    for test in found:
        assert doctest.DocTestRunner(optionflags=flags).run(test, out=said.append).failed == 0, "".join(said)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_has_few_parameters_all_typed(name: str) -> None:
    parameters = inspect.signature(getattr(imagoal, name)).parameters.values()
    assert len(parameters) <= 6
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)


def test_one_push_episode_timed_with_another_planner_takes_a_few_lines() -> None:
    env = imagoal.make("push")
    agent = imagoal.make_agent("mpc", env, planner="random_shooting")
    result = imagoal.evaluate(agent, env, tasks="test", count=1)
    assert len(result["episodes"]) == 1
    assert result["summary"]["latency_ms"]["per_action"]["p50"] > 0


def test_a_world_model_where_an_agent_is_expected_is_named() -> None:
    env = imagoal.make("ball")
    model = imagoal.make_agent("mpc", env).planning.model  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"agent is a Latent, .*; expected an agent; imagoal.make_agent"):
        imagoal.evaluate(model, env)  # type: ignore[arg-type]


def test_an_agent_of_ones_own_is_evaluated_and_named() -> None:
    from imagoal.agents.random_actions import RandomActions

    class Mine(RandomActions):
        """Somebody's agent."""

    env = imagoal.make("ball")
    result = imagoal.evaluate(Mine(env), env, count=2)
    assert result["agent"]["name"].endswith("Mine")
    assert result["agent"]["world_model"] is None


def test_agents_print_well() -> None:
    said = repr(imagoal.make_agent("mpc", imagoal.make("ball")))
    assert said.startswith("BuiltAgent\n  name: mpc\n")
    assert said.count("\n") <= 8
    assert max(map(len, said.splitlines())) <= 125
