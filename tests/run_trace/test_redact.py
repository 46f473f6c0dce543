from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pretune.run_trace.checks import check_run
from pretune.run_trace.codec import to_json
from pretune.run_trace.redact import REDACTED, SPECIAL_TOKENS, count_excerpts, redact
from pretune.run_trace.user_texts import Place, texts_of
from pretune.trace_schema import (
    ContinuedMoment,
    ContinuedPrompt,
    Embedding,
    Entity,
    EntityErrors,
    EntityRow,
    LabelFigures,
    LabelSetErrors,
    LabelSetRow,
    RunTrace,
    ScoreErrors,
    ScoreRow,
    StackedDecision,
    Strategies,
    WordLabel,
)


def test_no_text_of_the_user_is_left(traced: RunTrace) -> None:
    of_user = {text for text, is_user, _ in texts_of(replace(traced, quiz=None)) if is_user}
    of_user -= {*SPECIAL_TOKENS, *(insight.sentence for insight in traced.insights)}
    assert {"The soup was cold.", "negative", "unseen", "east"} <= of_user
    redacted = replace(redact(traced), quiz=None)
    left = {text for text, is_user, place in texts_of(redacted) if is_user and place != Place("Insight", "sentence")}
    assert not left & of_user
    written = json.dumps(to_json(redacted), ensure_ascii=False)
    assert not [text for text in of_user if len(text) > 8 and text in written]
    assert redacted.is_redacted
    assert redacted.excerpts == count_excerpts(redacted) - 1 == 0  # all are the same sign


def _lists_of_numbers(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
        yield [each.get("id") if isinstance(each, dict) else None for each in value]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _lists_of_numbers(each)


def test_nothing_is_left_that_a_tokenizer_decodes(traced: RunTrace) -> None:
    """The tokenizer, and the table of the embeddings, may be public."""
    assert traced.example is not None
    sequences = [traced.example.ids, *([token.id for token in each.tokens] for each in traced.predictions)]
    assert min(map(len, sequences)) > 3
    redacted = redact(traced)
    assert not [found for found in _lists_of_numbers(to_json(redacted)) if found in sequences]
    assert redacted.example is not None and not redacted.example.ids
    for each in (*redacted.predictions, *redacted.fills):
        assert {(token.id, token.start, token.end, token.count) for token in each.tokens} == {(None,) * 4}
    for prediction in redacted.predictions:
        assert prediction.embedding == Embedding(norms=[], neighbours=[], pca=None)


def test_the_checks_hold_without_the_texts(traced: RunTrace) -> None:
    redacted = redact(traced)
    again = {check.id: check for check in check_run(redacted, [])}
    assert {"I05", "I06", "I07", "I08", "I12", "I17", "I19"} <= set(again)
    assert [id for id, check in again.items() if id >= "I03" and not check.is_ok] == []


def test_the_same_name_gets_the_same_number(traced: RunTrace) -> None:
    redacted = redact(traced)
    assert redacted.errors is not None and redacted.comparison is not None
    assert sorted(redacted.errors.labels) == ["label 1", "label 2"]
    assert redacted.predictions[0].label_names == redacted.errors.labels
    assert redacted.predictions[0].decision.label == redacted.predictions[0].label_names[0]
    slices = {each.slice for each in redacted.errors.slices}
    assert slices == {"slice 1", "slice 2"}
    assert {each.slice for each in redacted.comparison.disagreements if each.slice} == slices


def test_the_label_of_a_stack_gets_its_number(traced: RunTrace) -> None:
    prediction = traced.predictions[0]
    label, probability = prediction.label_names[1], prediction.decision.probabilities[1]
    probabilities = prediction.decision.probabilities
    stack = StackedDecision(
        probabilities=probabilities, label=label, index=1, probability=probability, parts=[], ngrams=[]
    )
    (found,) = redact(replace(traced, predictions=[replace(prediction, stack=stack, true_label=label)])).predictions
    assert found.stack is not None
    assert found.stack.label == found.true_label == found.label_names[1] != found.decision.label


def test_numbers_and_our_own_sentences_stay(traced: RunTrace) -> None:
    redacted = redact(traced)
    assert redacted.run == traced.run
    assert redacted.checks == traced.checks
    assert redacted.phases.pretrain == traced.phases.pretrain
    assert [each.numbers for each in redacted.insights] == [each.numbers for each in traced.insights]


def test_questions_that_need_a_text_are_left_out(traced: RunTrace) -> None:
    quiz = redact(traced).quiz
    assert quiz is not None and traced.quiz is not None
    assert quiz.practice or quiz.test or quiz.quiz
    assert REDACTED not in json.dumps(to_json(quiz), ensure_ascii=False)


def test_a_text_whose_field_is_described_is_replaced_too(traced: RunTrace) -> None:
    moments = [ContinuedMoment(step=0, text="xyzzy rises."), ContinuedMoment(step=9, text="plugh rises.")]
    redacted = redact(replace(traced, continued=[ContinuedPrompt(prompt="The xyzzy", moments=moments)]))
    assert [moment.text for moment in redacted.continued[0].moments] == [REDACTED, REDACTED]


def test_the_name_of_a_base_is_replaced(traced: RunTrace) -> None:
    strategies = Strategies(
        budget="", base="The base is xyzzy.gguf.", held_out=[], strategies=[], reference_style=None, verdicts=[],
        conclusion="", reason="", coverage="", answers=[], notice=None,
    )  # fmt: skip
    assert "xyzzy" not in str(to_json(redact(replace(traced, strategies=strategies))))


def test_redacting_twice_changes_nothing(traced: RunTrace) -> None:
    once = redact(traced)
    assert redact(once) is once


@given(st.text(min_size=9).filter(lambda text: text.strip()))
def test_any_text_of_a_message_is_replaced(text: str) -> None:
    from pretune.run_trace.build import fold_events
    from pretune.run_trace.run_card import RunFolder

    event = {"event": "example", "stage": "collect", "time": 1.0, "text": text, "source": text}
    trace = redact(fold_events([event], RunFolder(name="run")))
    assert trace.example is not None
    assert (trace.example.text, trace.example.source) == (REDACTED, REDACTED)


def test_rows_of_other_tasks_keep_no_text_and_their_labels_fit_together(traced: RunTrace) -> None:
    row = LabelSetRow(row=0, text="xyzzy a", text_pair="xyzzy b", label=[0], predicted=[1], slice="xyzzy c")
    kind = LabelFigures(label="xyzzy d", support=1, predicted=1, hits=1, precision=1, recall=1, f1=1)
    span = Entity(start=0, end=3, type="xyzzy d")
    found = replace(
        traced.errors,  # type: ignore[type-var]
        label_sets=LabelSetErrors(labels=[kind], confusions=[], exact=0, micro_f1=0, examples=[row]),
        entities=EntityErrors(
            types=[kind], entity_f1=0, right=0, wrong_type=0, wrong_borders=0, wrong_type_and_borders=0, missed=0,
            invented=0, examples=[EntityRow(row=0, text="xyzzy e", label=[span], predicted=[], slice=None)],
        ),
        scores=ScoreErrors(
            pearson=0, spearman=0, mean_absolute_error=0, baseline_error=0, quantiles=[], label=[], predicted=[],
            examples=[ScoreRow(row=0, text="xyzzy f", text_pair="xyzzy g", label=1, predicted=2, slice="xyzzy c")],
        ),
    )  # fmt: skip
    prediction = replace(
        traced.predictions[0],
        text_pair="xyzzy h",
        entities=[span],
        word=WordLabel(start=0, end=1, position=1, label="B-xyzzy"),
        decision=replace(traced.predictions[0].decision, labels=["xyzzy d"]),
    )
    redacted = redact(replace(traced, errors=found, predictions=[prediction]))
    left = str(to_json(redacted))
    assert "xyzzy" not in left, left[left.index("xyzzy") - 200 :][:400]
    assert redacted.errors is not None and redacted.errors.label_sets and redacted.errors.entities
    name = redacted.errors.label_sets.labels[0].label
    assert name.startswith("label ")
    assert redacted.errors.entities.examples[0].label == [Entity(start=0, end=0, type=name)]
    assert redacted.predictions[0].decision.labels[0] == name
