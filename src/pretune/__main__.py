"""The entry point of `python -m pretune` and of the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the arguments of this process and exit with its code."""
    from pretune.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
