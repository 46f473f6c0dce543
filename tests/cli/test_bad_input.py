"""Bad input gets a sentence and a documented exit code, without a traceback or a loss: a row for each kind of it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.text.document_store import iter_corpus

DATA, USAGE, MODEL = 3, 2, 4
Words = list[str]


@dataclass(frozen=True)
class Case:
    """A kind of bad input: `command` writes it and returns the words to type; the last line of stderr has `words`."""

    name: str
    command: Callable[[Path], Words]
    code: int
    words: Sequence[str]


def text(folder: Path, name: str, content: str | bytes) -> str:
    """Write a file with this content and return its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def collect(*paths: str, options: str = "") -> Callable[[Path], Words]:
    """`collect` on paths inside the folder."""
    return lambda folder: [
        "collect",
        *(str(folder / path) for path in paths),
        "--out",
        str(folder / "out"),
        *options.split(),
    ]


def collect_file(name: str, content: str | bytes, options: str = "") -> Callable[[Path], Words]:
    """`collect` on one file with this content."""
    return lambda folder: ["collect", text(folder, name, content), "--out", str(folder / "out"), *options.split()]


def run_labels(name: str, content: str, options: str = "") -> Callable[[Path], Words]:
    """`run` on a label file with this content, which is refused before anything is trained."""
    return lambda folder: [
        "run",
        "--labels",
        text(folder, name, content),
        "--out",
        str(folder / "out"),
        *options.split(),
    ]


SENTENCES = "".join(f"This is sentence number {n}, and it is as good as any other.\n" for n in range(200))
BROKEN = b"A sentence with a broken byte \xff in it.\n"
ONE_CLASS = "text,label\n" + "".join(f"A text with number {n},good\n" for n in range(60))

CORPUS_CASES = [
    Case("missing path", collect("none.txt"), DATA, ["none.txt", "does not exist"]),
    Case("a glob without a file", collect("*.jsonl"), DATA, ["*.jsonl"]),
    Case("empty file", collect_file("empty.txt", ""), DATA, ["empty"]),
    Case("only white space", collect_file("blank.txt", " \n\n\t\n"), DATA, ["blank.txt"]),
    Case("empty folder", lambda f: [*collect("texts")(f)] if (f / "texts").mkdir() is None else [], DATA, ["texts"]),
    Case("binary file", collect_file("photo.txt", bytes(range(256)) * 40), DATA, ["photo.txt"]),
    Case("binary file without ending", collect_file("photo", b"\x89PNG\r\n\x1a\n" + bytes(2000)), DATA, ["photo"]),
    Case("unreadable path", lambda f: ["collect", "/proc/self/mem", "--out", str(f / "out")], DATA, ["/proc/self/mem"]),
    Case("broken UTF-8 above 1 %", collect_file("a.txt", (b"\xfd\xff\xfe" * 3 + b" word\n") * 99), DATA, ["a.txt"]),
    Case("torn gzip", collect_file("a.txt.gz", gzip.compress(SENTENCES.encode())[:200]), DATA, ["a.txt.gz"]),
    Case(
        "jsonl that does not parse",
        collect_file("a.jsonl", '{"text": "fine"}\n{"text": \n' * 5),
        DATA,
        ["a.jsonl", "line 2"],
    ),
    Case(
        "csv without header",
        collect_file("a.csv", "".join(f"{n},The text of row {n} is here.\n" for n in range(50))),
        DATA,
        ["a.csv, line 1 looks like data", "add one as the first line"],
    ),
    Case(
        "csv with many ragged rows",
        collect_file("a.csv", "id,text\n1,The text of a row.\n2,Too,many,cells\n"),
        DATA,
        ["a.csv, line 3: 4 cells, expected 2 (id, text)"],
    ),
    Case(
        "column that is not there",
        collect_file("a.csv", "id,body\n1,a b c\n", "--text-column text"),
        DATA,
        ["a.csv", "body"],
    ),
]
LABEL_CASES = [
    Case("labels with one class", run_labels("l.csv", ONE_CLASS), DATA, ["good"]),
    Case("labels without rows", run_labels("l.csv", "text,label\n"), DATA, ["l.csv"]),
    Case(
        "label file that is missing",
        lambda f: ["run", "--labels", str(f / "l.csv"), "--out", str(f / "out")],
        DATA,
        ["l.csv"],
    ),
    Case("label column that is not there", run_labels("l.csv", ONE_CLASS, "--label-column stars"), DATA, ["stars"]),
    Case(
        "labels in jsonl that does not parse",
        run_labels("l.jsonl", '{"text": "a", "label": \n'),
        DATA,
        ["l.jsonl", "line 1"],
    ),
]
FOLDER_CASES = [
    Case(
        "a file where the folder should be",
        lambda f: ["run", "--out", text(f, "out", "mine")],
        USAGE,
        ["is a file", "--out"],
    ),
    Case(
        "files of somebody else's",
        lambda f: ["collect", text(f, "a.txt", SENTENCES), "--out", str(f)],
        USAGE,
        ["already contains files that pretune did not write", "a.txt"],
    ),
    Case(
        "two budgets",
        lambda f: ["run", "--minutes", "1", "--tokens", "5", "--out", str(f / "o")],
        USAGE,
        ["one budget"],
    ),
    Case(
        "a setting that cannot work", lambda f: ["run", "--patience", "0", "--out", str(f / "o")], USAGE, ["--patience"]
    ),
    Case("a budget of nothing", lambda f: ["run", "--minutes", "0", "--out", str(f / "o")], USAGE, ["above zero"]),
    Case(
        "a setting that has another word in run",
        lambda f: ["run", "--finetune-epochs", "0", "--out", str(f / "o")],
        USAGE,
        ["--finetune-epochs is 0; expected at least 1"],
    ),
    Case("no --out", lambda _: ["run"], USAGE, ["Give --out DIR"]),
]


def answer(words: Words, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and the sentence on stderr, which has neither a traceback nor a second line."""
    code = run_command_line(words)
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return code, told.strip().splitlines()[-1] if told.strip() else ""


@pytest.mark.parametrize("case", [*CORPUS_CASES, *LABEL_CASES, *FOLDER_CASES], ids=lambda case: case.name)
def test_bad_input_gets_a_sentence(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = case.command(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, sentence = answer(words, capsys)
    assert code == case.code, sentence
    assert all(word in sentence for word in case.words), sentence
    assert sentence.endswith((".", "?")) or "--help" in sentence
    assert {path: path.read_bytes() for path in before} == before


def test_a_little_broken_text_is_repaired_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = text(tmp_path, "a.txt", SENTENCES.encode() + BROKEN)
    assert run_command_line(["collect", path, "--out", str(tmp_path / "out")]) == 0
    assert "a.txt" in capsys.readouterr().err
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any("1" in event["sentence"] for event in events if event["event"] == "warning")


def test_nul_bytes_are_read_and_cleaned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(SENTENCES.encode().replace(b"sentence number 7,", b"sentence\0 number\0 7,"))
    assert run_command_line(["collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "c")]) == 0
    assert run_command_line(["preprocess", str(tmp_path / "c"), "--out", str(tmp_path / "p")]) == 0
    assert "Traceback" not in capsys.readouterr().err
    texts = [document["text"] for document in iter_corpus(tmp_path / "p")]
    assert "This is sentence number 7, and it is as good as any other." in texts
    assert not any("\0" in text for text in texts)


def test_a_corpus_of_one_repeated_text_is_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("The same sentence in every line of the file.\n" * 5000, encoding="utf-8")
    assert run_command_line(["collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "c")]) == 0
    code, sentence = answer(["preprocess", str(tmp_path / "c"), "--out", str(tmp_path / "p")], capsys)
    assert code == DATA
    assert "in 1 document (most were dropped because" in sentence and "4,999)" in sentence
    assert not (tmp_path / "p").exists()


def test_ragged_rows_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a few; above 1 % of the rows the file is refused, as in the table above."""
    rows = "id,text\n" + "".join(f"{n},The text of row number {n} is here.\n" for n in range(200)) + "200,Too,many\n"
    path = text(tmp_path, "a.csv", rows)
    assert run_command_line(["collect", path, "--out", str(tmp_path / "out")]) == 0
    assert "a row with too few or too many cells: 1; the first is " + path + ", line 202" in capsys.readouterr().err


# --- what needs a run -------------------------------------------------------------------------------------------------


def damage(run: Path, copy: Path, how: str) -> Path:
    """A copy of a run with its fine-tuned model damaged."""
    shutil.copytree(run, copy)
    weights, config = (
        copy / "finetune" / "checkpoint" / "model.safetensors",
        copy / "finetune" / "checkpoint" / "config.json",
    )
    if how == "missing":
        shutil.rmtree(copy / "finetune" / "checkpoint")
    elif how == "truncated":
        os.truncate(weights, weights.stat().st_size // 2)
    elif how == "altered":
        with weights.open("r+b") as file:
            file.seek(-3, os.SEEK_END)
            byte = file.read(1)
            file.seek(-3, os.SEEK_END)
            file.write(bytes([byte[0] ^ 0x40]))
    elif how == "of another version":
        manifest = weights.with_name("manifest.json")
        values = json.loads(manifest.read_text(encoding="utf-8"))
        manifest.write_text(json.dumps(values | {"format_version": 99}), encoding="utf-8")
    elif how == "of another kind":
        values = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(json.dumps(values | {"architectures": ["BertModel"], "model_type": "bert"}), encoding="utf-8")
    return copy


@pytest.mark.parametrize("how", ["missing", "truncated", "altered", "of another version", "of another kind"])
def test_a_model_that_cannot_be_used(
    how: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = damage(run_folder, tmp_path / "copy", how)
    code, sentence = answer(["predict", str(copy), "A text."], capsys)
    assert code == MODEL
    assert str(copy) in sentence


def test_a_path_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["predict", str(tmp_path / "none"), "A text."], capsys)[0] == MODEL
    assert answer(["fill", str(tmp_path), "A [MASK]."], capsys)[0] == MODEL


def test_an_output_folder_of_another_run(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (small_run / "recipe.toml").read_bytes()
    code, sentence = answer(["run", str(small_run / "recipe.toml"), "--tokens", "70000"], capsys)
    assert code == USAGE
    assert "pretrain.tokens (was 60000, now 70000)" in sentence
    assert (small_run / "recipe.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("One line of text.\nAnother line of text.\n", "", "too little to learn from"),
        (SENTENCES, "--vocab-size 8000", "--vocab-size"),
        (SENTENCES, "--tokens 5000 --vocab-size 300 --compile off", "--tokens"),
    ],
    ids=["too small", "too small for the vocabulary", "too small for the budget"],
)
def test_a_corpus_that_is_too_small(
    content: str, options: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = text(tmp_path, "a.txt", content)
    code, sentence = answer(["run", "--corpus", path, "--out", str(tmp_path / "out"), *options.split()], capsys)
    assert code == DATA, sentence
    assert words in sentence, sentence


def test_a_full_file_system(small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a file system of 64 kB, the sentence names it, and after making room the same command succeeds."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        words = ["collect", str(small_world / "reviews.txt"), "--out", str(small / "out")]
        code, sentence = answer(words, capsys)
        assert code == 5, sentence
        assert sentence.startswith("The disk is full: ")
        subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
        assert answer(words, capsys)[0] == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a small file system: each write to the log fails as on a full disk."""
    from pretune.runtime.events import EventLog

    def fail(log: EventLog, _event: str, **_fields: object) -> None:
        raise OSError(28, "No space left on device", str(log.path))

    monkeypatch.setattr(EventLog, "write", fail)
    path = text(tmp_path, "a.txt", SENTENCES)
    code, sentence = answer(["collect", path, "--out", str(tmp_path / "out")], capsys)
    assert code == 5
    assert sentence.startswith("The disk is full: ")
    monkeypatch.undo()
    assert run_command_line(["collect", path, "--out", str(tmp_path / "out")]) == 0
