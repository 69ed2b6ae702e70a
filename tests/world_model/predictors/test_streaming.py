"""Claims about the transformers that are made for planning: nothing is computed twice, and a sliding window stays exact."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal import find
from imagoal.errors import UsageError
from imagoal.world_model._types import Predictor
from imagoal.world_model.predictors._blocks import Block
from imagoal.world_model.predictors.streaming import Streaming
from imagoal.world_model.predictors.transformer import Transformer

TOKENS, SIZE, ACTIONS, STEPS = 2, 5, 2, 24


def build(config: Streaming | Transformer, tokens: int = TOKENS) -> Predictor:
    torch.manual_seed(0)
    predictor: Predictor = config.build(tokens, SIZE, ACTIONS)
    for parameter in predictor.parameters():
        nn.init.normal_(parameter, std=0.15)
    return predictor.requires_grad_(False)


def episode(tokens: int = TOKENS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, STEPS, tokens, SIZE, generator=generator), torch.rand(2, STEPS, ACTIONS, generator=generator) * 2 - 1


def calls(predictor: Predictor, counted: type[nn.Module]) -> tuple[Counter[nn.Module], Counter[nn.Module]]:
    """How often each module of that type is called, and on how many times altogether; both are filled later."""
    often, times = Counter[nn.Module](), Counter[nn.Module]()

    def count(module: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        often[module] += 1
        times[module] += inputs[0].shape[1]

    for module in predictor.modules():
        if isinstance(module, counted):
            module.register_forward_hook(count)
    return often, times


@pytest.mark.parametrize("history", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_the_blocks_share_out_what_an_output_sees(history: int, depth: int) -> None:
    lags = Streaming(history=history, depth=depth).lags()
    assert len(lags) == depth
    assert sum(lags) == history - 1
    assert max(lags) - min(lags) <= 1
    assert lags == sorted(lags, reverse=True)


@pytest.mark.parametrize("history", [1, 3, 4, 8])
@pytest.mark.parametrize("tokens", [1, 3])
def test_a_window_that_slid_many_times_over_is_exact(history: int, tokens: int) -> None:
    """Rolling caches would drift if positions were counted from the window's start, or if a cache held too little."""
    predictor = build(Streaming(history=history, width=16, heads=2), tokens)
    latents, actions = episode(tokens)
    imagined, memory = predictor.unroll(predictor.start(latents[:, :1], actions[:, :0]), actions)
    whole = torch.cat([latents[:, :1], imagined[:, :-1]], 1)
    torch.testing.assert_close(imagined, predictor(whole, actions), atol=2e-5, rtol=2e-5)
    assert sum(cache.shape[1] for cache in memory[1:]) == history - 1


def test_each_frame_passes_each_block_once() -> None:
    predictor = build(Streaming(history=4, width=16, heads=2))
    latents, actions = episode()
    memory = predictor.start(latents[:, :4], actions[:, :3])
    often, times = calls(predictor, Block)
    predictor.unroll(memory, actions[:, :8])
    assert set(often.values()) == set(times.values()) == {8}


@pytest.mark.parametrize("config", [Streaming(width=16, heads=2), Transformer(width=16, heads=2)])
def test_what_actions_do_to_the_blocks_is_computed_once_per_plan(config: Streaming | Transformer) -> None:
    predictor = build(config)
    latents, actions = episode()
    memory = predictor.start(latents[:, :4], actions[:, :3])
    often, _ = calls(predictor, nn.Linear)
    predictor.unroll(memory, actions[:, :8])
    modulations = [module for name, module in predictor.named_modules() if name.endswith("modulation")]
    assert len(modulations) == config.depth + 1
    assert [often[module] for module in modulations] == [1] * len(modulations)


@pytest.mark.parametrize("keys", [1, 2, 3, 8, 9])
def test_attention_of_a_single_query_is_the_same_attention(keys: int) -> None:
    block = Block(16, 4, 8, 32, lags=keys - 1)
    nn.init.normal_(block.lag_bias)
    query, keys_values = torch.randn(6, 1, 1, 32), torch.randn(6, keys, 1, 64)
    key, value = (part.unflatten(3, (4, 8)).flatten(1, 2).transpose(1, 2) for part in keys_values.chunk(2, 3))
    band = block.band(1, keys, tokens=1)
    expected = F.scaled_dot_product_attention(query[:, 0].unflatten(2, (4, 8)).transpose(1, 2), key, value, band)
    for portions in ([keys_values], keys_values.split(1, 1)):
        torch.testing.assert_close(block._gather(query, portions, band), expected.transpose(1, 2).flatten(2)[:, None])


@pytest.mark.parametrize("name", ["streaming", "transformer"])
def test_sizes_that_do_not_go_together_are_refused(name: str) -> None:
    config = find.find("predictor", name)
    with pytest.raises(UsageError, match=r"width is 90; expected a multiple of heads, 4"):
        config(width=90)
    with pytest.raises(UsageError, match=r"head_size is -1; expected 0 or more"):
        config(head_size=-1)
    assert config(width=90, head_size=8).build(1, SIZE, ACTIONS).history == config().history
