"""The contract of an image-goal env, line by line: `imagoal check-env`."""

from imagoal.envs.check._contract import check_env
from imagoal.envs.check._subject import Terms

__all__ = ["Terms", "check_env"]
