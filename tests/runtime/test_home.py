from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.api import load_model, load_pretrained_model, open_run
from pretune.errors import PretuneError
from pretune.evaluation.chat import read_held_out
from pretune.pipeline import run
from pretune.recipe import Recipe
from pretune.runtime.home import expand_home
from pretune.text.labels.python_data import existing_file

NOBODY = "~no-such-user/reviews"


def test_the_tilde_is_replaced_if_it_means_a_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/a") == tmp_path / "a"
    assert expand_home(Path("a/~")) == Path("a/~")
    assert expand_home(NOBODY) == Path(NOBODY)


@pytest.mark.parametrize(
    "call",
    [
        load_model,
        load_pretrained_model,
        open_run,
        existing_file,
        lambda path: read_held_out(Path(path), keeps_lines=True),
        lambda path: run(Recipe(out=path, labels="no-file.csv")),
    ],
)
def test_a_path_with_the_name_of_nobody_is_refused_with_a_sentence(call: Callable[[str], object]) -> None:
    """It was reported as a bug in pretune."""
    with pytest.raises(PretuneError):
        call(NOBODY)
