import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import MonkeyPatch, TempPathFactory

from pretune.errors import InputDataError, StoppedError
from pretune.text.document_store import DocumentWriter, iter_corpus_file


@given(texts=st.lists(st.text(max_size=20), max_size=30))
def test_many_at_once_are_the_same_bytes_as_one_by_one(tmp_path_factory: TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    lines = list(range(len(texts)))
    with MonkeyPatch.context() as patch:
        patch.setattr("pretune.text.document_store._BUFFER_CHARACTERS", 40)
        with DocumentWriter(folder / "one") as writer:
            for text, line in zip(texts, lines, strict=True):
                writer.write(text, line=line, source="here")
        with DocumentWriter(folder / "many") as many:
            many.write_many(texts, line=lines, source=["here"] * len(texts))
    assert (folder / "one").read_bytes() == (folder / "many").read_bytes()
    assert (writer.num_documents, writer.num_characters) == (many.num_documents, many.num_characters)
    found = [(document["text"], document["line"], document["source"]) for document in iter_corpus_file(folder / "one")]
    assert found == [(text, line, "here") for text, line in zip(texts, lines, strict=True)]


def test_signs_that_end_lines_elsewhere_stay_in_their_text(tmp_path: Path) -> None:
    texts = ["a\u2028b\r\nc\x85", "\udc80 lone", '"quoted" \\']
    with DocumentWriter(tmp_path / "file") as writer:
        writer.write_many(texts)
    assert [document["text"] for document in iter_corpus_file(tmp_path / "file")] == texts


class Failing:
    """A file whose second block cannot be read."""

    def __init__(self, file: Any) -> None:
        self.file, self.num_read = file, 0

    def __enter__(self) -> "Failing":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()

    def fileno(self) -> int:
        return int(self.file.fileno())

    def read(self, _size: int) -> bytes:
        self.num_read += 1
        if self.num_read == 2:
            raise OSError(errno.ESTALE, "Stale file handle")
        return bytes(self.file.read(100))


def test_a_disk_that_fails_stops_the_stage_and_is_no_bad_input(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    """It was taken for rejected input, for which a stage removes its folder, with hours of finished parts."""
    with DocumentWriter(tmp_path / "file") as writer:
        writer.write_many([f"text {number}" for number in range(1000)])
    whole = (tmp_path / "file").read_bytes()
    open_file = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *mode: Failing(open_file(path, *mode)))
        with pytest.raises(StoppedError, match=r"file could not be read \(Stale file handle\); .* to resume"):
            list(iter_corpus_file(tmp_path / "file"))
    with pytest.raises(StoppedError, match="No such file"):
        list(iter_corpus_file(tmp_path / "none"))
    (tmp_path / "file").write_bytes(whole[:-20])
    with pytest.raises(InputDataError, match="damaged"):
        list(iter_corpus_file(tmp_path / "file"))
