from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays.text_buffer import FlatText


@given(st.lists(st.text()))
def test_texts_come_back(texts: list[str]) -> None:
    flat = FlatText.from_texts(texts)
    assert flat.texts() == texts
    assert [flat[i] for i in range(len(flat))] == texts
    assert np.diff(flat.offsets).tolist() == [len(text.encode()) for text in texts]
    assert flat.num_characters().tolist() == [len(text) for text in texts]
    assert flat.count(ord("a")).tolist() == [text.count("a") for text in texts]
    odd = np.arange(1, len(texts), 2)
    assert flat.joined_bytes(odd, b"<>") == "<>".join(texts[1::2]).encode()


def test_a_file_is_the_same_texts(tmp_path: Path) -> None:
    for texts in ([], [""], ["a", "", "bc"], ["ü", "\udc80", "x" * 1000]):
        FlatText.from_texts(texts).save(tmp_path / "texts")
        assert FlatText.load(tmp_path / "texts").texts() == texts
