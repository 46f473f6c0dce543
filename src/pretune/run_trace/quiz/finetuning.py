"""Questions about stage 5 and its control: the epoch that is kept, overfitting, and intervals."""

from __future__ import annotations

from random import Random

from pretune.run_trace import formats
from pretune.run_trace.metrics import title_of, write_named, write_score
from pretune.run_trace.quiz.template import Claim, Draft, Template, at
from pretune.run_trace.shown_trial import find_test_of_shown, trial_shown
from pretune.scoring.metric_titles import signed_points
from pretune.trace_schema import Evaluation, Json, Phase, RunTrace

FEWEST_EPOCHS = 3
MOST_EPOCHS = 8  # that a prompt lists
OVERFITTING = "overfitting"  # the rule whose finding lies beyond the noise of the loss


def _phases(trace: RunTrace) -> list[tuple[str, Phase]]:
    pairs = [("finetune", trace.phases.finetune), ("scratch", trace.phases.scratch)]
    # Of replies, the weights with the lowest loss are kept; these questions are about accuracies.
    return [(name, phase) for name, phase in pairs if phase is not None and phase.objective is None]


def _model(name: str) -> str:
    return "Fine-tuning" if name == "finetune" else "Training from scratch"


def _rows(name: str) -> Json:
    return at("phases", name, "evaluations")


def _table(rows: list[Evaluation], metric: str, field: str = "score") -> str:
    return "; ".join(
        f"epoch {row.epoch:g}: training loss {formats.nats(row.train_loss) if row.train_loss is not None else '-'}, "
        f"validation loss {formats.nats(row.loss)}, {write_named(metric, getattr(row, field))}"
        for row in rows
    )


# ---- the epoch that is kept


def _rule(phase: Phase) -> tuple[str, str]:
    """The metric by which the epoch is chosen, and the field of an evaluation that has it. Of strongly imbalanced
    classes it is macro-F1, while the score is the accuracy."""
    trial = trial_shown(phase)
    metric = phase.metric if trial is None or trial.metric is None else trial.metric
    return metric, "score" if metric == phase.metric else metric


def _with_best(trace: RunTrace) -> list[tuple[str, Phase, int]]:
    """Phases of several epochs of which one was kept, is the best as a reader sees the scores, and is not the last."""
    found = []
    for name, phase in _phases(trace):
        rows, (metric, field) = phase.evaluations, _rule(phase)
        scores = [score for row in rows if isinstance(score := getattr(row, field, None), float)]
        if not FEWEST_EPOCHS <= len(rows) == len(scores) <= MOST_EPOCHS or sum(row.is_best for row in rows) != 1:
            continue
        best, shown = scores.index(max(scores)), [write_score(metric, score) for score in scores]
        if rows[best].is_best and best < len(rows) - 1 and shown.count(shown[best]) == 1:
            found.append((name, phase, best))
    return found


def _has_best(trace: RunTrace) -> bool:
    return bool(_with_best(trace))


def _best(trace: RunTrace, rng: Random) -> Draft:
    name, phase, best = rng.choice(_with_best(trace))
    rows, (metric, field) = phase.evaluations, _rule(phase)
    scores, title = ["map", _rows(name), field], title_of(metric)
    losses = [row.loss for row in rows]
    becomes = "the model that is delivered" if name == "finetune" else "the control, which is only compared"
    if phase.averaged_trials:
        becomes = f"one of the {len(phase.averaged_trials)} whose mean is delivered"
    others = {
        len(rows) - 1: "takes the last epoch for the best",
        losses.index(min(losses)): f"looks for the lowest loss where the rule asks for the highest {title}",
        0: "takes the first epoch, which has learned least",
    }
    others |= {index: "reads another row" for index in range(len(rows)) if index not in others}
    return Draft(
        prompt=f"{_model(name)}: {_table(rows, metric, field)}. The rule is to keep the epoch with the highest {title} "
        "on validation. Which one is kept?",
        right=_epoch(phase, best, scores),
        wrong=[_epoch(phase, i, scores, why) for i, why in others.items() if i != best][:3],
        hints=[
            f"The {title} is measured on validation texts, which training does not use.",
            f"Look for the highest {title}; the losses do not count here.",
        ],
        solution=[
            f"The highest is {write_named(metric, getattr(rows[best], field))}, at epoch {rows[best].epoch:g}.",
            f"Its weights are {becomes}; those of other epochs are not used.",
        ],
    )


def _epoch(phase: Phase, index: int, scores: Json, misconception: str | None = None) -> Claim:
    row, (metric, field) = phase.evaluations[index], _rule(phase)
    return Claim(
        text=f"Epoch {row.epoch:g}",
        why=f"On validation it has {write_named(metric, getattr(row, field))}"
        + (", the highest." if misconception is None else "."),
        holds=["eq", ["argmax", scores], index],
        misconception=misconception,
        order=index,
    )


# ---- training loss, validation loss, accuracy


def _overfitted(trace: RunTrace) -> list[tuple[str, Phase, int, int]]:
    """Phases with a row that the rule found to overfit: the row with the lowest validation loss, and that row."""
    found = []
    for name, phase in _phases(trace):
        for last in range(len(phase.evaluations) - 1, 0, -1):
            row = phase.evaluations[last]
            losses = [each.loss for each in phase.evaluations[: last + 1]]
            lowest = losses.index(min(losses))
            start = phase.evaluations[lowest]
            if not any(o.rule == OVERFITTING for o in row.observations) or lowest == last:
                continue
            if row.train_loss is not None and start.train_loss is not None and row.train_loss < start.train_loss:
                found.append((name, phase, lowest, last))
                break
    return found


def _has_overfitted(trace: RunTrace) -> bool:
    return bool(_overfitted(trace))


def _losses_part(trace: RunTrace, rng: Random) -> Draft:
    name, phase, lowest, last = rng.choice(_overfitted(trace))
    rows = [phase.evaluations[lowest], phase.evaluations[last]]
    places = [("phases", name, "evaluations", index) for index in (lowest, last)]
    train, loss = (["sub", at(*places[1], key), at(*places[0], key)] for key in ("train_loss", "loss"))
    return Draft(
        prompt=f"{_model(name)}: {_table(rows, phase.metric)}. What happened between these two epochs?",
        right=Claim(
            text="The network fits the training texts better and new texts worse: it overfits.",
            why="The training loss fell while the validation loss rose.",
            holds=["and", ["lt", train, 0], ["gt", loss, 0]],
        ),
        wrong=[
            Claim(
                text="The network still improves on all texts.",
                why=f"The validation loss rose from {formats.nats(rows[0].loss)} to {formats.nats(rows[1].loss)}.",
                holds=["and", ["lt", train, 0], ["le", loss, 0]],
                misconception="judges a model by its training loss",
            ),
            Claim(
                text="Training diverged: every loss rises.",
                why="The training loss fell.",
                holds=["and", ["gt", train, 0], ["gt", loss, 0]],
                misconception="mixes up overfitting and divergence",
            ),
            Claim(
                text="The network learned nothing in between: both losses stayed as they were.",
                why="Both losses changed, in opposite directions.",
                holds=["and", ["near", train, 0, 1e-6], ["near", loss, 0, 1e-6]],
                misconception="takes a rising validation loss for a standstill",
            ),
        ],
        hints=[
            "Training texts can be memorised; validation texts cannot, since they are not trained on.",
            "Compare the direction of both losses.",
        ],
        solution=[
            f"Training loss: {formats.nats(rows[0].train_loss or 0)} to {formats.nats(rows[1].train_loss or 0)}, "
            "lower.",
            f"Validation loss: {formats.nats(rows[0].loss)} to {formats.nats(rows[1].loss)}, higher. That is "
            "overfitting.",
        ],
    )


def _both_rose(trace: RunTrace) -> list[tuple[str, Phase, int, int]]:
    found = []
    for name, phase, lowest, last in _overfitted(trace):
        rows = phase.evaluations
        gain = rows[last].score - rows[lowest].score
        noise = max(rows[last].score_noise, rows[lowest].score_noise)
        if phase.metric == "accuracy" and gain > noise:  # the question is about counting texts
            found.append((name, phase, lowest, last))
    return found


def _has_both_rose(trace: RunTrace) -> bool:
    return bool(_both_rose(trace))


def _accuracy_and_loss(trace: RunTrace, rng: Random) -> Draft:
    name, phase, lowest, last = rng.choice(_both_rose(trace))
    rows = [phase.evaluations[lowest], phase.evaluations[last]]
    places = [("phases", name, "evaluations", index) for index in (lowest, last)]
    loss, accuracy = (["sub", at(*places[1], key), at(*places[0], key)] for key in ("loss", "accuracy"))
    return Draft(
        prompt=f"{_model(name)}: {_table(rows, phase.metric)}. The validation loss rose although the accuracy rose. "
        "How can that be?",
        right=Claim(
            text="More texts are classified correctly, but those that are wrong are wrong with more certainty.",
            why="Accuracy counts which side of the threshold a text is on; the loss counts how far away it is.",
            holds=["and", ["gt", loss, 0], ["gt", accuracy, 0]],
        ),
        wrong=[
            Claim(
                text="It cannot be: a higher loss means a lower accuracy, so one figure is a mistake.",
                why="Both were measured on the same rows, and both rose.",
                holds=["not", ["and", ["gt", loss, 0], ["gt", accuracy, 0]]],
                misconception="takes loss and accuracy for two names of one thing",
            ),
            Claim(
                text="The accuracy rose only by chance.",
                why=f"It rose by {signed_points(rows[1].score - rows[0].score)} points, more than the noise of "
                f"{formats.spread(max(row.score_noise for row in rows))} points.",
                holds=["le", accuracy, ["max", ["list", *(at(*place, "accuracy_noise") for place in places)]]],
                misconception="calls a difference noise without looking at its interval",
            ),
            Claim(
                text="The network got worse at the task; the accuracy will follow.",
                why="At this epoch the accuracy is higher than before; the loss alone says nothing about the labels.",
                holds=["lt", accuracy, 0],
                misconception="expects overfitting to lower the accuracy at once",
            ),
        ],
        hints=[
            "The loss of a text is minus the logarithm of the probability of its label.",
            "A single text with a probability of 0.0001 for its label costs 9.2 nats, but counts as one mistake.",
        ],
        solution=[
            f"Accuracy: {formats.percent(rows[0].score)} to {formats.percent(rows[1].score)}.",
            f"Loss: {formats.nats(rows[0].loss)} to {formats.nats(rows[1].loss)}: fewer mistakes, but surer ones.",
        ],
    )


# ---- validation and test


def _validation_misled(trace: RunTrace) -> list[tuple[str, Phase, int]]:
    """Phases whose validation accuracy lies above the test accuracy, beyond both intervals, with a weak slice; and the
    place of that test. A strong slice that is as good as validation shows that the weak one explains the gap; if all
    slices are worse, it need not."""
    found = []
    for name, phase in _phases(trace):
        kept = [row for row in phase.evaluations if row.is_best and row.accuracy_low is not None]
        place = find_test_of_shown(phase)
        if len(kept) != 1 or place is None or len(phase.test[place].slices) < 2:
            continue
        slices, low = sorted(phase.test[place].slices, key=lambda each: each.score), kept[0].score_low or 0
        if low > phase.test[place].high + 0.01 and slices[0].high < slices[-1].low - 0.05 and slices[-1].high >= low:
            found.append((name, phase, place))
    return found


def _is_validation_misled(trace: RunTrace) -> bool:
    return bool(_validation_misled(trace))


def _gap(trace: RunTrace, rng: Random) -> Draft:
    name, phase, place = rng.choice(_validation_misled(trace))
    test, best = phase.test[place], next(i for i, row in enumerate(phase.evaluations) if row.is_best)
    row = phase.evaluations[best]
    order = sorted(range(len(test.slices)), key=lambda index: test.slices[index].score)
    weak, strong = test.slices[order[0]], test.slices[order[-1]]
    at_test = ("phases", name, "test", place)
    at_weak, at_strong = ((*at_test, "slices", index) for index in (order[0], order[-1]))
    validation_low = at("phases", name, "evaluations", best, "accuracy_low")
    return Draft(
        prompt=f"{_model(name)} reaches {formats.percent(row.score)} on the validation split, but "
        f"{formats.percent(test.score)} on "
        f"the test split, of which {formats.count(weak.n)} rows are in the slice “{weak.name}” and "
        f"{formats.count(strong.n)} in "
        f"“{strong.name}”. What explains the gap?",
        right=Claim(
            text=f"The network is weak on the slice “{weak.name}”, which makes up a part of the test.",
            why=f"It is right on {formats.percent(weak.score)} of “{weak.name}” and on "
            f"{formats.percent(strong.score)} of "
            f"“{strong.name}”.",
            holds=[
                "and",
                ["lt", at(*at_weak, "high"), at(*at_strong, "low")],
                ["ge", at(*at_strong, "high"), validation_low],
            ],
        ),
        wrong=[
            Claim(
                text="Chance: the two figures lie within each other's interval.",
                why=f"The interval on the test ends at {formats.percent(test.high)}, that on validation begins at "
                f"{formats.percent(row.score_low or 0)}.",
                holds=["ge", at(*at_test, "high"), validation_low],
                misconception="calls a difference noise without looking at its interval",
            ),
            Claim(
                text="Test texts are harder everywhere, in every slice alike.",
                why=f"The slices differ by {100 * (strong.score - weak.score):.0f} points.",
                holds=["ge", at(*at_weak, "high"), at(*at_strong, "low")],
                misconception="takes a mean for what holds in every part",
            ),
            Claim(
                text="None of the figures is a surprise: a test score is always that much lower.",
                why=f"On “{strong.name}” the test score is {formats.percent(strong.score)}, "
                "with an interval that reaches that of validation.",
                holds=["lt", at(*at_strong, "high"), validation_low],
                misconception="expects a test score to be lower by nature",
            ),
        ],
        hints=[
            "A mean over the test hides how its parts differ.",
            "Compare the accuracy of the slices in section 4.",
        ],
        solution=[
            f"“{strong.name}”: {formats.percent(strong.score)}; “{weak.name}”: {formats.percent(weak.score)}.",
            "A validation split without such rows cannot show the weakness, so look at slices before you trust it.",
        ],
    )


TEMPLATES = (
    Template("Q-BEST", "medium", "the epoch that is kept", "training", _has_best, _best),
    Template("Q-OVERFIT", "medium", "overfitting", "training", _has_overfitted, _losses_part),
    Template("Q-BOTH-ROSE", "hard", "loss and accuracy", "training", _has_both_rose, _accuracy_and_loss),
    Template("Q-GAP", "hard", "validation and test", "help", _is_validation_misled, _gap),
)
