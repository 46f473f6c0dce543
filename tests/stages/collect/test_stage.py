import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import FolderInTheWayError, InputDataError, UsageError
from pretune.runtime.events import read_events
from pretune.runtime.manifest import Manifest
from pretune.runtime.stage_folder import WORK_NAME
from pretune.settings import CollectConfig
from pretune.stages.collect.stage import BUILTIN_LABELS, BUILTIN_TEST_LABELS, collect
from pretune.stages.split import split
from pretune.text.document_store import iter_corpus
from pretune.text.splits import split_of


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder) if event["event"] == kind]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.jsonl"
    rows = [{"text": f"Review number {i} of a film that I saw.", "stars": i % 5} for i in range(50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": " "}]), encoding="utf-8")
    return path


def test_documents_flow_and_example(reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = collect([reviews], out)
    documents = list(iter_corpus(out))
    assert len(documents) == manifest.summary["documents"] == 50
    assert documents[3] == {
        "text": "Review number 3 of a film that I saw.",
        "source": str(reviews),
        "line": 4,
        "from_labels": False,
    }
    (flow,) = events(out, "flow")
    assert flow["shape_out"][0] == {"name": "documents", "value": 50}
    assert [(drop["rule"], drop["count"]) for drop in flow["dropped"]] == [("no_text", 1)]
    (detected,) = events(out, "detected")
    assert (detected["format"], detected["text_column"]) == ("jsonl", "text")
    example = manifest.summary["example"]
    assert split_of(example["text"], 0.4, 0.4) == "train"
    assert events(out, "example")[0]["text"] == example["text"]
    assert manifest.status == "finished"
    assert set(manifest.outputs) == {"documents-00000.jsonl.zst"}


def test_training_texts_of_a_split_come_first_and_a_test_row_is_the_example(reviews: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "text,label\n" + "".join(f"Labelled text {i} is fine<br>,{i % 2}\n" for i in range(90)), encoding="utf-8"
    )
    num_train = split(labels, tmp_path / "split").summary["train"]
    manifest = collect([reviews], tmp_path / "out", split=tmp_path / "split")
    documents = list(iter_corpus(tmp_path / "out"))
    assert [document["from_labels"] for document in documents] == [True] * num_train + [False] * 50
    assert documents[0]["text"].endswith("<br>")  # unchanged; stage 2 cleans
    example = manifest.summary["example"]["text"]
    rows = [json.loads(line) for line in (tmp_path / "split" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert example in {row["raw"] for row in rows}
    assert example not in {document["text"] for document in documents}
    only = collect([], tmp_path / "only", split=tmp_path / "split")
    assert only.summary["documents"] == num_train


def test_the_built_in_world(tmp_path: Path) -> None:
    manifest = collect([], tmp_path, CollectConfig(builtin_documents=300))
    assert manifest.summary["synthetic"] is True
    assert manifest.summary["documents"] == 300
    rows = [json.loads(line) for line in (tmp_path / BUILTIN_LABELS).read_text(encoding="utf-8").splitlines()]
    assert set(rows[0]) == {"text", "label", "slice"}
    assert {BUILTIN_LABELS, BUILTIN_TEST_LABELS} < set(manifest.outputs)
    tests = [json.loads(line) for line in (tmp_path / BUILTIN_TEST_LABELS).read_text(encoding="utf-8").splitlines()]
    assert manifest.summary["example"]["text"] in {row["text"] for row in tests} - {row["text"] for row in rows}
    assert events(tmp_path, "stage_started")[0]["synthetic"] is True


def test_a_second_call_skips_and_another_input_is_refused(reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = collect([reviews], out)
    before = (out / "events.jsonl").read_bytes()
    assert collect([reviews], out) == first
    assert (out / "events.jsonl").read_bytes() == before
    with pytest.raises(FolderInTheWayError, match="text_unit"):
        collect([reviews], out, CollectConfig(text_unit="file"))
    reviews.write_text(reviews.read_text(encoding="utf-8") + '{"text": "one more"}\n', encoding="utf-8")
    with pytest.raises(FolderInTheWayError, match="differs in: input corpus 1"):
        collect([reviews], out)
    assert collect([reviews], out, redo=True).summary["documents"] == 51


def test_an_interrupted_stage_starts_over(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    finish = "pretune.stages.collect.stage._Collection._finish"
    with monkeypatch.context() as patch:
        patch.setattr(finish, lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            collect([reviews], out)
    monkeypatch.setattr("pretune.runtime.events.PROGRESS_SECONDS", 0.0)
    manifest = collect([reviews], out)
    assert len(list(iter_corpus(out))) == manifest.summary["documents"] == 50
    assert len(events(out, "stage_started")) == 1
    progress = [(each["done"], each["done_before"]) for each in events(out, "progress")]
    assert progress == [(50, 50)]  # so no rate is shown


def test_a_resume_without_its_engine_keeps_what_is_finished(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was removed with all finished parts."""
    out, on_dask = tmp_path / "out", CollectConfig(engine="dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="--engine dask needs dask"):
        collect([reviews], out, on_dask)
    assert not out.exists()
    with monkeypatch.context() as patch:
        finish = "pretune.stages.collect.stage._Collection._finish"
        patch.setattr(finish, lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            collect([reviews], out)
    finished = list((out / WORK_NAME).rglob("result.json"))
    with pytest.raises(UsageError, match="--engine dask needs dask"):
        collect([reviews], out, on_dask)
    assert finished and all(part.exists() for part in finished)
    assert collect([reviews], out).summary["documents"] == 50


def test_a_terminal_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that had been read from a pipe, given by its recipe, waited without a word for text to be typed."""
    typed = io.TextIOWrapper(io.BytesIO(b"A line.\n"))
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    with pytest.raises(UsageError, match=r"^The text is to be read from standard input \(-\), .* pipe the text"):
        collect(["-"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stdin_and_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_stdin(data: bytes) -> Manifest:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return collect(["-"], tmp_path / "out")

    first = from_stdin(b"A first line.\nA second line.\n")
    assert [document["source"] for document in iter_corpus(tmp_path / "out")] == ["stdin", "stdin"]
    assert from_stdin(b"A first line.\nA second line.\n") == first  # the same text is recognised
    with pytest.raises(FolderInTheWayError):
        from_stdin(b"Something else.\n")

    text = "A long text in a single object. " * 10_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"text": text}).encode())))
    collect(["-"], tmp_path / "long")
    assert [document["text"] for document in iter_corpus(tmp_path / "long")] == [text]

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"From a pipe.\n",))
    writer.start()
    collect([pipe], tmp_path / "piped")
    writer.join()
    assert [document["text"] for document in iter_corpus(tmp_path / "piped")] == ["From a pipe."]


def test_broken_bytes_and_malformed_rows_give_warnings(tmp_path: Path) -> None:
    lines = b"".join(b'{"text": "a good line of text %d"}\n' % i for i in range(300))
    (tmp_path / "a.jsonl").write_bytes(lines + b'{"text": "caf\xe9"}\n{"text": "torn')
    collect([tmp_path / "a.jsonl"], tmp_path / "out")
    warnings = {event["rule"]: event for event in events(tmp_path / "out", "warning")}
    assert warnings["broken_bytes"]["count"] == 1
    assert "a.jsonl, line 302" in warnings["unparsable_row"]["sentence"]


def test_a_skipped_file_with_broken_bytes_is_only_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("A good line.\nAnother good line.\n", encoding="utf-8")
    (folder / "b.txt").write_bytes("große ".encode() * 300 + b"\x81\xff " * 90)
    assert collect([folder], tmp_path / "out").summary["documents"] == 2
    (warning,) = events(tmp_path / "out", "warning")
    assert (warning["rule"], warning["count"]) == ("unreadable", 1)
    assert "b.txt is not UTF-8" in warning["sentence"]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.txt", b"", "a.txt is empty"),
        ("a.txt", "große ".encode() * 300 + b"\x81\xff " * 90, "a.txt is not UTF-8"),
        ("a.jsonl", b'{"text": "ok"}\nnot json\n', "a.jsonl, line 2"),
        ("a.csv", b"some words,1\nmore words,2\n", "a.csv, line 1 looks like data"),
    ],
)
def test_a_refusal_leaves_nothing_behind(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputDataError, match=sentence):
        collect([tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / name).write_text(
        "text,label\nrepaired text,1\n" if name == "a.csv" else '{"text": "all is well"}', "utf-8"
    )
    assert collect([tmp_path / name], tmp_path / "out").summary["documents"] == 1


@pytest.mark.parametrize(
    ("option", "advice"), [(None, "convert it to UTF-8"), ("--corpus-encoding", "give its encoding with --corpus-enc")]
)
def test_the_caller_names_the_option_for_the_encoding(tmp_path: Path, option: str | None, advice: str) -> None:
    """Commands without such an option, as `compare --strategies`, gave that advice, too."""
    file = tmp_path / "a.txt"
    file.write_bytes("große Brücke ".encode() * 300 + b"\x81\xff " * 90)
    with pytest.raises(InputDataError, match=f"broken; {advice}"):
        collect([file], tmp_path / "out", encoding_option=option)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"nowhere\.txt does not exist"):
        collect([tmp_path / "nowhere.txt"], tmp_path / "out")
    with pytest.raises(InputDataError, match="nowhere does not exist; expected the folder of the split stage"):
        collect([], tmp_path / "out", split=tmp_path / "nowhere")


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    """As in archives from other systems; the file is read, and its name can be logged."""
    folder = tmp_path / "texts"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (folder / name).write_text("A line of text.\nAnother line.\n", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    out = tmp_path / "out"
    assert collect([folder], out).summary["documents"] == 2
    assert {document["source"] for document in iter_corpus(out)} == {str(folder / name)}
    assert events(out, "detected")[0]["path"] == str(folder / name)
    assert collect([folder], out).status == "finished"  # a second call recognises it


def test_many_files_are_announced_before_they_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.text.sources.files.FILES_WORTH_A_NOTICE", 3)
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"A text called {name}.\n", encoding="utf-8")
    printed: list[str] = []
    collect([tmp_path], tmp_path / "out", say=printed.append)
    assert printed == ["Computing the fingerprint of the text (3 files)."]
