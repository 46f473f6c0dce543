"""Documents that stage 2 drops other than exact duplicates and bad text, and their reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import zstandard

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError, UsageError
from pretune.reporting.report import run_lines
from pretune.run_trace.build import build_run_trace
from pretune.runtime.events import read_events
from pretune.runtime.manifest import hash_file
from pretune.settings import PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess import steps
from pretune.stages.preprocess.stage import preprocess
from pretune.stages.split import split
from pretune.terminal import Page, to_text
from pretune.text.document_store import iter_corpus
from pretune.text.steps.dropped import dropped_rules, iter_dropped

NAMES = "Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jana Kim Leo Mia Noa Olaf Pia".split()
THINGS = "apple boat candle drum engine fence garden hammer island jacket kettle ladder".split()


def sentence(number: int) -> str:
    """Sentences that share few word sequences."""
    name, other = NAMES[number % 16], NAMES[(number * 7 + number // 16) % 16]
    things = [THINGS[(number // 12**power * 5 + number) % 12] for power in range(4)]
    return f"{name}{number} gave {things[0]} {number * 17} and {things[1]} to {other} for a {things[2]} or {things[3]}."


NEAR = "Eva3 gave drum 51 and drum to Jana for a drum or candle, and nothing at all came of this for many years"
PROTECTED = "Nobody in the whole village had ever seen such a storm as the one which came that night in March."
QUOTE = f"My mother said: {PROTECTED} Then she laughed."


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    texts = [sentence(i) for i in range(500)]
    texts += [NEAR + " afterwards.", NEAR + " after that.", NEAR + " AFTERWARDS.", QUOTE, "Hello there", "*** ***"]
    texts += ["Write to ada@example.org about it.", "Gestern war das Wetter schön, und wir gingen lange spazieren."]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    (folder / "protect.txt").write_text(f"{PROTECTED}\nHello there\n", encoding="utf-8")
    collect([folder / "text.jsonl"], folder / "collect")
    return folder / "collect"


def run(collected: Path, out: Path, **settings: Any) -> tuple[dict[str, int], list[str]]:
    """Counts of what each rule dropped, and the texts that were kept."""
    preprocess(collected, out, PreprocessConfig(**settings), protect=[collected.parent / "protect.txt"])
    (flow,) = (event for event in read_events(out) if event["event"] == "flow")
    return {drop["rule"]: drop["count"] for drop in flow["dropped"]}, [doc["text"] for doc in iter_corpus(out)]


@pytest.fixture(scope="module")
def preprocessed(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("p") / "out"
    dropped, texts = run(collected, out)
    assert dropped == {
        "exact_duplicate": 1, "near_duplicate": 1, "contaminated": 1, "held_out": 1, "max_symbol_ratio": 1,
    }  # fmt: skip
    assert "Write to ada@example.org about it." in texts
    assert QUOTE not in texts
    return out


def test_dropped_documents_are_listed_with_their_originals(preprocessed: Path) -> None:
    (near,) = iter_dropped(preprocessed, "near-duplicate")
    assert (near["text"], near["original"]) == (NEAR + " after that.", NEAR + " afterwards.")
    assert 0.8 <= near["similarity"] < 1
    assert near["rule"] == "near_duplicate"
    assert near["original_source"].endswith("text.jsonl")
    (exact,) = iter_dropped(preprocessed, "exact_duplicate")
    assert (exact["text"], exact["original"]) == (NEAR + " AFTERWARDS.", NEAR + " afterwards.")
    (contaminated,) = iter_dropped(preprocessed, "contaminated")
    assert (contaminated["text"], contaminated["original"]) == (QUOTE, PROTECTED)
    assert contaminated["shared"] == "nobody in the whole village had ever seen such a storm as the"
    (symbols,) = iter_dropped(preprocessed, "max-symbol-ratio")
    assert symbols["text"] == "*** ***"
    assert list(dropped_rules(preprocessed)) == [
        "contaminated", "exact-duplicate", "held-out", "max-symbol-ratio", "near-duplicate",
    ]  # fmt: skip
    with pytest.raises(InputDataError, match="lists no documents dropped by 'nope'; it has lists for contaminated, "):
        next(iter_dropped(preprocessed, "nope"))


def test_the_funnel_adds_up_and_is_shown(preprocessed: Path) -> None:
    (funnel,) = (event for event in read_events(preprocessed) if event["event"] == "funnel")
    steps = {step["step"]: (step["documents"], step["characters"]) for step in funnel["steps"]}
    assert list(steps) == [
        "found", "repaired", "max_symbol_ratio", "exact_duplicate", "near_duplicate", "held_out", "contaminated",
    ]  # fmt: skip
    texts = [document["text"] for document in iter_corpus(preprocessed)]
    assert steps["found"][0] == 508
    assert steps["contaminated"] == (len(texts), sum(map(len, texts)))
    assert sum(group["documents"] for group in funnel["lengths"]) == len(texts)
    text = to_text(run_lines(build_run_trace(preprocessed), Page()), Page())
    assert re.search(r" max symbol ratio +507 ", text)
    assert "pretune show DIR --dropped RULE" in text
    assert json.loads((preprocessed / "manifest.json").read_text())["summary"]["funnel"]["steps"] == funnel["steps"]


def test_show_dropped(preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["show", str(preprocessed), "--dropped", "near-duplicate"]) == 0
    assert '= "Eva3 gave drum 51 and drum' in capsys.readouterr().out
    assert run_command_line(["show", str(preprocessed), "--dropped", "near_duplicate", "--json", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["original"] == NEAR + " afterwards."
    for words in (["--limit", "3"], ["--json"], ["--dropped", "near-duplicate", "--limit", "0"]):
        assert run_command_line(["show", str(preprocessed), *words]) == 2
    assert run_command_line(["show", str(preprocessed), "--dropped", "lorem-ipsum"]) == 3


def test_deduplication_and_decontamination_can_be_switched_off(collected: Path, tmp_path: Path) -> None:
    dropped, texts = run(collected, tmp_path / "out", near_duplicates=False, decontaminate="off", dropped_listed=0)
    assert dropped == {"exact_duplicate": 1, "max_symbol_ratio": 1}
    assert {QUOTE, "Hello there"} <= set(texts)
    assert not dropped_rules(tmp_path / "out")


def test_contaminated_documents_can_be_reported_and_kept(collected: Path, tmp_path: Path) -> None:
    dropped, texts = run(collected, tmp_path / "out", decontaminate="report", near_duplicate_threshold=1.0)
    assert dropped == {"exact_duplicate": 1, "max_symbol_ratio": 1}
    assert QUOTE in texts
    listed = {each["text"]: each["original"] for each in iter_dropped(tmp_path / "out", "contaminated") if each["kept"]}
    assert listed == {QUOTE: PROTECTED, "Hello there": "Hello there"}
    warnings = [event["sentence"] for event in read_events(tmp_path / "out") if event["event"] == "warning"]
    assert any(
        "2 documents with word sequences of held-out or protected texts kept, because --decontaminate is report" in each
        for each in warnings
    )


def test_personal_data_and_language(collected: Path, tmp_path: Path) -> None:
    dropped, texts = run(collected, tmp_path / "out", personal_data="replace", language="en", dropped_listed=1)
    assert "Write to [email] about it." in texts
    assert dropped["language"] >= 1
    assert not any(text.startswith("Gestern") for text in texts)
    (funnel,) = (event for event in read_events(tmp_path / "out") if event["event"] == "funnel")
    assert funnel["personal_data"]["email"] == 1
    assert funnel["languages"]["en"] > 300
    assert len(list(iter_dropped(tmp_path / "out", "language"))) == 1


def test_languages_of_a_sample_are_shown_by_default(
    preprocessed: Path, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The language is then not a reason to drop a document; without the package, no languages are shown."""
    pytest.importorskip("py3langid")
    (funnel,) = (event for event in read_events(preprocessed) if event["event"] == "funnel")
    assert sum(funnel["languages"].values()) == funnel["languages_of"] > 450  # of 503; a fraction is chosen by hash
    assert funnel["languages"]["en"] > 300
    assert "language (of 4" in to_text(run_lines(build_run_trace(preprocessed), Page()), Page())
    monkeypatch.setattr(steps, "is_installed", lambda: False)
    run(collected, tmp_path / "out")
    (funnel,) = (event for event in read_events(tmp_path / "out") if event["event"] == "funnel")
    assert "languages" not in funnel
    assert hash_file(tmp_path / "out" / "train.tokens") == hash_file(preprocessed / "train.tokens")


def test_personal_data_is_in_no_file(tmp_path: Path) -> None:
    """Not in the text, the lists of dropped documents, or the example."""
    address = "ada.lovelace@example.org"
    texts = [f"{sentence(0)} Write to {address}.", *map(sentence, range(1, 400)), f"buy now {address} " * 30]
    texts += [f"{NEAR} {address}", f"{NEAR} {address} too", f"Lorem ipsum, {address}"]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    manifest = collect([tmp_path / "text.jsonl"], tmp_path / "collect")
    assert address in manifest.summary["example"]["text"] + read_all(tmp_path / "collect")
    out = tmp_path / "out"
    preprocess(tmp_path / "collect", out, PreprocessConfig(personal_data="replace"))
    assert {"near-duplicate", "repetition", "lorem-ipsum"} <= set(dropped_rules(out))
    assert address not in read_all(out)
    assert "[email]" in read_all(out)


def test_personal_data_that_the_repairs_reveal_is_in_no_file(tmp_path: Path) -> None:
    """For the lists of dropped documents and the example, it was sought in the text as found."""
    address = "ada.lovelace&#64;example.org or ada.love\u200blace@example.org"
    texts = [f"{sentence(number)} Write to {address}." for number in range(400)]
    texts += [f"buy now {address} " * 30, f"Lorem ipsum, {address}"]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    collect([tmp_path / "text.jsonl"], tmp_path / "collect")
    preprocess(tmp_path / "collect", tmp_path / "out", PreprocessConfig(personal_data="replace"))
    written = read_all(tmp_path / "out")
    assert "[email]" in written
    assert "ada.love" not in written


@pytest.mark.parametrize(("setting", "count"), [("replace", 3), ("keep", 0)])
def test_personal_data_in_labelled_rows_is_counted(
    tmp_path: Path, setting: Literal["keep", "replace"], count: int
) -> None:
    """They are not masked, and nothing said so."""
    texts = [f"{sentence(number)}{' Write to ada@example.org.' * (number < 3)}" for number in range(400)]
    rows = [{"text": text, "label": number % 2} for number, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    split(tmp_path / "rows.jsonl", tmp_path / "split")
    collect([], tmp_path / "collect", split=tmp_path / "split")
    config = PreprocessConfig(personal_data=setting)
    preprocess(tmp_path / "collect", tmp_path / "out", config, split=tmp_path / "split")
    said = [event for event in read_events(tmp_path / "out") if event.get("rule") == "personal_data_in_labels"]
    assert [event["count"] for event in said] == [count] * (count > 0)
    assert all("The labelled rows contain personal data (e-mail addresses: 3)." in event["sentence"] for event in said)


def read_all(folder: Path) -> str:
    """Every text file of a folder, decompressed."""
    whole = [path.read_text(encoding="utf-8") for path in folder.glob("*.json*") if path.suffix != ".zst"]
    opened = [zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read() for path in folder.glob("*.zst")]
    return "\n".join([*whole, *(content.decode() for content in opened)])


def test_protected_files_are_part_of_the_identity(collected: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(collected, out)
    with pytest.raises(UsageError, match="input protect"):
        preprocess(collected, out)
    with pytest.raises(InputDataError, match=r"nowhere.txt does not exist"):
        preprocess(collected, tmp_path / "other", protect=[tmp_path / "nowhere.txt"])


def test_the_log_says_what_is_protected(collected: Path, tmp_path: Path) -> None:
    """Columns, rows and files that were not read, and so not protected, were not mentioned."""
    folder = tmp_path / "protect"
    folder.mkdir()
    rows = "A man runs,A person moves,1\n" * 100 + "One cell\n"
    (folder / "pairs.csv").write_text(f"sentence1,sentence2,label\n{rows}", encoding="utf-8")
    (folder / "notes.tex").write_text("Not read.\n", encoding="utf-8")
    preprocess(collected, tmp_path / "out", protect=[folder])
    said = [event["sentence"] for event in read_events(tmp_path / "out") if "Protected: " in event.get("sentence", "")]
    assert "Protected: 200 texts in 1 file." in said
    assert any("the text is in columns 'sentence1', 'sentence2' (others: label)" in each for each in said)
    assert any("file without a known ending" in each and "notes.tex" in each for each in said)
    assert any("Left out, a row with too few or too many cells: 1" in each for each in said)
