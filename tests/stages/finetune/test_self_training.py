"""The model labels sentences of a corpus, and a student learns from them: what is read, what is written, what remains
after an interruption, and what is delivered."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import InputDataError, StageDiffersError, StoppedError, UsageError
from pretune.inference.load import load_classifier
from pretune.model.folder import load_model_folder
from pretune.run_trace.training import read_phase
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import read_manifest, read_manifest_if_any
from pretune.runtime.stage_folder import open_stage
from pretune.scoring.prediction_files import PREDICTIONS, STUDENT_PREDICTIONS, TEACHER_PREDICTIONS
from pretune.settings import FinetuneConfig, SplitConfig
from pretune.stages.collect.stage import collect
from pretune.stages.compare import compare
from pretune.stages.finetune import self_training
from pretune.stages.finetune.candidates import Candidates
from pretune.stages.finetune.corpus_sentences import find_corpus
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.self_training import PSEUDO_LABELS, student_batches
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.stages.preprocess.stage import preprocess
from pretune.text.document_store import CorpusWriter, corpus_file
from pretune.text.seen_texts import PRETRAINING, TRAINING, load_seen
from pretune.training.finetuning_trial import FinetuningTrial

SETTINGS = FinetuneConfig(epochs=1, learning_rates=(1e-3,), seeds=2, self_train=True, self_train_sentences=400)
WORDS = "the film food hotel phone book was and very battery days".split()


def write_corpus(path: Path) -> Path:
    """120 documents of ten sentences, all of which have one of two words; every third document is a single sentence."""
    draw, lines = random.Random(1), []
    for number in range(120):
        word = ("dreadful", "wonderful")[number % 2]
        sentences = []
        for place in range(1 if number % 3 == 0 else 10):
            words = draw.choices(WORDS, k=draw.randint(4, 9))
            words.insert(draw.randrange(len(words)), word)
            sentences.append(" ".join([*words, str(1000 * number + place)]) + ".")
        lines.append(json.dumps({"text": " ".join(sentences)}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    collect([str(write_corpus(folder / "texts.jsonl"))], folder / "collect")
    preprocess(folder / "collect", folder / "preprocess", base=run_folder / "pretrain")
    return folder / "preprocess"


@pytest.fixture(scope="module", autouse=True)
def choosing() -> Iterator[None]:
    """The validation rows are too few to refuse a student; a test below has what happens otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.stages.finetune.candidates.is_clearly_worse", lambda *_: False)
        yield


@pytest.fixture(scope="module")
def run(run_folder: Path, prepared_folder: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("self") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.runtime.events.PROGRESS_SECONDS", 0.0)
        finetune(run_folder / "pretrain", prepared_folder, folder / "finetune", SETTINGS, corpus=corpus)
    (folder / "prepare").symlink_to(prepared_folder)
    return folder


def of_kind(folder: Path, kind: str) -> list[Event]:
    return [event for event in read_events(folder) if event["event"] == kind]


def story(folder: Path) -> list[Event]:
    """The log of a stage without times, and without what is logged by the clock or at a stop."""
    timed = ("time", "seconds", "elapsed_seconds", "peak_memory_bytes")
    events = [event for event in read_events(folder) if event["event"] not in ("train", "progress", "checkpoint")]
    return [{name: value for name, value in event.items() if name not in timed} for event in events]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_pseudo_labels_can_be_read(run: Path) -> None:
    lines = lines_of(run / "finetune" / PSEUDO_LABELS)
    assert 200 < len(lines) < 400  # two thirds of about as many as were asked for
    for line in lines:
        assert line["text"].endswith(".")
        assert sum(line["probabilities"]) == pytest.approx(1, abs=1e-5)
    mean = np.mean([line["probabilities"] for line in lines], axis=0)
    np.testing.assert_allclose(mean, 0.5, atol=0.1)
    assert PSEUDO_LABELS in read_manifest(run / "finetune").outputs


def test_labelling_says_how_far_it_is(run: Path) -> None:
    sentences = [event["sentence"] for event in of_kind(run / "finetune", "notice")]
    *_, last = of_kind(run / "finetune", "progress")
    assert f"The model labels {last['total']} sentences of the corpus." in sentences
    assert (last["done"], last["unit"]) == (last["total"], "sentences")


def test_documents_are_cut_into_sentences_or_taken_whole(run: Path) -> None:
    lines = lines_of(run / "finetune" / PSEUDO_LABELS)
    by_document: dict[int, list[str]] = {}
    for line in lines:
        by_document.setdefault(line["document"], []).append(line["text"])
    assert max(map(len, by_document.values())) > 1
    for texts in by_document.values():  # a document says one thing throughout
        assert len({re.findall("dreadful|wonderful", text)[0] for text in texts}) == 1


def test_the_student_reads_its_sentences_and_every_labelled_row_twice(run: Path, prepared_folder: Path) -> None:
    [started] = [event for event in of_kind(run / "finetune", "trial_started") if event.get("is_student")]
    num_labelled = len(lines_of(prepared_folder / "train.jsonl"))
    assert started["rows"] == len(lines_of(run / "finetune" / PSEUDO_LABELS)) + 2 * num_labelled
    assert started["trial"] == 2
    evaluations = [event for event in of_kind(run / "finetune", "evaluation") if event["trial"] == 2]
    assert len(evaluations) == self_training.EVALUATIONS


@pytest.mark.parametrize(("of_others", "of_student"), [(0.0, 0.0), (0.1, 0.2), (0.4, 0.5), (0.7, 0.7)])
def test_no_fewer_tokens_are_hidden_from_a_student(
    of_others: float, of_student: float, run: Path, run_folder: Path, prepared_folder: Path
) -> None:
    loaded, source = load_model_folder(run_folder / "pretrain" / "checkpoint"), read_manifest(prepared_folder)
    config = replace(SETTINGS, mask_augment=of_others)
    data = PreparedRows(prepared_folder, source, loaded, config, width_multiple=1, given=run_folder)
    assert student_batches(run / "finetune", data, seed=0).mask_augment == pytest.approx(of_student)


def test_the_student_is_delivered_and_tested_last(run: Path) -> None:
    [chosen], tests = of_kind(run / "finetune", "chosen"), of_kind(run / "finetune", "test")
    assert chosen["is_student"]
    assert "the student, which also learned from sentences of the corpus" in chosen["sentence"]
    assert [(test["seed"], bool(test.get("is_student"))) for test in tests] == [
        (0, False),
        (1, False),
        (None, False),  # the mean of both, which labelled the corpus
        (None, True),
    ]
    delivered = lines_of(run / "finetune" / PREDICTIONS / STUDENT_PREDICTIONS)
    assert np.mean([line["predicted"] == line["label"] for line in delivered]) == pytest.approx(tests[-1]["accuracy"])
    rows = {row["row"]: row["text"] for row in lines_of(run / "prepare" / "test.jsonl")}
    predicted = load_classifier(run / "finetune").predict([rows[line["row"]] for line in delivered[:5]])
    for found, line in zip(predicted, delivered, strict=False):
        assert list(found.probabilities.values()) == pytest.approx(line["probabilities"], abs=1e-5)


def test_the_sentences_are_on_record(run: Path) -> None:
    sentences = [line["text"] for line in lines_of(run / "finetune" / PSEUDO_LABELS)]
    seen = load_seen(run / "finetune", PRETRAINING)
    assert seen is not None
    assert seen.among(sentences).all()
    assert not seen.is_complete  # of this base, nothing is recorded
    rows = load_seen(run / "finetune", TRAINING)
    assert rows is not None
    assert not rows.among(sentences).any()


def test_the_trace_says_which_trial_is_the_student(run: Path) -> None:
    phase = read_phase(read_events(run / "finetune"), "finetune")
    assert phase is not None
    assert phase.is_self_trained
    assert phase.wants_student
    assert not phase.averaged_trials
    assert [trial.is_student for trial in phase.trials] == [False, False, True]
    assert phase.shown_trial == 2
    assert [test.is_student for test in phase.test] == [False, False, False, True]


def test_the_comparison_has_the_student_and_its_teacher(run: Path) -> None:
    compare(run / "finetune", None, run / "prepare", run / "compare")
    [event] = of_kind(run / "compare", "comparison")
    kinds = [row["kind"] for row in event["rows"]]
    assert kinds[-3:] == ["pretrained", "teacher", "student"]  # the teacher is the mean of the seeds, listed once
    assert ["teacher"] in [verdict["between"][1:] for verdict in event["verdicts"]]
    [verdict] = [verdict for verdict in event["verdicts"] if verdict["between"][1:] == ["teacher"]]
    assert "the model before self-training" in verdict["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["labelling", "label_corpus", "run", "_evaluate", "_save", "prefers", "save"])
def test_an_interrupted_student_ends_as_if_nothing_had_been(
    place: str, run: Path, run_folder: Path, prepared_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    owner = FinetuningTrial if place in ("run", "_evaluate", "_save") else Candidates
    name = "label_corpus" if place == "labelling" else place
    original: Callable[..., Any] = getattr(owner, name)
    out, spent = tmp_path / "out", []

    def stop(self: Any, *given: Any) -> Any:
        if owner is FinetuningTrial and not self.settings.is_student:
            return original(self, *given)
        spent.append(read_manifest_if_any(out).summary["spent_seconds"])  # type: ignore[union-attr]
        if place == "labelling":
            given[-1].signal_number = signal.SIGTERM
        if place in ("labelling", "label_corpus", "_evaluate", "_save"):  # the student has not begun, or no checkpoint
            original(self, *given)
        raise StoppedError("Stopped.")

    given = run_folder / "pretrain", prepared_folder, out, SETTINGS
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(owner, name, stop)
        finetune(*given, corpus=corpus)
    assert (out / PSEUDO_LABELS).is_file() == (place != "labelling")
    spent.append(read_manifest_if_any(out).summary["spent_seconds"])  # type: ignore[union-attr]
    assert spent[1] > spent[0] or place == "save"  # which ends no training
    finetune(*given, corpus=corpus)
    for name in ("checkpoint/model.safetensors", PSEUDO_LABELS, f"{PREDICTIONS}/{STUDENT_PREDICTIONS}"):
        assert (out / name).read_bytes() == (run / "finetune" / name).read_bytes(), name
    assert story(out) == story(run / "finetune")


@pytest.mark.slow
def test_a_student_that_is_worse_is_not_delivered(
    run_folder: Path, prepared_folder: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.stages.finetune.candidates.is_clearly_worse", lambda *_: True)
    monkeypatch.setattr("pretune.stages.finetune.delivered.is_clearly_worse", lambda *_: False)
    out = tmp_path / "out"
    finetune(run_folder / "pretrain", prepared_folder, out, SETTINGS, corpus=corpus)
    [chosen] = of_kind(out, "chosen")
    assert "is_student" not in chosen
    assert chosen["averaged_trials"] == [0, 1]
    assert not (out / PREDICTIONS / STUDENT_PREDICTIONS).exists()
    assert not (out / PREDICTIONS / TEACHER_PREDICTIONS).exists()
    assert any("not delivered" in event["sentence"] for event in of_kind(out, "notice"))
    phase = read_phase(read_events(out), "finetune")
    assert phase is not None
    assert phase.wants_student
    assert not phase.is_self_trained


def write_small_corpus(path: Path, sentences: int) -> Path:
    """A folder of preprocess with as many sentences of usual lengths, ten in a document."""
    folder = open_stage(path, "preprocess", config={}, inputs={}, redo=False)
    with CorpusWriter(folder.path) as writer:
        for first in range(0, sentences, 10):
            text = " ".join(f"the film was wonderful and very {number}." for number in range(first, first + 10))
            writer.write(text, split="train")
    folder.finish(train_documents=sentences // 10, train_tokens=10 * sentences)
    return path


def test_a_corpus_of_no_use_is_refused_before_any_training(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, altered = write_small_corpus(tmp_path / "few", 190), write_small_corpus(tmp_path / "altered", 300)
    file = corpus_file(altered, 0)
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(FinetuningTrial, "run", lambda *_: pytest.fail("a trial began"))
    for corpus, error, sentence in (
        (few, UsageError, "found 190 sentences in .* expected at least 200"),
        (altered, InputDataError, "documents-00000.jsonl.zst was altered"),
    ):
        with pytest.raises(error, match=sentence):
            finetune(run_folder / "pretrain", prepared_folder, tmp_path / "out", SETTINGS, corpus=corpus)
        assert not (tmp_path / "out").exists()


def test_what_cannot_be_labelled_is_refused_and_leaves_nothing(run_folder: Path, corpus: Path, tmp_path: Path) -> None:
    rows = [{"text": f"the film number {number}", "label": number / 7} for number in range(60)]
    labels = tmp_path / "scores.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare(labels, tmp_path / "prepare", base=run_folder / "pretrain", split=SplitConfig(task="regression"))
    with pytest.raises(UsageError, match="these labels are of the task regression; leave it out"):
        finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "out", SETTINGS, corpus=corpus)
    assert not (tmp_path / "out").exists()


def test_the_corpus_is_named_or_found(run_folder: Path, prepared_folder: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="name one with --corpus"):
        finetune(run_folder / "pretrain", prepared_folder, out, SETTINGS)
    with pytest.raises(InputDataError):
        finetune(run_folder / "pretrain", prepared_folder, out, SETTINGS, corpus=prepared_folder)
    with pytest.raises(UsageError, match="only --self-train reads"):
        finetune(run_folder / "pretrain", prepared_folder, out, replace(SETTINGS, self_train=False), corpus=corpus)
    with pytest.raises(UsageError, match="leave --self-train out"):
        replace(SETTINGS, from_scratch=True)
    assert not out.exists()


def test_another_corpus_is_another_model(
    run: Path, run_folder: Path, prepared_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    same = tmp_path / "preprocess"
    shutil.copytree(corpus, same)
    given = run_folder / "pretrain", prepared_folder, run / "finetune"
    finetune(*given, SETTINGS, corpus=same)  # the same text in another place
    finetune(*given, SETTINGS, corpus=tmp_path)  # its run
    with pytest.raises(StageDiffersError):
        finetune(*given, SETTINGS, corpus=write_small_corpus(tmp_path / "other", 300))
    with pytest.raises(StageDiffersError):
        finetune(*given, replace(SETTINGS, self_train=False))


def test_a_name_on_the_hub_has_no_corpus_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name read as a path has the current folder as its second parent, which may be a run."""
    corpus = write_small_corpus(tmp_path / "preprocess", 300)
    inputs = {"preprocessed": read_manifest(corpus).fingerprint}
    open_stage(tmp_path / "pretrain", "pretrain", config={}, inputs=inputs, redo=False).finish()
    assert find_corpus(tmp_path / "pretrain" / "checkpoint", None) == corpus
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="next to hf:owner/name; name one with --corpus"):
        find_corpus(Path("hf:owner/name"), None)


def test_the_corpus_of_the_run_of_the_base_is_found(small_run: Path) -> None:
    for base in (small_run, small_run / "pretrain", small_run / "pretrain" / "checkpoint"):
        assert find_corpus(base, None).resolve() == (small_run / "preprocess").resolve()
