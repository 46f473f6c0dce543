"""docs/guide/python.md is one program, which runs and prints what its comments say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "".join(
    re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guide" / "python.md").read_text("utf-8"), re.DOTALL)
)
# Only what a comment gives as it is printed: a model, a tuple, a value, a sentence.
PRINTED = re.findall(r"print\(.*?\) +# ((?:Model\(|\('|None$|\d+$|'|work/).*)$", PROGRAM, re.MULTILINE)


@pytest.mark.slow
def test_the_program_prints_what_it_says(
    small_run: Path, tmp_path: Path, run_program: Callable[[str, Path], str]
) -> None:
    (tmp_path / "runs").symlink_to(small_run.parent)
    (tmp_path / "reviews.txt").symlink_to(small_run.parents[1] / "reviews.txt")
    for name, num_rows in (("labelled", 120), ("held-out", 60)):
        rows = (small_run.parents[1] / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        (tmp_path / f"{name}.csv").write_text("\n".join(rows[:num_rows]) + "\n", encoding="utf-8")
    printed = run_program(PROGRAM, tmp_path).splitlines()
    assert len(PRINTED) == 9
    assert [line for line in PRINTED if line not in printed] == []
