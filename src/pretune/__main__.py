"""`python -m pretune`, and what the console script calls."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the arguments of this process and leave with its exit code."""
    from pretune.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
