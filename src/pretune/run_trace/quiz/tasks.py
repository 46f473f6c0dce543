"""Questions about tasks beyond one class for a text: thresholds of labels, errors of numbers, hits of entities."""

from __future__ import annotations

from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.prediction import predictions_of
from pretune.run_trace.quiz.template import Draft, Template, WrongNumber, at, excerpt
from pretune.trace_schema import EntityErrors, PredictionTrace, RunTrace, ScoreErrors

MOST_LABELS = 6  # that a prompt lists
DISTANCE = 0.002  # of each probability from its threshold: nearer ones are not asked about
ASKED_ROWS = 3
FEWEST_ENTITIES = 5


# ---- several labels


def _with_thresholds(trace: RunTrace) -> list[tuple[int, PredictionTrace]]:
    """Predictions whose labels would be others with a threshold of one half, are clear, and can all be listed."""
    found = []
    for index, each in predictions_of(trace):
        pairs = list(zip(each.decision.probabilities, each.decision.thresholds, strict=False))
        if each.task != "multilabel" or not len(pairs) >= 2:
            continue
        is_clear = all(abs(p - level) >= DISTANCE for p, level in pairs)
        count = sum(p >= level for p, level in pairs)
        if is_clear and count <= MOST_LABELS and count != sum(p >= 0.5 for p, _ in pairs):
            found.append((index, each))
    return found


def _has_thresholds(trace: RunTrace) -> bool:
    return bool(_with_thresholds(trace))


def _labels_predicted(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_with_thresholds(trace))
    decision = prediction.decision
    order = sorted(range(len(decision.thresholds)), key=lambda k: decision.thresholds[k] - decision.probabilities[k])
    shown = [
        f"“{prediction.label_names[k]}” {formats.probability(decision.probabilities[k])}, threshold "
        f"{formats.percent(decision.thresholds[k])}"
        for k in order[:MOST_LABELS]
    ]
    rest = " All other labels are below their thresholds." if len(order) > MOST_LABELS else ""
    probabilities, thresholds = (at("predictions", index, "decision", name) for name in ("probabilities", "thresholds"))
    count = len(decision.labels)
    return Draft(
        prompt=f"For the text {excerpt(prediction.text)} the network gives these probabilities: "
        f"{'; '.join(shown)}.{rest} How many labels does it predict?",
        number=["len", ["where", ["ge", probabilities, thresholds]]],
        unit="labels",
        wrong_numbers=[
            WrongNumber(
                ["len", ["where", ["ge", probabilities, 0.5]]],
                "So many have a probability of one half or more; each label has a threshold of its own.",
                "takes one half for the threshold of every label",
            ),
            WrongNumber(
                1, "Labels do not exclude each other, so there is not one winner.", "expects one label, as of a softmax"
            ),
        ],
        hints=[
            "Each label is a decision of its own: yes or no.",
            "Compare each probability with the threshold beside it, which validation chose.",
        ],
        solution=[f"{count} of the probabilities {'reaches its' if count == 1 else 'reach their'} threshold."],
    )


# ---- numbers


def _scores(trace: RunTrace) -> ScoreErrors | None:
    return None if trace.errors is None else trace.errors.scores


def _has_scores(trace: RunTrace) -> bool:
    found = _scores(trace)
    if found is None or len(found.label) < ASKED_ROWS:
        return False
    errors = [p - t for t, p in zip(found.label[:ASKED_ROWS], found.predicted[:ASKED_ROWS], strict=True)]
    mean = sum(abs(error) for error in errors) / ASKED_ROWS
    # Errors of both signs, so that the two means differ.
    return mean > 0 and abs(sum(errors)) / ASKED_ROWS < 0.8 * mean


def _mean_error(trace: RunTrace, _rng: Random) -> Draft:
    found = _scores(trace)
    assert found is not None
    rows = range(ASKED_ROWS)
    pairs = [(found.label[k], found.predicted[k]) for k in rows]
    differences = [["sub", at("errors", "scores", "predicted", k), at("errors", "scores", "label", k)] for k in rows]
    mean = sum(abs(p - t) for t, p in pairs) / ASKED_ROWS
    listed = "; ".join(f"true {true:g}, predicted {predicted:g}" for true, predicted in pairs)
    return Draft(
        prompt=f"Three test texts as the network predicts them: {listed}. What is the mean absolute error of these "
        "predictions, in the units of the file?",
        number=["div", ["sum", ["abs", ["list", *differences]]], ASKED_ROWS],
        tolerance=0.02 * mean,
        wrong_numbers=[
            WrongNumber(
                ["div", ["sum", ["list", *differences]], ASKED_ROWS],
                "Errors above and below cancel in that mean, so it says nothing of their size.",
                "averages errors with their signs",
            ),
            WrongNumber(
                ["div", ["sum", ["mul", ["list", *differences], ["list", *differences]]], ASKED_ROWS],
                "That is the mean squared error, whose unit is the square of the unit of the file.",
                "takes squared errors for absolute ones",
            ),
        ],
        hints=["How far is each prediction from the true number, whatever its side?", "Average the three distances."],
        solution=[
            f"({' + '.join(f'{abs(p - t):.3g}' for t, p in pairs)}) / {ASKED_ROWS} = {mean:.3g}.",
        ],
    )


# ---- entities


def _entities(trace: RunTrace) -> EntityErrors | None:
    return None if trace.errors is None else trace.errors.entities


def _has_entities(trace: RunTrace) -> bool:
    found = _entities(trace)
    if found is None or found.right < 1:
        return False
    support, predicted = (sum(getattr(each, name) for each in found.types) for name in ("support", "predicted"))
    return min(support, predicted) >= FEWEST_ENTITIES and found.wrong_type + found.wrong_borders > 0


def _hits(trace: RunTrace, _rng: Random) -> Draft:
    found = _entities(trace)
    assert found is not None
    types, right = at("errors", "entities", "types"), at("errors", "entities", "right")
    support, predicted = (sum(getattr(each, name) for each in found.types) for name in ("support", "predicted"))
    near = ["add", at("errors", "entities", "wrong_type"), at("errors", "entities", "wrong_borders")]
    all_predicted = ["sum", ["map", types, "predicted"]]
    return Draft(
        prompt=f"The test texts have {formats.count(support)} entities, and the network predicts "
        f"{formats.count(predicted)}: {formats.count(found.right)} have the type and both borders of a labelled "
        f"entity; {formats.count(found.wrong_type)} labelled ones are found with the right borders and another type, "
        f"and {formats.count(found.wrong_borders)} with the right type and other borders. What is the precision?",
        number=["div", ["mul", 100, right], all_predicted],
        tolerance=0.3,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 100, ["add", right, near]], all_predicted],
                "An entity with another type, or another border, is no hit.",
                "counts entities that are nearly right as hits",
            ),
            WrongNumber(
                ["div", ["mul", 100, right], ["sum", ["map", types, "support"]]],
                "That is the recall: the fraction of the labelled entities that are found.",
                "divides by the labelled entities instead of the predicted ones",
            ),
        ],
        hints=[
            "A hit has the type and both borders; there is no half hit.",
            "Precision is the fraction of the predicted entities that are hits.",
        ],
        solution=[
            f"{formats.count(found.right)} / {formats.count(predicted)} = {formats.percent(found.right / predicted)}."
        ],
    )


TEMPLATES = (
    Template("Q-THRESHOLD", "medium", "thresholds of labels", "prediction", _has_thresholds, _labels_predicted),
    Template("Q-ABSOLUTE", "medium", "mean absolute error", "errors", _has_scores, _mean_error),
    Template("Q-HIT", "medium", "hits of entities", "errors", _has_entities, _hits),
)
