"""The model object predicts the texts of a file as `pretune predict` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.api import load_model
from pretune.errors import InputDataError


def test_second_texts_are_refused_by_a_model_of_single_texts(run_folder: Path, tmp_path: Path) -> None:
    """The name of their column was ignored, and the first texts were labelled alone."""
    (tmp_path / "rows.csv").write_text("text,reply\nA film,It was warm\n", encoding="utf-8")
    with pytest.raises(InputDataError, match=r"names 'reply', but the model in .* reads one text a row"):
        load_model(run_folder).predict(tmp_path / "rows.csv", text_pair_column="reply")


def test_how_a_file_was_read_is_logged(run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "A film.\nA d\u00e9j\u00e0 vu of a film, which nobody had asked for.\n".encode()
    (tmp_path / "rows.txt").write_bytes(text * 3 + b"A caf\xe9.\n")
    assert len(load_model(run_folder).predict(tmp_path / "rows.txt")) == 7
    assert "1 byte is invalid in its encoding" in caplog.text
