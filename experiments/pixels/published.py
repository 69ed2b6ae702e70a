"""What one imagined step costs at sizes that were published: random weights, so speed alone, of an analogue of each.

    python -m experiments.pixels.published                     (five minutes of one core; needs nothing but this repository)

- *LeWM* (arXiv 2603.19312): one token, our `transformer` of its size: depth 6, width 192, 16 heads of 64, MLPs of 2048.
- *DINO-WM* (arXiv 2411.04983): 196 tokens of 384 numbers, 3 frames, depth 6, 16 heads of 64, MLPs of 2048.
- *DIAMOND* (arXiv 2405.12399): a U-Net on whole 64 x 64 frames, 4 levels of 64 channels with 2 blocks, told at both norms of
  a block; 4.4 M parameters there, 4.3 M here, 3 denoising steps.
- Ours, as they ship for Ball, by their own files.

64 sequences side by side, one step of each, on one thread, by turns; medians. *Utilisation* is the rate at which its products
and convolutions are computed, as a share of that of plain matrix products of 1,024 in fp32 in the same run. From here to a
plan: samples x iterations x horizon / 64 such steps. Writes `experiments/results/pixels/published.table.json`.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from experiments import publish
from imagoal.eval.latency import take_turns
from imagoal.world_model.models import GROUPS, Block, Diffusion, Head, MapModel, Mean, bf16_units, load
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.predictors.transformer import Transformer

SEQUENCES, TURNS, SIZE = 64, 5, 1024
COLUMNS = ["network", "parameters", "places x channels", "network calls per imagined step", "MFLOP per sequence and step"]
COLUMNS += ["ms per step of 64, fp32", "ms per step of 64, bf16", "utilisation, fp32", "times LeWM's, fp32"]
Step = Callable[[], object]
ATTENTION = {"depth": 6, "heads": 16, "head_size": 64, "mlp_size": 2048}


class TwiceTold(Block):
    """The trunk's block, whose first norm is told as well."""

    def __init__(self, size_in: int, size_out: int, told: int) -> None:
        super().__init__(size_in, size_out, told)
        self.norm_in, self.film_in = nn.GroupNorm(GROUPS, size_in, affine=False), nn.Linear(told, 2 * size_in)

    def forward(self, hidden: Tensor, told: Tensor) -> Tensor:
        """As a block's."""
        (scale, shift), (again, moved) = (film(told)[:, :, None, None].chunk(2, 1) for film in (self.film_in, self.film))
        inside = self.norm_out(self.conv_in(F.silu(self.norm_in(hidden) * (1 + scale) + shift)))
        return torch.as_tensor(self.skip(hidden) + self.conv_out(F.silu(inside * (1 + again) + moved)))


class Whole(nn.Module):
    """A U-Net over whole frames, as DIAMOND's: blocks told of noise and actions, attention at the coarsest level."""

    history, told = 4, 256

    def __init__(self, channels: int = 64, levels: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(3 * (self.history + 1), channels, 3, padding=1), nn.Conv2d(channels, 3, 3, padding=1)
        self.condition = nn.Sequential(nn.Linear(self.history * 2 + 1, self.told), nn.SiLU(), nn.Linear(self.told, self.told))
        self.down = nn.ModuleList(
            nn.ModuleList(TwiceTold(channels, channels, self.told) for _ in range(depth)) for _ in range(levels)
        )
        self.smaller = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(levels - 1))
        self.middle = nn.ModuleList(TwiceTold(channels, channels, self.told) for _ in range(2))
        self.attention = nn.MultiheadAttention(channels, 8, batch_first=True)
        self.up = nn.ModuleList(
            nn.ModuleList(TwiceTold(2 * channels, channels, self.told) for _ in range(depth + 1)) for _ in range(levels)
        )
        self.larger = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(levels - 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> Tensor:
        """As a trunk's."""
        told = self.condition(torch.cat([actions.flatten(1), log_sigma[:, None]], 1))
        hidden = self.enter(torch.cat([maps.flatten(1, 2), noisy], 1))
        kept = []
        for level, blocks in enumerate(self.down):
            kept.append(hidden)
            for block in blocks:  # type: ignore[union-attr]
                hidden = block(hidden, told)
                kept.append(hidden)
            hidden = self.smaller[level](hidden) if level < len(self.smaller) else hidden
        hidden = self.middle[0](hidden, told)
        cells = hidden.flatten(2).transpose(1, 2)
        hidden = hidden + self.attention(cells, cells, cells)[0].transpose(1, 2).reshape(hidden.shape)
        hidden = self.middle[1](hidden, told)
        for level, blocks in enumerate(self.up):
            if level:
                hidden = self.larger[level - 1](F.interpolate(hidden, scale_factor=2.0))
            for block in blocks:  # type: ignore[union-attr]
                hidden = block(torch.cat([hidden, kept.pop()], 1), told)
        return torch.as_tensor(self.leave(F.silu(hidden)))


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets, precisions = subjects(), ("fp32", "bf16") if bf16_units() else ("fp32",)
    jobs = {f"{name}, {precision}": partial(in_type, nets[name][3], precision) for name in nets for precision in precisions}
    times = {name: 1000 * median(seconds) for name, seconds in take_turns(jobs, TURNS).items()}
    left = torch.randn(SIZE, SIZE)
    rate = 2e-9 * SIZE**3 / median(take_turns({"product": lambda: left @ left}, 8)["product"])
    rows = [row(name, nets[name], times, rate) for name in nets]
    publish("pixels/published", COLUMNS, rows, {"sequences": SEQUENCES, "gflops_of_matmul": round(rate, 1)})


def in_type(step: Step, precision: str) -> None:
    """An imagined step."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        step()


def subjects() -> dict[str, tuple[int, str, int, Step]]:
    """Of each network: parameters, what it works on, its calls per imagined step, and an imagined step."""
    lewm, dino = (Transformer(width=width, **ATTENTION).build(n, width, 10) for width, n in ((192, 1), (384, 196)))
    found = {
        "LeWM, 1 token": (size(lewm), "1 x 192", 1, predicting(lewm, 1, 192)),
        "DINO-WM, 196 tokens": (size(dino), "196 x 384", 1, predicting(dino, 196, 384)),
    }
    whole = Whole().eval().requires_grad_(False)
    found["DIAMOND, whole frames"] = (size(whole), "64 x 64 pixels x 64", 3, following(whole, Diffusion(steps=3), 4, 2))
    for name in ("Ball-latent", "Ball-pixel_regression", "Ball-pixel_diffusion"):
        found[name] = shipped(load(name).model)
    return found


def shipped(model: Latent | MapModel) -> tuple[int, str, int, Step]:
    """The same of a shipped world model."""
    if isinstance(model, Latent):
        return size(model.predictor), "1 x 32", 1, predicting(model.predictor, 1, 32, model.action_size)
    calls = model.head.steps if isinstance(model.head, Diffusion) else 1
    inner = f"16 x 16 patches x {model.net.config.width}"
    return size(model.net), inner, calls, following(model.net, model.head, model.history, model.action_size)


def predicting(net: nn.Module, tokens: int, width: int, actions: int = 10) -> Step:
    """A step of a predictor that knows its whole window."""
    predictor: nn.Module = net.eval().requires_grad_(False)
    memory = predictor.start(torch.randn(SEQUENCES, 3, tokens, width), torch.randn(SEQUENCES, 2, actions))  # type: ignore[operator]
    given = torch.randn(SEQUENCES, 1, actions)
    return lambda: predictor.unroll(memory, given)  # type: ignore[operator]


def following(net: nn.Module, head: Head | Mean, history: int, actions: int) -> Step:
    """A step of a pixel model."""
    maps, given = torch.rand(SEQUENCES, history, 3, 64, 64), torch.rand(SEQUENCES, history, actions)
    noise = torch.randn(SEQUENCES, 3, 64, 64)
    return lambda: head.follow(net, maps, given, noise)


def row(name: str, about: tuple[int, str, int, Step], times: dict[str, float], rate: float) -> list[object]:
    """Of the table."""
    parameters, places, calls, step = about
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        step()
    each, exact, rough = flops.get_total_flops() / SEQUENCES / 1e6, times[f"{name}, fp32"], times.get(f"{name}, bf16")
    used, ratio = each * SEQUENCES / exact / rate, exact / times["LeWM, 1 token, fp32"]
    clock = [round(exact, 2), rough and round(rough, 2)]
    return [name, parameters, places, calls, round(each, 3), *clock, round(used, 2), round(ratio, 2)]


def size(net: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    main()
