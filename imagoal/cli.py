"""The door: `imagoal VERB ...`. Nothing heavy is imported before the verb is known."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from imagoal import find
from imagoal.errors import ImagoalError, ResourceError
from imagoal.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0 done, 1 the answer is no, 2 usage, 3 data, 4 env, 5 numerical, 6 resource, 130 and 143 interrupted.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")  # threads that spin at barriers stall each other on a busy machine
    given = list(sys.argv[1:] if argv is None else argv)
    args = [arg for arg in given if arg != "--debug"]
    if not args or args[0] in {"-h", "--help"}:
        print(_overview())
        return 0
    if args[0] == "--version":
        print(f"imagoal {__version__}")
        return 0
    verb, *rest = args
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(verb, rest)
    except (ImagoalError, OSError, MemoryError) as error:
        if len(args) < len(given):
            raise
        return _complain(error)
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it can", file=sys.stderr)
        return 130


def _run(verb: str, args: Sequence[str]) -> int:
    command = find.find("command", verb)
    from imagoal import flags  # tyro is not needed for the overview

    return int(flags.parse(command, args, prog=f"imagoal {verb}").run())


def _complain(error: BaseException) -> int:
    """One line on stderr, and the exit code."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: nothing left to say
        return 0
    text = str(error) or "out of memory; lower the number of samples, the batch or the workers"
    print(f"imagoal: {' '.join(text.split())}", file=sys.stderr)
    return error.exit_code if isinstance(error, ImagoalError) else ResourceError.exit_code


def _terminate(number: int, frame: FrameType | None) -> None:
    print("terminated; the same command continues where it can", file=sys.stderr)
    raise SystemExit(128 + number)


def _overview() -> str:
    verbs = find.entries("command").values()
    lines = [f"  {entry.name.replace('_', '-'):<11}{entry.summary}" for entry in verbs]
    return "\n".join(
        [
            "usage: imagoal VERB [flags]      (imagoal VERB --help shows the flags)",
            "",
            "Plan to image goals with learned world models, and measure honestly how well and how fast that works.",
            "",
            *lines,
            "",
            "`imagoal demo` runs the whole way on Ball. --debug shows tracebacks.",
        ]
    )
