"""Observations on each evaluation of a phase: rules over the numbers of the log in, template sentences out.

Each names the events that it was read from. A difference within the noise of its measurement (`reporting.noise`) is
never called better or worse. A rule is here if what it finds may change the next run: its rate, its length, its data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pretune.reporting import formats
from pretune.reporting.noise import accuracy_change_noise, accuracy_noise, is_measurable, loss_change_noise, loss_noise
from pretune.reporting.sections.phases import Phase
from pretune.runtime.events import Event

GUESSING_MARGIN = 0.3  # nats around ln V or ln K within which an untrained model counts as guessing

OVERFITTING_GAP = 0.1  # nats between training and validation loss from which overfitting is reported
PATIENCE = 2  # evaluations without a better one from which a plateau is reported
SHOWN = 2  # observations in a row of the training trace


@dataclass(frozen=True)
class Observation:
    """The finding of a rule: `numbers` are those in the sentence, `pointers` name the events they were read from."""

    rule: str
    sentence: str
    numbers: dict[str, float]
    pointers: tuple[str, ...]


@dataclass(frozen=True)
class Moment:
    """One row of a phase, seen with the rows before it."""

    phase: Phase
    index: int

    @property
    def row(self) -> Event:
        return self.phase.rows[self.index]

    @property
    def before(self) -> list[Event]:
        return self.phase.rows[: self.index]

    @property
    def so_far(self) -> list[Event]:
        return self.phase.rows[: self.index + 1]

    @property
    def is_last(self) -> bool:
        return self.index == len(self.phase.rows) - 1

    def at(self, *indexes: int) -> tuple[str, ...]:
        """Pointers to rows of this phase."""
        return tuple(self.phase.pointers[index] for index in dict.fromkeys(indexes))

    def and_latest(self, *kinds: str) -> tuple[str, ...]:
        """Pointers to this row and to the latest event of other kinds in its stage."""
        return (*self.at(self.index), *(f"{self.phase.stage}/{kind}[-1]" for kind in kinds))


Rule = Callable[[Moment], Observation | None]


def observe(phase: Phase) -> list[list[Observation]]:
    """The findings of the rules for each row of a phase, the most important first."""
    rules = PRETRAINING_RULES if phase.is_pretraining else FINETUNING_RULES
    rows = []
    for index in range(len(phase.rows)):
        found = (rule(Moment(phase, index)) for rule in rules)
        rows.append([observation for observation in found if observation is not None])
    return rows


def in_short(observations: list[Observation]) -> str:
    """The first observations of a row, as the training trace shows them; a falling loss only if nothing else is."""
    names = {observation.rule for observation in observations}
    shown = [o for o in observations if o.rule != "change" or len(names) == 1 or _is_news(o, names)]
    return "; ".join(observation.sentence for observation in shown[:SHOWN])


def _is_news(change: Observation, names: set[str]) -> bool:
    return change.sentence.startswith("loss rose") and "overfitting" not in names


# ---- both phases


def _start(moment: Moment) -> Observation | None:
    uniform = moment.phase.references.get("uniform_nats")
    if moment.index > 0 or moment.row.get("step") != 0 or uniform is None:
        return None
    loss = moment.row["loss"]
    if abs(loss - uniform) <= GUESSING_MARGIN:
        level = "close to a uniform guess"
    else:
        level = "worse than a uniform guess" if loss > uniform else "already better than a uniform guess"
    name = "ln V" if moment.phase.is_pretraining else "ln K"
    sentence = f"before training: {level} ({name} = {formats.nats(uniform)})"
    return Observation("start", sentence, {"loss": loss, "uniform": uniform}, moment.and_latest("references"))


def _overfitting(moment: Moment) -> Observation | None:
    row, rows = moment.row, moment.so_far
    # If the training loss is weighted by class, it is compared with a validation loss that is, too.
    prefix = "weighted_" if row.get("weighted_loss") is not None else ""
    train, validation = f"{prefix}train_loss", f"{prefix}loss"
    trained = [i for i, r in enumerate(rows) if r.get(train) is not None]
    if len(trained) < 2 or row.get(train) is None:
        return None
    lowest = min(trained, key=lambda i: rows[i][validation])
    rise, gap = row[validation] - rows[lowest][validation], row[validation] - row[train]
    is_memorising = row[train] < rows[lowest][train] and gap > OVERFITTING_GAP
    # The paired error is that of the unweighted loss.
    noise = max(loss_noise(row), loss_noise(rows[lowest])) if prefix else loss_change_noise(rows[lowest:])
    if not is_memorising or rise <= noise:
        return None
    losses = f"train {formats.nats(row[train])}, validation {formats.nats(row[validation])}"
    sentence = f"overfitting: {losses}" + (", both weighted by class" if prefix else "")
    numbers = {train: row[train], validation: row[validation], f"lowest_{validation}": rows[lowest][validation]}
    return Observation("overfitting", sentence, numbers, moment.at(moment.index, lowest))


def _skipped(moment: Moment) -> Observation | None:
    since = moment.before[-1]["step"] if moment.before else -1
    skipped = [i for i, e in enumerate(moment.phase.skipped) if since < e.get("step", -1) <= moment.row["step"]]
    trial = moment.row.get("trial")
    skipped = [i for i in skipped if moment.phase.skipped[i].get("trial", trial) == trial]
    if not skipped:
        return None
    sentence = f"{len(skipped)} update{'s' * (len(skipped) > 1)} skipped"
    pointers = tuple(f"{moment.phase.stage}/skipped_update[{i}]" for i in skipped)
    return Observation("skipped", sentence, {"skipped": len(skipped)}, (*moment.at(moment.index), *pointers))


def _plateau(moment: Moment) -> Observation | None:
    """Pre-training is judged by its loss, fine-tuning by its accuracy."""
    is_pretraining = moment.phase.is_pretraining
    scores = [-row["loss"] if is_pretraining else row["accuracy"] for row in moment.so_far]
    best = scores.index(max(scores))
    waited = moment.index - best
    if waited < PATIENCE:
        return None
    what = "loss not lower" if is_pretraining else "accuracy not higher"
    sentence = f"validation {what} for {waited} evaluations"
    if not is_pretraining and moment.row["loss"] < min(row["loss"] for row in moment.before):
        sentence += ", but its loss is still falling"
    return Observation(
        "plateau", sentence, {"waited": waited, "best": abs(scores[best])}, moment.at(moment.index, best)
    )


def _change(moment: Moment) -> Observation | None:
    """The change since the last row that differed measurably from the one before it."""
    if not moment.before:
        return None
    rows, anchor = moment.so_far, 0
    for index in range(1, moment.index):
        anchor = index if is_measurable(rows[anchor : index + 1]) else anchor
    row, since = moment.row, rows[anchor]
    fall, gain = since["loss"] - row["loss"], row["accuracy"] - since["accuracy"]
    if abs(fall) > loss_change_noise(rows[anchor:]):
        sentence = f"loss {'fell' if fall > 0 else 'rose'} {formats.change(fall)}"
    elif is_measurable(rows[anchor:]):
        sentence = f"accuracy {formats.points(gain)}"
    else:
        sentence = "no measurable change"
    if anchor < moment.index - 1:
        unit = "step" if moment.phase.is_pretraining else "epoch"
        sentence += f" since {unit} {formats.count(since[unit])}"
    elif not is_measurable(rows[anchor:]):
        sentence += f" (n = {formats.count(row.get('n', 0))})"
    return Observation("change", sentence, {"fall": fall, "gain": gain}, moment.at(moment.index, anchor))


# ---- pre-training


def _context(moment: Moment) -> Observation | None:
    """Whether the model predicts better than word frequencies alone can, which takes the context of a word."""
    level, steps = moment.phase.references.get("unigram_nats"), moment.phase.plan.get("steps")
    if level is None or moment.row.get("step") == 0:
        return None
    numbers = {"loss": moment.row["loss"], "unigram": level}
    below = [row["loss"] < level - loss_noise(row) for row in moment.so_far]
    if below[-1]:
        sentence = f"below the unigram entropy ({formats.nats(level)}): context is being used"
        crossing = Observation("below unigram", sentence, numbers, moment.and_latest("references"))
        return None if any(below[:-1]) else crossing
    if not steps or moment.row["step"] < steps:
        return None
    sentence = f"ended not measurably better than word frequencies (unigram entropy {formats.nats(level)})"
    return Observation(
        "word frequencies", sentence, numbers | {"steps": steps}, moment.and_latest("references", "plan")
    )


# ---- fine-tuning


def _best_so_far(moment: Moment) -> Observation | None:
    row, numbers = moment.row, {"accuracy": moment.row["accuracy"]}
    is_kept = moment.phase.trial.get("best_step") == row["step"]  # decided when the trial is over
    kept = ", kept" * is_kept
    if moment.before:
        best = max(range(moment.index), key=lambda i: moment.before[i]["accuracy"])
        gain, noise = row["accuracy"] - moment.before[best]["accuracy"], accuracy_change_noise(moment.so_far[best:])
        numbers |= {"gain": gain, "noise": noise}
        pointers = moment.at(moment.index, best)
        if gain > noise:
            return Observation("best", f"best so far ({formats.points(gain)}){kept}", numbers, pointers)
        if gain > 0:
            sentence = f"highest so far, within noise ({formats.points(gain)}, {formats.spread(noise)}){kept}"
            return Observation("highest", sentence, numbers, pointers)
    if not is_kept:
        return None
    pointers = (*moment.at(moment.index), moment.phase.trial_pointer)
    return Observation("kept", "kept: best validation score of this trial", numbers, pointers)


def _not_above_majority(moment: Moment) -> Observation | None:
    majority = moment.phase.references.get("majority_share")
    row = moment.row
    if majority is None or row.get("step") == 0 or row["accuracy"] - accuracy_noise(row) > majority:
        return None
    sentence = f"not measurably better than the majority class ({formats.percent(majority)})"
    numbers = {"accuracy": row["accuracy"], "majority_share": majority, "noise": accuracy_noise(row)}
    return Observation("majority", sentence, numbers, moment.and_latest("references"))


def _stopped(moment: Moment) -> Observation | None:
    trial = moment.phase.trial
    if not moment.is_last or trial.get("stopped") != "patience":
        return None
    epoch = trial.get("best_epoch", 0)
    metric = {"macro_f1": "macro-F1"}.get(trial.get("metric", "accuracy"), "accuracy")
    sentence = f"stopped: validation {metric} has not risen since epoch {formats.count(epoch)}"
    before = next((row["loss"] for row in moment.before if row.get("epoch") == epoch), None)
    if before is not None and moment.row["loss"] < before:  # so that nobody reads that nothing improved any more
        sentence += f" (the loss fell from {formats.nats(before)} to {formats.nats(moment.row['loss'])})"
    return Observation(
        "stopped", sentence, {"best_epoch": epoch}, (*moment.at(moment.index), moment.phase.trial_pointer)
    )


PRETRAINING_RULES: tuple[Rule, ...] = (_start, _context, _overfitting, _skipped, _plateau, _change)
FINETUNING_RULES: tuple[Rule, ...] = (
    _start,
    _not_above_majority,
    _best_so_far,
    _stopped,
    _overfitting,
    _skipped,
    _plateau,
    _change,
)
