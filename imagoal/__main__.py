"""`python -m imagoal` is the `imagoal` command."""

from imagoal.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
