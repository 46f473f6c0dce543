from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pytest import MonkeyPatch, TempPathFactory

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
