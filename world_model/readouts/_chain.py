"""The chain: state --render--> frame --encode--> latent --probe--> probed state."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.world_model._frames import as_float
from imagoal.world_model._types import PLACES, Encoder, Place

Link = Callable[[Tensor], Tensor]

CURES = {
    "a renderer": "name an env that can render its states",
    "an encoder": "pass --readouts DIR of a trained world model",
    "a probe": "pass --readouts DIR of a world model that was trained with a probe",
}


@dataclass(frozen=True)
class Chain:
    """The links between the places, as far as there are any, and the carrying itself.

    Attributes:
        render: f64 states (M, S) to u8 frames (M, 3, h, w).
        encoder: frames (M, 3, h, w) to latents (M, N, D).
        probe: latents (M, N, D) to what a picture shows (M, V), metres.
        chunk: how many are rendered, encoded and probed at a time, so that not all the frames are held at once.
    """

    render: Link | None = None
    encoder: Encoder | None = None
    probe: Link | None = None
    chunk: int = 512

    def check(self, start: Place, end: Place) -> None:
        """Refuse a way from `start` to `end` that does not exist.

        Raises:
            UsageError: `end` is left of `start`, or a link is missing.
        """
        if PLACES.index(end) < PLACES.index(start):
            right = ", ".join(PLACES[PLACES.index(start) :])
            raise UsageError(
                f"nothing leads from {start} back to {end}; measure the cost where it is imagined or later: {right}"
            )
        for name, link in self._way(start, end):
            if link is None:
                raise UsageError(f"the way from {start} to {end} needs {name} and there is none; {CURES[name]}")

    def differentiable(self, start: Place, end: Place) -> bool:
        """Whether gradients flow from `end` to `start`: through encoder and probe, not through a renderer."""
        return start == end or start != "state"

    def carry(self, values: Tensor, start: Place, end: Place) -> Tensor:
        """Carry values (M, ...) from `start` to `end`. What ends at `frame` is f32 in [0, 1], whether u8 or not before.

        Raises:
            UsageError: there is no such way.
        """
        self.check(start, end)
        links = [link for _, link in self._way(start, end) if link is not None]
        if links:
            values = torch.cat([_follow(chunk, links) for chunk in torch.split(values, self.chunk)])
        return as_float(values) if end == "frame" else values

    def _way(self, start: Place, end: Place) -> list[tuple[str, Link | None]]:
        links: list[tuple[str, Link | None]] = [
            ("a renderer", self.render),
            ("an encoder", self.encoder.encode if self.encoder is not None else None),
            ("a probe", self.probe),
        ]
        return links[PLACES.index(start) : PLACES.index(end)]


def _follow(values: Tensor, links: list[Link]) -> Tensor:
    for link in links:
        values = link(values)
    return values
