"""What every training shares: windows of a store, latents encoded once, and the loop."""

from imagoal.world_model.training._latents import encode_all
from imagoal.world_model.training._loop import BAD_STEPS, Schedule, fit
from imagoal.world_model.training._windows import Windows, frame_rows, split_episodes

__all__ = ["BAD_STEPS", "Schedule", "Windows", "encode_all", "fit", "frame_rows", "split_episodes"]
