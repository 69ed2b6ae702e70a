"""A film as a moving picture: the agent's frame, the imagined future and the goal, side by side and enlarged."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagoal import files
from imagoal.envs import Frames
from imagoal.eval.show._film import Film
from imagoal.world_model import Place

PANEL = 256
"""Screen pixels that a panel is wide, as near as whole enlargement comes."""
GAP, HEAD, FOOT = 12, 34, 30  # px between panels, above them, below them
CARD, TEXT, FAINT, SUCCESS = (27, 30, 37), (236, 238, 242), (143, 150, 163), (88, 196, 122)
STEP_MS, LAST_MS = 100, 1500
FRAME = 3  # px around the agent's panel while it is at the goal
FAINTEST = 0.3
"""Opacity of the first imagined step; the last one has 1."""
ORIGINS: dict[Place, str] = {
    "state": "the true simulator",
    "frame": "as the model paints it",
    "latent": "real frames with the nearest latents",
}


@dataclass(frozen=True)
class _Panel:
    """What is written above and below a frame, and the frame."""

    head: str
    foot: str
    frame: Frames


def draw_film(film: Film, scale: int = 0) -> list[Image.Image]:
    """One picture for each of the T + 1 frames.

    Args:
        film: of any environment.
        scale: screen pixels per pixel of a frame; 0 for a panel that is some `PANEL` wide.
    """
    scale = scale or max(1, PANEL // film.frames.shape[2])
    return [_page(film, step, scale) for step in range(len(film.frames))]


def corners(film: Film, scale: int) -> list[tuple[int, int]]:
    """Left upper corner (x, y) of each panel: agent, imagined (if there is), goal."""
    width = film.frames.shape[2] * scale
    return [(GAP + place * (width + GAP), HEAD) for place in range(2 if film.imagined is None else 3)]


def trail(frames: Frames, scene: Frames) -> Frames:
    """Frames (H, h, w, 3) as one picture (h, w, 3): what moves leaves a trail that grows stronger towards the last frame.

    Each pixel comes from the frame in which it differs most from the scene (h, w, 3), the earlier the paler.
    """
    opacity = np.linspace(1, FAINTEST, len(frames))[:, None, None, None]
    differences = (frames[::-1] - scene.astype(float)) * opacity  # the last first, so that it wins a tie
    strongest = np.abs(differences).sum(-1, keepdims=True).argmax(0)
    chosen = np.take_along_axis(differences, strongest[None], 0)[0]
    return np.asarray(scene + chosen).round().astype(np.uint8)


def save_film(path: Path, pages: list[Image.Image]) -> None:
    """Write a moving picture that loops: `.webp` without loss, or `.gif` in 256 colours."""
    times = [STEP_MS] * (len(pages) - 1) + [LAST_MS]
    if path.suffix == ".gif":
        pages = [page.quantize(256, dither=Image.Dither.NONE) for page in pages]
    kind = path.suffix[1:].upper()
    first, rest = pages[0], pages[1:]
    files.write(
        path,
        lambda file: first.save(
            file, kind, save_all=True, append_images=rest, duration=times, loop=0, lossless=True, quality=80, method=4
        ),
    )


def _page(film: Film, step: int, scale: int) -> Image.Image:
    """The picture of one step."""
    height, width = (side * scale for side in film.frames.shape[1:3])
    places, panels = corners(film, scale), _panels(film, step)
    page = Image.new("RGB", (places[-1][0] + width + GAP, HEAD + height + FOOT), CARD)
    for (left, top), panel in zip(places, panels, strict=True):
        page.paste(_written(panel.head, (width, HEAD), 15, TEXT), (left, 0))
        page.paste(Image.fromarray(panel.frame).resize((width, height), Image.Resampling.NEAREST), (left, top))
        page.paste(_written(panel.foot, (width, FOOT), 13, FAINT), (left, top + height))
    if film.there[step]:
        left, top = places[0]
        frame = (left - FRAME, top - FRAME, left + width + FRAME - 1, top + height + FRAME - 1)
        ImageDraw.Draw(page).rectangle(frame, outline=SUCCESS, width=FRAME)
    return page


def _written(text: str, size: tuple[int, int], letters: int, colour: tuple[int, int, int]) -> Image.Image:
    """A line of text in a box of its own, so that it never runs into the next panel."""
    box = Image.new("RGB", size, CARD)
    ImageDraw.Draw(box).text((0, size[1] / 2), text, colour, ImageFont.load_default(letters), anchor="lm")
    return box


def _panels(film: Film, step: int) -> list[_Panel]:
    last = len(film.frames) - 1
    agent = _Panel("agent, at the goal" if film.there[step] else "agent", f"step {step} of {last}", film.frames[step])
    goal = _Panel("goal image", film.env, film.goal_image)
    if film.imagined is None or film.planning is None:
        return [agent, goal]
    future, model = film.imagined[min(step, last - 1)], film.planning.model
    head = f"imagined, {len(future) * model.action_block} steps ahead"
    return [agent, _Panel(head, ORIGINS[model.place], trail(future, film.scene)), goal]
