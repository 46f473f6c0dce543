import gzip
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.collect import documents
from pretune.text.collect.documents import Document, Reading, iter_documents
from pretune.text.document_store import CorpusWriter, corpus_files, iter_corpus
from pretune.text.reading_report import Findings
from pretune.text.sources.files import find_files


def read(*paths: Path | str, **settings: object) -> tuple[list[Document], Findings]:
    findings = Findings()
    return list(iter_documents(find_files(paths, findings), findings, Reading(**settings))), findings  # type: ignore[arg-type]


def texts(*paths: Path | str, **settings: object) -> list[str]:
    return [document.text for document in read(*paths, **settings)[0]]


@settings(max_examples=60)
@given(
    lines=st.lists(st.sampled_from(["", " ", "one", "a line", "x" * 30, "Längere Zeile."]), max_size=12),
    unit=st.sampled_from(["auto", "line", "paragraph", "file"]),
)
@example(lines=[" ", "one", "one", "a line", "Längere Zeile.", " ", " "], unit="file")  # only blanks after the last cut
def test_no_word_of_a_text_file_is_lost(tmp_path_factory: pytest.TempPathFactory, lines: list[str], unit: str) -> None:
    path = tmp_path_factory.mktemp("d") / "a.txt"
    path.write_text("\n".join(["begin", *lines]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "LONGEST_DOCUMENT", 40)
        found = texts(path, text_unit=unit)
    assert "".join(" ".join(found).split()) == "".join(" ".join(["begin", *lines]).split())
    assert all(text.strip() for text in found)


@settings(max_examples=60)
@given(cells=st.lists(st.sampled_from(["", "  ", "a text", "another one"]), min_size=1, max_size=20))
def test_rows_in_are_documents_out_and_dropped(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    path = tmp_path_factory.mktemp("d") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": cell}) + "\n" for cell in ["some text", *cells]), encoding="utf-8")
    found, findings = read(path)
    assert len(found) + findings.dropped.total == len(cells) + 1


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("line", ["one", "two", "three"]),
        ("paragraph", ["one\ntwo", "three"]),
        ("file", ["one\ntwo\n\nthree"]),
    ],
)
def test_units(tmp_path: Path, unit: str, expected: list[str]) -> None:
    (tmp_path / "a.txt").write_text("\n\none\ntwo\n\n\nthree\n".replace("\n\n\n", "\n\n"), encoding="utf-8")
    found, findings = read(tmp_path / "a.txt", text_unit=unit)
    assert [document.text for document in found] == expected
    assert found[0].line == 3 if unit != "line" else True
    assert findings.detections[0].unit == unit
    assert "document" in findings.detections[0].sentence


def test_paragraphs_of_a_long_wrapped_text(tmp_path: Path) -> None:
    lines = [
        "The old man sat by the river and looked at the water for",
        "a long time, until somebody came and asked him what it was",
    ]
    paragraph = "\n".join([*lines, "that he saw there."])
    (tmp_path / "a.txt").write_text("\n".join([paragraph] * 3000), encoding="utf-8")
    found, findings = read(tmp_path / "a.txt")
    assert [document.text for document in found] == [paragraph] * 3000
    assert [document.line for document in found[:3]] == [1, 4, 7]
    assert "lines are wrapped; every paragraph" in findings.detections[0].sentence
    (tmp_path / "b.txt").write_text("One line\nand another.\n\nAnd a\nthird one.\n", encoding="utf-8")
    assert len(read(tmp_path)[1].detections) == 2, "both kinds of paragraphs are shown"


def test_a_messy_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.txt").write_text("hidden", encoding="utf-8")
    (tmp_path / "sub" / "b.html").write_text("<p>a page</p>", encoding="utf-8")
    (tmp_path / "a.txt").write_text("A line.\nAnother.\n", encoding="utf-8")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"review,stars\nnice one,5\n"))
    (tmp_path / "d.jsonl").write_text('{"content": "json text", "n": 1}\n', encoding="utf-8")
    (tmp_path / "package.json").write_text('{\n "name": "x"\n}\n', encoding="utf-8")
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty.txt").write_bytes(b"")
    found, findings = read(tmp_path)
    assert [document.text for document in found] == ["A line.", "Another.", "nice one", "json text", "a page"]
    assert {Path(document.source).name for document in found} == {"a.txt", "c.csv.gz", "d.jsonl", "b.html"}
    assert findings.ignored_files.total == 4
    assert {detection.format for detection in findings.detections} == {"txt", "csv", "jsonl", "html"}


def test_a_stage_folder_is_not_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    (tmp_path / "run" / "collect").mkdir(parents=True)
    for name in ("manifest.json", "events.jsonl", "documents-0.jsonl"):
        (tmp_path / "run" / "collect" / name).write_text('{"text": "no"}\n', encoding="utf-8")
    (tmp_path / "run" / "recipe.toml").write_text("no", encoding="utf-8")
    (tmp_path / "run" / "report.html").write_text("<html><p>no</p></html>", encoding="utf-8")
    assert texts(tmp_path) == ["text"]
    for folder in ("run", "run/collect"):
        with pytest.raises(
            InputDataError, match=f"{folder} is a folder that pretune wrote; expected raw text. Give a stage"
        ):
            texts(tmp_path / folder)


def test_text_that_is_called_a_document_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("No more than a line.\n", encoding="utf-8")
    found, findings = read(tmp_path / "a.docx")
    assert [document.text for document in found] == ["No more than a line."]
    assert "a.docx: txt (detected by content), UTF-8; every line" in findings.detections[0].sentence


def test_many_short_files_are_documents(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number:02d}.txt").write_text(f"Review {number}.\nSecond line.\n", encoding="utf-8")
    found, findings = read(tmp_path)
    assert len(found) == 25
    assert findings.sentences_about_more_files() == [f"25 files in total were read like {tmp_path / '00.txt'}."]


def test_patterns_and_repeated_paths(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"text {name}", encoding="utf-8")
    assert texts(tmp_path / "*.txt", tmp_path / "a.txt") == ["text a", "text b"]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("missing.txt", None, "does not exist; expected a file or folder"),
        ("no*.txt", None, "matches no file"),
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b" \n\t\n", "is empty"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.csv", b"text,label\n ,1\n", "no column with text|contains no text"),
        ("a.html", b"<html><head><title>x</title></head></html>", "contains no text"),
        ("a.txt", b"\xff\xd8\xff\xe0", "is an image"),
    ],
)
def test_files_without_text_are_refused(tmp_path: Path, name: str, data: bytes | None, sentence: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputDataError, match=sentence):
        read(tmp_path / name)


def test_a_folder_without_text_is_refused_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputDataError, match=r"contains no text \(it contains x.png\); expected files such as"):
        read(tmp_path)


def test_a_corpus_on_disk_comes_back(tmp_path: Path) -> None:
    rows = [{"text": f"text {i} \u2028 \r ü", "source": "s", "line": i} for i in range(10)]
    with CorpusWriter(tmp_path, characters_per_file=40) as writer:
        for row in rows:
            writer.write(**row)  # type: ignore[arg-type]
    assert len(corpus_files(tmp_path)) > 1
    assert list(iter_corpus(tmp_path)) == rows
    assert (writer.num_documents, writer.num_characters) == (10, sum(len(str(row["text"])) for row in rows))
    CorpusWriter(tmp_path).close()
    with pytest.raises(InputDataError, match="contains no documents"):
        list(iter_corpus(tmp_path))


@pytest.mark.parametrize("depth", [200, 940, 960, 965, 970, 975, 980, 985, 990, 995, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("name", ["a.jsonl", "a"])
def test_a_row_that_nests_too_deeply_is_left_out(
    tmp_path: Path, name: str, depth: int, opened: str, closed: str
) -> None:
    """At the begin of a file, it ended the stage as a bug."""
    deep = f'{{"text": "a first text", "more": {opened * depth}1{closed * depth}}}\n'
    (tmp_path / name).write_text(deep + '{"text": "one of two hundred texts"}\n' * 200)
    findings = Findings()
    documents = list(iter_documents(find_files([tmp_path / name], findings), findings))
    assert 200 <= len(documents) <= 201
    assert documents[-1].text == "one of two hundred texts"
    if depth == 100_000:
        assert findings.dropped.rules["unparsable_row"].count == 1
