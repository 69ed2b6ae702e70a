"""`imagoal check-env`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from imagoal.commands._common import env_options
from imagoal.envs.check import Terms


@dataclass(frozen=True, kw_only=True)
class CheckEnv(Terms):
    """Hold an env, also one of somebody else's, to the contract of image goals."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """Entry, id that Gymnasium knows (module:id imports the module first), or package.module:Class."""
    env_options: tuple[str, ...] = ()
    """Options of the env's constructor as NAME=VALUE, e.g. goal_finger=anywhere."""

    def run(self) -> int:
        """Print a line per check; 1 if one does not hold."""
        from imagoal.envs.check import check_env

        report = check_env(self.env, self, env_options(self.env_options))
        print(report)
        return int(bool(report.failed))
