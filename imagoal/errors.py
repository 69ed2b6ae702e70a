"""What can go wrong, and the exit code of each.

Every message is one line: the thing, its value, what was expected, the cure.
"""


class ImagoalError(Exception):
    """Base of all errors that imagoal raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(ImagoalError, ValueError):
    """A wrong argument, field, name or configuration."""

    exit_code = 2


class DataError(ImagoalError):
    """A file or folder that is missing, damaged, foreign, or from other settings."""

    exit_code = 3


class EnvError(ImagoalError):
    """An environment or agent that broke its contract (a NaN action, a frame of the wrong shape)."""

    exit_code = 4


class DivergedError(EnvError):
    """Physics that ran away in a step: the state is that before it, and nothing else of the step is true."""


class NumericalError(ImagoalError):
    """A loss, gradient or cost that is not finite, so that going on would be meaningless."""

    exit_code = 5


class ResourceError(ImagoalError):
    """No space, no permission, a folder in use, or an optional package that is not installed."""

    exit_code = 6
