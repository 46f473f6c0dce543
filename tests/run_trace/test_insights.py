from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pretune.run_trace.codec import to_json
from pretune.run_trace.expression import evaluate, read_pointer
from pretune.run_trace.insights import MOST, RULES, choose_next_step, find_insights
from pretune.trace_schema import Comparison, Phase, Quantity, RunTrace, Verdict


def test_every_number_of_an_insight_re_derives(traced: RunTrace) -> None:
    written = to_json(traced)
    found = [insight for rule in RULES if (insight := rule(traced)) is not None]
    assert len(found) >= 4
    for insight in found:
        assert insight.numbers.keys() == insight.derivations.keys() != set()
        for name, expression in insight.derivations.items():
            assert evaluate(expression, written) == pytest.approx(insight.numbers[name], rel=1e-5)
        assert all(read_pointer(written, pointer) is not None for pointer in insight.pointers)


def test_there_are_at_most_three(traced: RunTrace) -> None:
    assert len(find_insights(traced)) == MOST


def verdict(other: str, outcome: Any, difference: float, slice_name: str | None = None) -> Verdict:
    return Verdict(
        between=["pretrained", other], metric="accuracy", slice=slice_name, outcome=outcome, difference=difference,
        low=difference - 0.02, high=difference + 0.02, p_value=0.01, sentence="",
    )  # fmt: skip


def compared(trace: RunTrace, *verdicts: Verdict) -> RunTrace:
    comparison = Comparison(models=[], verdicts=list(verdicts), coverage="", disagreements=[])
    return replace(trace, comparison=comparison)


def test_negative_results_are_said(traced: RunTrace) -> None:
    found = find_insights(compared(traced, verdict("scratch", "worse", -0.05), verdict("tfidf", "worse", -0.09)))
    assert found[0].sentence == "Pre-training did harm: −5.0 points (95 % interval −7.0 to −3.0)."
    assert found[1].sentence.startswith("TF-IDF with logistic regression, which only counts words, does better than")
    unclear = find_insights(compared(traced, verdict("scratch", "no clear difference", 0.01)))
    assert unclear[0].sentence.startswith("Pre-training made no clear difference: +1.0 points")


def linear(trace: RunTrace) -> str:
    insight = next((found for rule in RULES if (found := rule(trace)) is not None and found.rule == "linear"), None)
    return "" if insight is None else insight.sentence


def test_a_tie_with_a_linear_baseline_is_not_called_equality(traced: RunTrace) -> None:
    assert linear(compared(traced, verdict("tfidf", "no clear difference", 0.01))) == (
        "There is no clear difference between the pre-trained model and TF-IDF with logistic regression, which only "
        "counts words: +1.0 points (95 % interval −1.0 to 3.0)."
    )


def test_a_linear_baseline_of_pairs_is_named_too(traced: RunTrace) -> None:
    """Its kind is not one of those of single texts, and the metric of pairs is accuracy, too."""
    assert traced.comparison is not None
    name = "TF-IDF of both texts and their overlap"
    models = [replace(traced.comparison.models[0], kind=kind, name=name) for kind in ("pair_tfidf", "mean")]
    pairs = compared(traced, verdict("pair_tfidf", "worse", -0.05))
    assert pairs.comparison is not None
    pairs = replace(pairs, comparison=replace(pairs.comparison, models=models))
    assert linear(pairs).startswith(f"{name} does better than the pre-trained model: −5.0 points")
    constant = compared(traced, verdict("mean", "no clear difference", 0.01))
    assert constant.comparison is not None
    assert linear(replace(constant, comparison=replace(constant.comparison, models=models))) == ""


def test_a_slice_without_help_is_named_next_to_one_with_help(traced: RunTrace) -> None:
    found = find_insights(
        compared(
            traced,
            verdict("scratch", "better", 0.2),
            verdict("scratch", "better", 0.4, "unseen"),
            verdict("scratch", "no clear difference", 0.001, "seen"),
        )
    )
    assert found[0].sentence.startswith("Pre-training made the difference on the test texts of slice “unseen”: +40.0")
    assert found[1].sentence.startswith("On slice “seen” no clear difference was measured: +0.1 points")


def test_a_help_and_a_larger_harm_are_both_named(traced: RunTrace) -> None:
    slices = [verdict("scratch", "better", 0.03, "seen"), verdict("scratch", "worse", -0.08, "unseen")]
    found = find_insights(compared(traced, verdict("scratch", "no clear difference", 0.0), *slices))
    assert found[0].sentence.startswith("Pre-training made the difference on the test texts of slice “seen”: +3.0")
    assert found[1].sentence.startswith("On slice “unseen” it did harm: −8.0 points")
    harm = find_insights(compared(traced, verdict("scratch", "worse", -0.05), slices[1]))
    assert harm[0].sentence.startswith("Pre-training did harm on the test texts of slice “unseen”")
    assert not [each for each in harm if each.rule == "no help"]


def test_validation_that_promised_more_is_said_of_the_network_that_was_measured(traced: RunTrace) -> None:
    """It is one seed without linear models that may be stacked on it, and so not always the model as delivered."""
    phase = traced.phases.finetune
    assert phase is not None

    def gap(phase: Phase, name: str = "finetune") -> str:
        phases = replace(traced.phases, scratch=None, finetune=None)
        trace = replace(traced, phases=replace(phases, **{name: phase}))
        insight = next(found for rule in RULES if (found := rule(trace)) is not None and found.rule == "validation")
        lead, _, figures = insight.sentence.partition(": ")
        assert lead == "Validation promised more than the test gave"
        return figures.partition(" classifies")[0]

    low = replace(phase, test=[replace(phase.test[0], score=0.5, low=0.45, high=0.55)])
    assert gap(low) == "the network"
    assert gap(low, "scratch") == "the network from scratch"
    averaged = replace(low, averaged_trials=[0, 1, 2])
    assert gap(averaged) == "one of the 3 networks whose weights are averaged"
    assert gap(averaged, "scratch") == "one of the 3 networks from scratch whose weights are averaged"


@pytest.mark.parametrize(
    ("loss", "error", "side"), [(6.0, 0.02, "below"), (6.0, 0.2, "not measurably below"), (6.3, 0.02, "not below")]
)
def test_a_loss_within_noise_of_word_frequencies_is_not_called_below(
    traced: RunTrace, loss: float, error: float, side: str
) -> None:
    phase = traced.phases.pretrain
    assert phase is not None
    rows = [*phase.evaluations[:-1], replace(phase.evaluations[-1], loss=loss, loss_error=error)]
    levels = [replace(each, value=6.12) if each.id == "unigram" else each for each in phase.loss_references]
    phase = replace(phase, evaluations=rows, loss_references=levels)
    trace = replace(traced, phases=replace(traced.phases, pretrain=phase))
    insight = next(found for rule in RULES if (found := rule(trace)) is not None and found.rule == "pre-training")
    assert f"the loss reached {loss:.2f} nats, {side} the 6.12 that word frequencies alone give." in insight.sentence


def test_a_run_without_a_model_has_no_insight(builder: Any) -> None:
    builder.add("collect", "stage_started", config={}, synthetic=False)
    assert find_insights(builder.trace) == []


def test_the_next_step_depends_on_what_is_open(traced: RunTrace) -> None:
    def command(trace: RunTrace) -> str:
        step = choose_next_step(trace)
        return "" if step is None else step.command

    assert command(traced) == "pretune run tested/recipe.toml --seeds 3 --out tested-seeds"
    assert command(replace(traced, run=replace(traced.run, status="running"))) == "pretune run tested/recipe.toml"
    unlabelled = replace(traced, phases=replace(traced.phases, finetune=None))
    first, *others = command(unlabelled).split(" && ")
    assert first == "pretune prepare LABELLED.csv --base tested --out tested/prepare"
    assert "pretune finetune tested tested/prepare --out tested/finetune" in others
    assert "pretune run" not in command(unlabelled)  # which would pre-train again
    assert command(replace(traced, run=replace(traced.run, command=""))) == ""
    several = [replace(model, seeds=[0.9, 0.91]) for model in traced.comparison.models]  # type: ignore[union-attr]
    again = replace(traced, comparison=replace(traced.comparison, models=several))  # type: ignore[type-var]
    assert command(again).startswith("pretune run --corpus TEXTS --labels LABELLED.csv")  # synthetic data


def test_more_seeds_are_offered_only_to_a_run_with_one(traced: RunTrace) -> None:
    comparison = traced.comparison
    assert comparison is not None

    def command(num_seeds: int) -> str:
        models = [replace(model, seeds=[model.score] * num_seeds) for model in comparison.models]
        step = choose_next_step(replace(traced, comparison=replace(comparison, models=models)))
        assert step is not None
        return step.command

    assert "--seeds 3" in command(1)
    assert "--seeds" not in command(3)


def test_self_training_is_offered_where_labels_are_few_and_fit(traced: RunTrace) -> None:
    real = replace(traced, run=replace(traced.run, is_synthetic=False), comparison=None)

    def step(trace: RunTrace, rows: int, validation: int = 100) -> str:
        by_split = {"train rows": rows - validation, "validation rows": validation}
        counts = [Quantity(name=name, value=value) for name, value in by_split.items()]
        stages = [replace(each, shape_out=counts) if each.name == "prepare" else each for each in trace.stages]
        found = choose_next_step(replace(trace, stages=stages))
        assert found is not None
        return f"{found.sentence} {found.command}"

    offered = "pretune finetune tested tested/prepare --self-train --out tested-self-trained"
    assert offered in step(real, 2000)
    assert "2,000 labelled rows" in step(real, 2000)
    assert offered not in step(real, 2001)
    assert offered not in step(real, 2000, validation=39)  # by which a student cannot be judged
    assert offered not in step(replace(real, run=replace(real.run, task="multilabel")), 1000)
    assert offered not in step(replace(real, run=replace(real.run, has_pairs=True)), 1000)
    phase = real.phases.finetune
    assert phase is not None
    phase = replace(phase, wants_student=True)  # there may have been too few sentences for one
    assert offered not in step(replace(real, phases=replace(real.phases, finetune=phase)), 1000)


@pytest.mark.parametrize(("minutes", "longer"), [(2.4, 60), (29, 60), (119.8, 240), (121, 250)])
def test_a_longer_run_is_longer(traced: RunTrace, minutes: float, longer: int) -> None:
    stages = [replace(each, seconds=60 * minutes) for each in traced.stages if each.name in ("preprocess", "pretrain")]
    real = replace(traced, run=replace(traced.run, is_synthetic=False), comparison=None, stages=stages)
    step = choose_next_step(real)
    assert step is not None and f"--minutes {longer} " in step.command


def test_every_command_is_one_that_can_be_typed(traced: RunTrace) -> None:
    """The command line accepts each, down to the names of its options."""
    from pretune.cli.verbs import VERBS, build_parser

    unlabelled = replace(traced, phases=replace(traced.phases, finetune=None))
    real = replace(traced, run=replace(traced.run, is_synthetic=False), comparison=None)
    steps = [choose_next_step(trace) for trace in (traced, unlabelled, real)]
    commands = [traced.run.command, *(step.command for step in steps if step is not None)]
    for words in (part for command in commands for part in command.split(" && ")):
        program, verb, *rest = words.split()
        assert program == "pretune"
        build_parser(VERBS[verb]).parse_intermixed_args(rest)
