"""The trunk of pixel models against the U-Net of diffusers: time of a step, and error after as many steps.

    pip install diffusers==0.42.1                        (not needed by imagoal)
    python -m experiments.pixels.trunks DATA [STEPS]             (ten minutes of one core; DATA is a store of Ball, STEPS 1000)

Both imagine the next frame, on 4 x 4 pixels as channels, from the same windows in the same order, by the same regression, in
fp32 on one thread. `UNet2DModel` is without attention, one layer per block, 48 channels at 16 x 16 and as many at 8 x 8 as
give it about our number of parameters; actions come in as its class embedding. Times are of this process's processor, by
turns; ratios are medians over turns.

Writes `experiments/results/pixels/trunks.table.json`.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments import publish
from imagoal.envs.store import Store, open_cache
from imagoal.eval.latency import ratio, take_turns
from imagoal.world_model.models import Maps, Mean, Trunk, TrunkNet, imagining_loss, map_errors
from imagoal.world_model.training import Windows, split_episodes

BATCH, FRAMES, TURNS = 16, 64, 9
WIDTHS = (48, 104)
"""Channels of diffusers' U-Net at 16 x 16 and at 8 x 8."""
RATE = 1.5e-3
COLUMNS = ["trunk", "parameters", "training step, ratio", "forward of 64 frames, ratio", "steps"]
COLUMNS += ["held-out rms, 1 step, % of white"]


class Theirs(nn.Module):
    """`UNet2DModel` in the place of our trunk."""

    def __init__(self, trunk: TrunkNet, action_size: int) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.config, self.history = trunk.config, trunk.history
        self.register_buffer("unit", trunk.unit.clone())
        cells = trunk.channels * self.config.patch**2
        self.net = UNet2DModel(
            sample_size=16,
            in_channels=(1 + self.history) * cells,
            out_channels=cells,
            layers_per_block=1,
            block_out_channels=WIDTHS,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            mid_block_type=None,
            add_attention=False,
            norm_num_groups=8,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        )
        told = 4 * WIDTHS[0]
        self.actions = nn.Sequential(nn.Linear(self.history * action_size, told), nn.SiLU(), nn.Linear(told, told))
        nn.init.zeros_(self.net.conv_out.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> Tensor:
        """As the trunk's."""
        patches = F.pixel_unshuffle(torch.cat([maps.flatten(1, 2), noisy], 1), self.config.patch)
        told = self.actions(actions.flatten(1))
        return F.pixel_shuffle(self.net(patches, log_sigma, class_labels=told).sample, self.config.patch)


def main(data: Path, steps: int) -> None:
    torch.set_num_threads(1)
    store = Store.open(data)
    cache = open_cache(store)
    learned, held = (Maps(Windows(cache, cache.window_index(3, 1, 1, episodes), 0), None) for episodes in split_episodes(cache))
    nets = trunks(learned)
    ratios = [compared(nets, work, learned.batch(0, count)) for work, count in ((train_once, BATCH), (forward, FRAMES))]
    rows = []
    for name, net in trunks(learned).items():
        learn(net, learned, steps)
        error = 100 * map_errors(net, Mean(), held)["imagined"][0]
        size = sum(parameter.numel() for parameter in net.parameters())
        rows.append([name, size, *(round(times[name], 2) for times in ratios), steps, round(error, 3)])
    publish("pixels/trunks", COLUMNS, rows, {"data_hash": store.hash, "steps": steps, "batch": BATCH})


def trunks(maps: Maps) -> dict[str, Any]:
    """Both, with new weights."""
    torch.manual_seed(0)
    sample, actions = maps.batch(0, 512)
    ours = Trunk().build(3, actions.shape[2])
    ours.unit.copy_((sample[:, -1] - sample[:, -2]).square().mean((0, 2, 3))[:, None, None].sqrt())
    return {"ours": ours, "diffusers UNet2DModel": Theirs(ours, actions.shape[2])}


def compared(nets: dict[str, Any], work: Callable[..., None], batch: tuple[Tensor, Tensor]) -> dict[str, float]:
    """How many times as long as ours each takes."""
    jobs = {name: partial(work, net, torch.optim.AdamW(net.parameters(), lr=0), *batch) for name, net in nets.items()}
    times = take_turns(jobs, TURNS)
    return {name: ratio(times, name, "ours") for name in jobs}


def train_once(net: Any, optimizer: torch.optim.Optimizer, maps: Tensor, actions: Tensor) -> None:
    """One step of training."""
    optimizer.zero_grad()
    imagining_loss(net, Mean(), maps, actions, 0.0, 0.0, torch.Generator()).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.no_grad()
def forward(net: Any, optimizer: torch.optim.Optimizer, maps: Tensor, actions: Tensor) -> None:
    """Imagine the next frame of each window."""
    Mean().follow(net, maps[:, : net.history], actions[:, : net.history], maps[:, 0])


def learn(net: Any, maps: Maps, steps: int) -> None:
    """A regression, by AdamW with a cosine."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        train_once(net, optimizer, *maps.batch(step, BATCH))
        schedule.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
