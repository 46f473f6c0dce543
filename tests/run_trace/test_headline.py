from __future__ import annotations

from typing import Any

import pytest

from pretune.run_trace.headline import write_headline
from pretune.trace_schema import Phases, Strategies


def without(run: Any, *stages: str) -> Any:
    run.events = [event for event in run.events if event["stage"] not in stages]
    return run.trace.run


def test_the_verdict_is_the_headline(full_run: Any) -> None:
    card = full_run.trace.run
    assert card.headline == "Pre-training helped: +21.0 points over the same network from scratch."
    assert card.headline_figure == "+21.0 points"
    expected = "The 95 % interval is 18.3 to 23.7 points on the same 998 test texts. Each side is the mean of 3 seeds."
    assert card.detail == expected


def test_the_mean_of_the_seeds_is_the_model_as_delivered(full_run: Any) -> None:
    (event,) = [event for event in full_run.events if event["event"] == "comparison"]
    mean = {"name": "mean weights of 3 seeds", "kind": "averaged", "accuracy": 0.97, "accuracy_interval": [0.96, 0.98]}
    event["rows"].append({**event["rows"][-1], **mean, "seeds": [0.97]})
    detail = full_run.trace.run.detail
    assert "Each side is the mean of 3 seeds." in detail
    assert detail.endswith(
        "The model as delivered, mean weights of 3 seeds, is right on 97.0 % (95 % interval 96.0 to 98.0 %)."
    )


@pytest.mark.parametrize(
    ("difference", "interval", "headline", "figure"),
    [
        (0.004, [-0.01, 0.02], "No clear difference from pre-training: +0.4 points against the same network from "
         "scratch.", None),
        (-0.03, [-0.05, -0.01], "Pre-training hurt: −3.0 points against the same network from scratch.",
         "−3.0 points"),
    ],
)  # fmt: skip
def test_a_result_that_is_not_a_success_is_called_what_it_is(
    full_run: Any, difference: float, interval: list[float], headline: str, figure: str | None
) -> None:
    (event,) = [event for event in full_run.events if event["event"] == "comparison"]
    event["verdicts"][0] |= {"difference": difference, "difference_interval": interval}
    card = full_run.trace.run
    assert (card.headline, card.headline_figure) == (headline, figure)


def test_the_test_is_named_where_the_interval_excludes_zero(full_run: Any) -> None:
    (event,) = [event for event in full_run.events if event["event"] == "comparison"]
    event["verdicts"][0] |= {"difference": 0.06, "difference_interval": [0.002, 0.116], "p_value": 0.0703125}
    card = full_run.trace.run
    assert card.headline.startswith("No clear difference from pre-training: +6.0 points")
    assert "The 95 % interval is 0.2 to 11.6 points on the same 998 test texts. An exact test gives p = 0.070." in (
        card.detail
    )


def test_without_a_control_the_question_stays_open(full_run: Any) -> None:
    card = without(full_run, "compare")
    assert card.headline == "The fine-tuned model classifies 95.6 % of the test texts correctly."
    assert card.detail.endswith("Whether pre-training helped was not measured: no network was trained from scratch "
                                "beside it.")  # fmt: skip


def test_a_control_that_was_trained_is_not_called_missing(full_run: Any, add_stack: Any) -> None:
    full_run.add("scratch", "stage_finished", seconds=60.0)
    add_stack(full_run, 0.219, (0.19, 0.24))
    (comparison,) = [event for event in full_run.events if event["event"] == "comparison"]
    comparison["rows"] = [row for row in comparison["rows"] if row["kind"] != "scratch"]
    comparison["verdicts"] = []  # compared before the control was trained
    expected = "Whether pre-training helped is not known: the network from scratch has not been compared yet."
    assert full_run.trace.run.detail.endswith(expected)
    assert without(full_run, "compare").detail.endswith(expected)


def test_without_a_test_validation_is_named_as_such(full_run: Any) -> None:
    full_run.events = [event for event in full_run.events if event["event"] != "test"]
    card = without(full_run, "compare")
    assert card.headline == "The fine-tuned model classifies 96.4 % of 1,000 validation texts correctly."
    assert card.detail.startswith("It has not been tried on test texts.")


def test_a_student_is_set_beside_the_model_that_labelled_the_corpus(full_run: Any) -> None:
    (event,) = [event for event in full_run.events if event["event"] == "comparison"]
    rows = [row for row in event["rows"] if row["kind"] != "scratch"]
    for kind, name, score in (
        ("averaged", "mean weights of 3 seeds", 0.955),
        ("teacher", "the model before self-training", 0.96),
        ("student", "student of the corpus", 0.97),
    ):
        figures = {"accuracy": score, "accuracy_interval": [score - 0.01, score + 0.01], "seeds": [score]}
        rows.append({**rows[-1], "name": name, "kind": kind, **figures})
    event |= {"rows": rows, "verdicts": []}
    card = full_run.trace.run
    expected = "The model as delivered, student of the corpus, classifies 97.0 % of the test texts correctly."
    assert card.headline == expected
    assert "The model before self-training: 96.0 %." in card.detail


def test_a_run_without_labels_is_about_masked_tokens(full_run: Any) -> None:
    card = without(full_run, "compare", "finetune", "prepare")
    assert card.headline == "After 2,400 steps, 39.9 % of masked tokens are predicted correctly."
    assert "most frequent token gives 4.1 %" in card.detail
    assert card.task is None


def test_a_run_at_work_says_where_it_is(full_run: Any) -> None:
    events = [event for event in full_run.events if event["stage"] in ("collect", "preprocess", "pretrain")]
    full_run.events = [event for event in events if event.get("step", 0) <= 800]
    full_run.events = [e for e in full_run.events if (e["stage"], e["event"]) != ("pretrain", "stage_finished")]
    card = full_run.trace.run
    assert card.headline == "After 800 of 2,400 steps, 26.5 % of masked tokens are predicted correctly."
    assert card.status == "running"
    assert card.detail.endswith("The run is at its stage pretrain.")


def test_a_question_that_is_still_being_answered_is_not_called_open(full_run: Any) -> None:
    full_run.add("scratch", "stage_started", config={}, synthetic=True)
    detail = without(full_run, "compare").detail
    assert detail == "The 95 % interval is 94.3 to 96.9 % on 998 texts. The run is at its stage scratch."


def test_text_alone_is_counted(full_run: Any) -> None:
    card = without(full_run, "pretrain", "prepare", "finetune", "compare")
    assert card.headline == (
        "The stage preprocess is finished: 186,940 train documents, 2,610,441 train tokens, 3,815 validation documents."
    )


@pytest.mark.parametrize("rest", [" Its loss is lower by 0.290 nats.", ""])
def test_the_headline_of_a_comparison_of_strategies_is_its_first_sentence(rest: str) -> None:
    strategies = Strategies(
        budget="500 tokens each.", base="", held_out=[], strategies=[], reference_style=None, verdicts=[],
        conclusion=f"Best here: fine-tuning.{rest}", reason="Because.", coverage="", answers=[], notice=None,
    )  # fmt: skip
    headline = write_headline([], Phases(pretrain=None, finetune=None, scratch=None), None, strategies)
    assert headline.sentence == "Best here: fine-tuning."
    assert headline.detail == f"{rest.strip()} Because. 500 tokens each.".strip()


def test_the_folder_of_the_control_says_what_it_is(full_run: Any) -> None:
    full_run.events = [{**each, "stage": "scratch"} for each in full_run.events if each["stage"] == "finetune"]
    card = full_run.trace.run
    assert card.headline.startswith("The stage scratch is finished")
    assert card.detail == "It is the control of a run: the same network, trained without pre-training."


def test_a_training_whose_figures_cannot_be_read_is_not_called_missing(full_run: Any) -> None:
    full_run.events = [
        {"event": each["event"], "stage": each["stage"]} for each in full_run.events if each["stage"] == "pretrain"
    ]
    card = full_run.trace.run
    assert card.headline == "The stage pretrain is finished."
    assert card.detail == "Its log has no figures of a model that this version of pretune can read."


@pytest.mark.parametrize(
    ("difference", "interval", "outcome"),
    [
        (0.219, (0.19, 0.24), "better than nbsvm, +21.9 points (19.0 to 24.0)"),
        (0.001, (-0.02, 0.02), "no clear difference from nbsvm, +0.1 points (−2.0 to 2.0)"),
        (-0.03, (-0.05, -0.01), "worse than nbsvm, −3.0 points (−5.0 to −1.0)"),
    ],
)
def test_the_model_as_delivered_is_named_with_its_verdict(
    full_run: Any, add_stack: Any, difference: float, interval: tuple[float, float], outcome: str
) -> None:
    add_stack(full_run, difference, interval)
    card = full_run.trace.run
    assert card.headline.startswith("Pre-training helped: +21.0 points")
    expected = "The model as delivered, network + NB-SVM, is right on 97.0 % (95 % interval 95.9 to 98.1 %): "
    assert card.detail.endswith(f"Each side is the mean of 3 seeds. {expected}{outcome}.")


def test_without_a_control_the_model_as_delivered_is_the_headline(full_run: Any, add_stack: Any) -> None:
    add_stack(full_run, 0.219, (0.19, 0.24))
    (comparison,) = [event for event in full_run.events if event["event"] == "comparison"]
    comparison["rows"] = [row for row in comparison["rows"] if row["kind"] != "scratch"]
    comparison["verdicts"] = comparison["verdicts"][-1:]
    card = full_run.trace.run
    assert card.headline == "The model as delivered, network + NB-SVM, classifies 97.0 % of the test texts correctly."
    assert "better than nbsvm" in card.detail
    assert "The network alone: 95.6 %." in card.detail
    (test,) = [event for event in full_run.events if event["event"] == "test"]
    test["accuracy"] = 0.961  # of the seed that is delivered, and not the mean of the three
    assert "The network alone: 96.1 %." in full_run.trace.run.detail
    test["event"] = "left out"
    assert "One seed of the network, on average: 95.6 %." in full_run.trace.run.detail
    mean = {"name": "mean weights of 3 seeds", "kind": "averaged", "accuracy": 0.965, "accuracy_interval": [0.95, 0.98]}
    comparison["rows"].append({**comparison["rows"][-1], **mean, "seeds": [0.965]})
    assert "The network alone: 96.5 %." in full_run.trace.run.detail  # the stack is on the mean
    assert "Whether pre-training helped was not measured" in card.detail
