"""Entities from the file to predictions: words get labels, and the entities are those of the text as it was given."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pretune
from pretune.cli.main import run_command_line
from pretune.errors import InputDataError
from pretune.evaluation.evaluate import evaluate
from pretune.inference.load import load_classifier
from pretune.inference.predict import predict, predict_file
from pretune.runtime.events import read_events
from pretune.scoring.entities import count_entities
from pretune.settings import FinetuneConfig, PrepareConfig, SplitConfig
from pretune.stages.compare import compare
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.stages.split import split
from pretune.tasks.prediction import EntitiesPrediction
from pretune.tasks.registry import task_named
from pretune.tasks.tokens import EntityOutputs, PredictedSpan, Tokens
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.spans import Span
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

PEOPLE = ["Ada", "Grace Hopper", "Alan Turing", "Barbara Liskov", "Dennis Ritchie"]
PLACES = ["London", "New York", "Paris", "Rome"]
FINETUNE = FinetuneConfig(epochs=8, patience=8, learning_rates=(4e-3,), seeds=1)


def sentence(random: np.random.Generator) -> dict[str, Any]:
    """Running text with spans: people and places are told apart by the words beside them."""
    text, spans = "", []
    for _ in range(random.integers(0, 3)):
        person, place = str(random.choice(PEOPLE)), str(random.choice(PLACES))
        for part, kind in ((person, "PER"), (" went to ", None), (place, "LOC"), (". ", None)):
            if kind is not None:
                spans.append([len(text), len(text) + len(part), kind])
            text += part
    return {"text": f"{text}It was a good film.", "spans": spans}


@pytest.fixture(scope="module")
def folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of entities, and what stages 4 and 5 made of them."""
    made, random = tmp_path_factory.mktemp("tokens"), np.random.default_rng(0)
    rows = [sentence(random) for _ in range(260)]
    (made / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = PrepareConfig(max_seq_len=96)
    prepare(made / "rows.jsonl", made / "prepare", config, base=run_folder / "pretrain", split=SplitConfig())
    finetune(run_folder / "pretrain", made / "prepare", made / "finetune", FINETUNE)
    return made


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_model_learns_entities(folder: Path) -> None:
    [test] = [event for event in read_events(folder / "finetune") if event["event"] == "test"]
    assert test["entity_f1"] > 0.9
    assert {"precision", "recall", "macro_f1", "loss", "entity_f1_interval"} <= test.keys()
    assert not {"types", "type_confusion"} & test.keys()  # tables are for `evaluate`
    saved = json.loads((folder / "finetune" / "checkpoint" / "labels.json").read_text())
    assert saved["task"] == "tokens"
    assert saved["names"] == ["LOC", "PER"]
    assert saved["output_names"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert saved["decision"] == {"words": "blanks"}
    figures = evaluate(folder / "finetune", folder / "rows.jsonl")
    assert figures["n"] == 260
    assert figures["entity_f1"] > 0.9
    assert [each["label"] for each in figures["types"]] == ["LOC", "PER"]
    assert {"missed", "invented", "wrong_type", "wrong_borders"} <= figures["types"][0].keys()


def test_the_comparison_reads_what_was_predicted(folder: Path, tmp_path: Path) -> None:
    compare(folder / "finetune", None, folder / "prepare", tmp_path / "compare")
    [event] = [event for event in read_events(tmp_path / "compare") if event["event"] == "comparison"]
    gazetteer, tagger, ours = event["rows"]
    [test] = [event for event in read_events(folder / "finetune") if event["event"] == "test"]
    assert ours["entity_f1"] == pytest.approx(test["entity_f1"], abs=1e-9)
    assert (gazetteer["kind"], tagger["kind"]) == ("gazetteer", "tagger")
    assert tagger["entity_f1"] > 0.9
    assert event["verdicts"][0]["metric"] == "entity_f1"


def test_the_figures_are_those_of_the_predicted_lines(folder: Path) -> None:
    [file] = (folder / "finetune" / "predictions").glob("seed-*.jsonl")
    lines, rows = read_lines(file), read_lines(folder / "prepare" / "test.jsonl")
    assert [line["label"] for line in lines] == [row["label"] for row in rows]
    task, names = Tokens(), ["LOC", "PER"]
    outputs = task.from_lines(lines)
    counts = count_entities(task.true_values(lines, names).rows, outputs.named(names), names)
    true, found, hits = (int(part.sum()) for part in (counts.support, counts.predicted, counts.hits))
    [test] = [event for event in read_events(folder / "finetune") if event["event"] == "test"]
    assert test["entity_f1"] == pytest.approx(2 * hits / (true + found))
    assert all(0 < p <= 1 for line in lines for p in line["entity_probabilities"])
    assert [task.to_fields(outputs, index)["predicted"] for index in range(len(lines))] == [
        line["predicted"] for line in lines
    ]


def test_entities_have_their_places_in_the_text_as_given(folder: Path) -> None:
    text = "  <b>Grace\n Hopper</b> went   to London. It was a good film."
    [found, blank] = predict(folder / "finetune", [text, " "])
    assert isinstance(found, EntitiesPrediction)
    assert [(each.text, each.type) for each in found.entities] == [("Grace\n Hopper", "PER"), ("London", "LOC")]
    assert all(text[each.start : each.end] == each.text for each in found.entities)
    assert all(0.2 < each.probability <= 1 for each in found.entities)
    assert found.label == "Grace Hopper (PER); London (LOC)"
    assert not found.is_empty
    assert blank.is_empty
    [nothing] = predict(folder / "finetune", ["It was a good film."])
    assert nothing.label == "no entity"
    assert nothing.cells() == ([],)


def test_files_get_the_entities(folder: Path, tmp_path: Path) -> None:
    model, rows = load_classifier(folder / "finetune"), read_lines(folder / "rows.jsonl")[:20]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows))
    predict_file(model, tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    for line in read_lines(tmp_path / "out.jsonl"):
        for entity in line["entities"]:
            assert line["text"][entity["start"] : entity["end"]] == entity["text"]
            assert list(entity) == ["start", "end", "type", "text", "probability"]
    predict_file(model, tmp_path / "rows.jsonl", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        cells = [json.loads(row["entities"]) for row in csv.DictReader(file)]
    assert cells == [line["entities"] for line in read_lines(tmp_path / "out.jsonl")]


def test_a_text_longer_than_the_model_reads_has_all_its_entities(folder: Path) -> None:
    model = load_classifier(folder / "finetune")
    text = "Ada went to New York. It was a good film. Ada went to Rome. " * 60
    assert len(model.tokenizer.encode(text)) > 2 * model.max_seq_len
    [found] = model.predict([text])
    assert isinstance(found, EntitiesPrediction)
    names = {"Ada": "PER", "New York": "LOC", "Rome": "LOC"}
    expected = {(match.start(), match.end(), kind) for name, kind in names.items() for match in re.finditer(name, text)}
    right = {(each.start, each.end, each.type) for each in found.entities} & expected
    assert len(expected) == 240
    assert len(right) > 216
    assert len(found.entities) < 264


def test_long_rows_are_trained_on_in_parts(run_folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = []
    for _ in range(30):
        texts = [sentence(random) for _ in range(8)]
        text, spans = "", []
        for each in texts:
            spans += [[start + len(text), end + len(text), kind] for start, end, kind in each["spans"]]
            text += each["text"] + " "
        rows.append({"text": text.strip(), "spans": spans})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base, half = run_folder / "pretrain", SplitConfig(test_fraction=0.3)
    prepare(tmp_path / "rows.jsonl", tmp_path / "prepare", PrepareConfig(max_seq_len=48), base=base, split=half)
    [warning] = [e for e in read_events(tmp_path / "prepare") if e.get("rule") == "cut_into_parts"]
    assert warning["count"] == 30
    lines = [
        line for split in ("train", "validation", "test") for line in read_lines(tmp_path / f"prepare/{split}.jsonl")
    ]
    whole = {index: sorted(row["text"][start:end] for start, end, _ in row["spans"]) for index, row in enumerate(rows)}
    for index, names in whole.items():
        parts = [line for line in lines if line["row"] == index]
        assert sorted(line.get("part", 0) for line in parts) == list(range(len(parts)))
        assert sorted(line["text"][s:e] for line in parts for s, e, _ in line["label"]) == names
    finetune(
        base, tmp_path / "prepare", tmp_path / "finetune", FinetuneConfig(epochs=1, learning_rates=(1e-3,), seeds=1)
    )
    compare(tmp_path / "finetune", None, tmp_path / "prepare", tmp_path / "compare")
    [event] = [event for event in read_events(tmp_path / "compare") if event["event"] == "comparison"]
    assert event["rows"][0]["n"] == len(read_lines(tmp_path / "prepare" / "test.jsonl"))
    trained = {line["row"] for line in read_lines(tmp_path / "prepare" / "train.jsonl")}
    assert evaluate(tmp_path / "finetune", tmp_path / "rows.jsonl")["seen"]["training"] == len(trained)  # was 0
    split(tmp_path / "rows.jsonl", tmp_path / "split", half)
    prepare(tmp_path / "split", tmp_path / "again", PrepareConfig(max_seq_len=48), base=base)
    [flow] = [event for event in read_events(tmp_path / "again") if event["event"] == "flow"]
    assert flow["shape_in"] == [{"name": "labelled rows", "value": 30}]  # was the number of the parts


def test_training_and_prediction_label_the_same_words_alike(folder: Path) -> None:
    """The figures on test rows in training are those that `predict` has for their texts."""
    rows = read_lines(folder / "prepare" / "test.jsonl")
    [file] = (folder / "finetune" / "predictions").glob("seed-*.jsonl")
    found = predict(folder / "finetune", [row["text"] for row in rows])
    given = [[(e.start, e.end, ["LOC", "PER"].index(e.type)) for e in each.entities] for each in found]  # type: ignore[attr-defined]
    assert given == [[tuple(span) for span in line["predicted"]] for line in read_lines(file)]


# -- labels --


def rows_of(*labels: Sequence[Span], text: str = "Ada went to London") -> list[LabeledRow]:
    return [
        LabeledRow.of_text(row=n, line=n + 1, text=f"{text} {n}", raw=text, label=tuple(label), slice=None)
        for n, label in enumerate(labels)
    ]


ADA, LONDON = Span(0, 3, "PER"), Span(12, 18, "LOC")


def test_labels_are_written_and_read() -> None:
    task, names = Tokens(), ["LOC", "PER"]
    assert task.to_json((ADA, LONDON), names) == [[0, 3, 1], [12, 18, 0]]
    assert task.from_json([[0, 3, 1], [12, 18, 0]], names) == (ADA, LONDON)
    assert task.match_labels([(ADA,), ()], ["line 1", "line 2"], names) == [[[0, 3, 1]], []]
    assert task.match_labels([(Span(0, 3, "person"),)], ["line 1"], names, ["person=PER"]) == [[[0, 3, 1]]]
    with pytest.raises(InputDataError, match=r"line 1.*'ORG'"):
        task.match_labels([(Span(0, 3, "ORG"),)], ["line 1"], names)


def test_bad_labels_are_refused_in_a_sentence() -> None:
    task = Tokens()
    with pytest.raises(InputDataError, match="no entity"):
        task.check("x.jsonl", rows_of([], []), Lint())
    with pytest.raises(InputDataError, match="entity type 'LOC' never occurs"):
        task.check_test(rows_of([ADA], []), rows_of([LONDON]), "test.jsonl", Lint())
    with pytest.raises(InputDataError, match="no training row is left for the entity type 'LOC'"):
        task.check_splits("x.jsonl", rows_of([ADA], [LONDON]), ["train", "validation"], Lint())


def test_rare_types_and_entities_inside_words_are_counted() -> None:
    task, lint = Tokens(), Lint()
    rows = rows_of([Span(0, 2, "PER"), LONDON], [ADA], [])
    task.check("x.jsonl", rows, lint)
    task.choose_metric(rows, lint)
    sentences = {concern.rule: concern.sentence for concern in lint.concerns}
    assert "LOC 1, PER 2" in sentences["few_rows"]
    assert sentences["inside_words"].startswith("1 entity begins or ends inside a word.")


def test_each_row_counts_for_its_rarest_type() -> None:
    rows = rows_of([ADA, LONDON], [ADA], [], [ADA])
    assert Tokens().strata(rows) == ["LOC", "PER", "no entity", "PER"]


# -- targets and outputs --


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


def test_the_targets_are_the_tags_of_words_at_their_first_tokens(tokenizer: Tokenizer) -> None:
    text = "Grace Hopper likes unbelievable films"
    line = {"text": text, "label": [[0, 12, 1], [19, 31, 0]]}
    found = Tokens().targets([line, {"text": "a film", "label": []}], 2, {"words": "blanks"}, tokenizer, 64)
    assert found.values.tolist() == [3, 4, 0, 1, 0, 0, 0]
    assert found.offsets.tolist() == [0, 5, 7]
    assert found.words is not None
    assert [text[start:end] for start, end in found.words[:5].tolist()] == text.split()
    assert found.positions is not None
    ids = tokenizer.encode(text)
    assert [place for place in found.positions[:5].tolist()] == [
        place for place, token in enumerate(ids) if tokenizer.starts_word[token]
    ]
    assert found.take(np.array([1])).words.tolist() == [[0, 1], [2, 6]]  # type: ignore[union-attr]


def test_targets_need_no_special_tokens_around_a_text(endless_model: Path) -> None:
    tokenizer, texts = load_tokenizer(endless_model), ["the", "the hotel", "the hotel was cold"]
    found = Tokens().targets([{"text": text, "label": []} for text in texts], 1, {}, tokenizer, 64)
    firsts = [[n for n, i in enumerate(tokenizer.encode(text)) if not n or tokenizer.starts_word[i]] for text in texts]
    assert found.positions is not None
    assert found.positions.tolist() == [place for places in firsts for place in places]


def test_words_that_are_cut_out_have_no_target(tokenizer: Tokenizer) -> None:
    text = " ".join(f"word{number}" for number in range(40))
    found = Tokens().targets([{"text": text, "label": []}], 1, {"words": "blanks"}, tokenizer, 32)
    assert found.positions is not None
    assert 0 < len(found.values) < 10
    assert found.positions.max() < 31
    assert found.positions.tolist() == sorted(set(found.positions.tolist()))


def test_probabilities_are_left_out_if_a_model_has_none() -> None:
    outputs = EntityOutputs(rows=[[PredictedSpan(0, 3, 1, None)], []])
    assert Tokens().to_fields(outputs, 0) == {"predicted": [[0, 3, 1]]}
    assert Tokens().from_lines([Tokens().to_fields(outputs, index) for index in (0, 1)]) == outputs


def test_outputs_that_are_not_numbers_give_no_error(tokenizer: Tokenizer) -> None:
    task = task_named("tokens")
    targets = task.places([{"text": "a film"}], {}, tokenizer, 64)
    outputs = task.decode(np.full((2, 5), np.nan), targets, {})
    assert outputs.named(["LOC", "PER"]) == [[]]
    losses, _ = task.score_targets(np.full((2, 5), np.nan), targets)
    assert losses == pytest.approx([np.log(5)] * 2)


def test_balanced_weights_give_each_tag_the_same_total(tokenizer: Tokenizer) -> None:
    lines = [{"text": "Ada went to London", "label": [[0, 3, 1]]}]
    targets = Tokens().targets(lines, 2, {}, tokenizer, 64)
    weights = Tokens().label_weights(targets, targets, 5)
    assert weights[targets.values == 3].sum() == pytest.approx(weights[targets.values == 0].sum())


def test_losses_agree_with_scores() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(6, 5)), random.integers(0, 5, size=6)
    losses, corrects = Tokens().losses(torch.tensor(logits), torch.tensor(labels))
    from pretune.data.targets import Targets

    ours, right = Tokens().score_targets(logits, Targets.of_rows(labels))
    assert losses.numpy() == pytest.approx(ours)
    assert corrects.numpy().tolist() == right.astype(bool).tolist()


def test_programs_train_with_spans_and_get_entities(folder: Path, run_folder: Path) -> None:
    model = pretune.load_model(folder / "finetune")
    rows = [(row["text"], row["spans"]) for row in read_lines(folder / "rows.jsonl")]
    found = model.predict(rows[:30])
    assert found.accuracy is not None
    assert found.accuracy > 0.8
    assert found.expected is not None
    assert "(PER); " in " ".join(filter(None, found.expected))
    assert "no entity" in str(found)
    # What was predicted is a label, too: for example after it was corrected.
    again = [(each.text, each.entities) for each in found]  # type: ignore[attr-defined]
    assert model.predict(again).accuracy == 1.0
    base = pretune.load_pretrained_model(run_folder / "pretrain")
    base.train(rows, epochs=1, learning_rates=(1e-3,), seeds=1, quiet=True)
    assert base.label_names == ("LOC", "PER")
    assert base.predict([rows[0][0]])[0].cell_names == ("entities",)


def test_an_expected_entity_that_is_none_is_refused(folder: Path) -> None:
    model = pretune.load_model(folder / "finetune")
    with pytest.raises(InputDataError):
        model.predict([("Ada went to Rome.", "PER")])
    with pytest.raises(InputDataError, match="ORG"):
        model.predict([("Ada went to Rome.", [[0, 3, "ORG"]])])


def test_the_command_line_shows_entities(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, text = str(folder / "finetune"), "Ada went to Rome."
    assert run_command_line(["predict", model, text, " "]) == 0
    assert capsys.readouterr().out == f"Ada (PER); Rome (LOC)\t-\t{text}\n(no text)\t-\t\n"
    assert run_command_line(["predict", model, "--json", text]) == 0
    found = json.loads(capsys.readouterr().out)["entities"]
    assert [(each["start"], each["end"], each["type"]) for each in found] == [(0, 3, "PER"), (12, 16, "LOC")]
    assert run_command_line(["evaluate", model, "--labels", str(folder / "rows.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("label  ") == 2  # figures and kinds of errors, each with the names of the types
    for title in ("entity f1", "precision", "wrong borders", "missed", "invented"):
        assert title in shown
