"""The program on the page about taking a model elsewhere runs as it stands, without pretune, and gives our answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.inference.load import load_classifier

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "elsewhere.md"


@pytest.mark.slow
def test_the_program_gives_the_labels_that_pretune_predicts(
    small_run: Path, tmp_path: Path, run_program: Callable[[str, Path], str]
) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "runs").symlink_to(small_run.parent)
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    program += "import sys\nassert not [name for name in sys.modules if name.startswith('pretune')]\n"
    printed = run_program(program, tmp_path)
    texts = re.findall(r'"([A-Z][^"]*\.)"', program)
    ours = load_classifier(small_run / "finetune" / "checkpoint").predict(texts)
    assert len(ours) == 2
    assert re.findall(r"'label': '(\w+)'", printed) == [each.label for each in ours]
    scores = [float(score) for score in re.findall(r"'score': ([\d.]+)", printed)]
    assert scores == pytest.approx([each.probability for each in ours], abs=1e-5)
