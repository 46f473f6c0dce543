"""Observations: rules over the numbers of the log, each with the events it came from; the sentences are templates.

A difference within the noise of its measurement (`reporting.noise`) is never called better or worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from pretune.reporting import formats
from pretune.reporting.noise import accuracy_noise, is_measurable, loss_change_noise, loss_noise
from pretune.reporting.sections.phases import Phase
from pretune.runtime.events import Event

GUESSING_MARGIN = 0.3  # nats around ln V or ln K within which an untrained model counts as guessing
LATE_SHARE = 0.3  # of the plan, after which staying at the level of word frequencies is worth a remark
FREQUENCY_MARGIN = 0.05  # nats above the unigram entropy that still count as its level
OVERFITTING_GAP = 0.1  # nats between training and validation loss from which overfitting is spoken of
PATIENCE = 2  # evaluations without a better one until it is said
SHOWN = 2  # observations in a row of the training trace


@dataclass(frozen=True)
class Observation:
    """What a rule found: `numbers` are what the sentence states, `pointers` name the events they were read from."""

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
    def is_last(self) -> bool:
        return self.index == len(self.phase.rows) - 1

    def at(self, *indexes: int) -> tuple[str, ...]:
        """Pointers to rows of this phase."""
        return tuple(self.phase.pointers[index] for index in dict.fromkeys(indexes))

    def beside(self, *kinds: str) -> tuple[str, ...]:
        """Pointers to this row and to the latest event of other kinds of its stage."""
        return (*self.at(self.index), *(f"{self.phase.stage}/{kind}[-1]" for kind in kinds))


Rule = Callable[[Moment], Observation | None]


def observe(phase: Phase) -> list[list[Observation]]:
    """For each row of a phase what the rules found, the most telling first."""
    rules = PRETRAINING_RULES if phase.is_pretraining else FINETUNING_RULES
    rows = []
    for index in range(len(phase.rows)):
        found = (rule(Moment(phase, index)) for rule in rules)
        rows.append([observation for observation in found if observation is not None])
    return rows


def in_short(observations: list[Observation]) -> str:
    """The first observations of a row as the training trace shows them; a mere fall only where nothing else is."""
    names = {observation.rule for observation in observations}
    shown = [o for o in observations if o.rule != "change" or len(names) == 1 or _is_news(o, names)]
    return "; ".join(observation.sentence for observation in shown[:SHOWN])


def _is_news(change: Observation, names: set[str]) -> bool:
    return change.sentence.startswith("loss rose") and "overfitting" not in names and "surer and wrong" not in names


# ---- both phases


def _start(moment: Moment) -> Observation | None:
    uniform = moment.phase.references.get("uniform_nats")
    if moment.index > 0 or moment.row.get("step") != 0 or uniform is None:
        return None
    loss = moment.row["loss"]
    name = "ln V" if moment.phase.is_pretraining else "ln K"
    if abs(loss - uniform) <= GUESSING_MARGIN:
        sentence = f"before training: close to the uniform guess ({name} = {formats.nats(uniform)})"
    elif loss > uniform:
        sentence = f"before training: above the uniform guess ({name} = {formats.nats(uniform)})"
    else:
        sentence = f"at the start already below the uniform guess ({name} = {formats.nats(uniform)})"
    return Observation("start", sentence, {"loss": loss, "uniform": uniform}, moment.beside("references"))


def _crosses(moment: Moment, level: float) -> bool:
    """Whether this row is the first that lies below a level by more than noise."""
    if moment.row.get("step") == 0:
        return False
    below = [row["loss"] < level - loss_noise(row) for row in [*moment.before, moment.row]]
    return below[-1] and not any(below[:-1])


def _overfitting(moment: Moment) -> Observation | None:
    row, rows = moment.row, [*moment.before, moment.row]
    # If the training loss weighs the classes, it is held against a validation loss that does so, too.
    prefix = "weighted_" if row.get("weighted_loss") is not None else ""
    train, validation = f"{prefix}train_loss", f"{prefix}loss"
    trained = [i for i, r in enumerate(rows) if r.get(train) is not None]
    if len(trained) < 2 or row.get(train) is None:
        return None
    lowest = min(trained, key=lambda i: rows[i][validation])
    rise, gap = row[validation] - rows[lowest][validation], row[validation] - row[train]
    is_memorising = row[train] < rows[lowest][train] and gap > OVERFITTING_GAP
    # The paired error is that of the plain loss.
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


def _change(moment: Moment) -> Observation | None:
    """What changed since the last row that differed measurably from the one before it."""
    if not moment.before:
        return None
    rows, anchor = [*moment.before, moment.row], 0
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


def _below_unigram(moment: Moment) -> Observation | None:
    level = moment.phase.references.get("unigram_nats")
    if level is None or not _crosses(moment, level):
        return None
    numbers = {"loss": moment.row["loss"], "unigram": level}
    sentence = f"below unigram entropy ({formats.nats(level)}): context is being used"
    return Observation("below unigram", sentence, numbers, moment.beside("references"))


def _below_uniform(moment: Moment) -> Observation | None:
    level = moment.phase.references.get("uniform_nats")
    if level is None or not _crosses(moment, level) or _below_unigram(moment):
        return None
    sentence = f"below the uniform guess (ln V = {formats.nats(level)})"
    return Observation(
        "below uniform", sentence, {"loss": moment.row["loss"], "uniform": level}, moment.beside("references")
    )


def _word_frequencies(moment: Moment) -> Observation | None:
    level, steps = moment.phase.references.get("unigram_nats"), moment.phase.plan.get("steps")
    if level is None or not steps or moment.row["step"] < LATE_SHARE * steps:
        return None
    if moment.row["loss"] < level - FREQUENCY_MARGIN:
        return None
    sentence = f"still at the level of word frequencies (unigram entropy {formats.nats(level)})"
    numbers = {"loss": moment.row["loss"], "unigram": level, "steps": steps}
    return Observation("word frequencies", sentence, numbers, moment.beside("references", "plan"))


def _decay_began(moment: Moment) -> Observation | None:
    start = moment.phase.plan.get("decay_start_step")
    if start is None or not moment.before or not moment.before[-1]["step"] < start <= moment.row["step"]:
        return None
    row, previous = moment.row, moment.before[-1]
    fall = previous["loss"] - row["loss"]
    numbers = {"decay_start_step": start, "fall": fall}
    sentence = f"rate decay began at step {formats.count(start)}"
    if fall > loss_change_noise([previous, row]):
        sentence = f"rate decay began: loss fell {formats.change(fall)}"
    return Observation("decay began", sentence, numbers, (*moment.beside("plan"), *moment.at(moment.index - 1)))


def _decay_ended(moment: Moment) -> Observation | None:
    start, steps = moment.phase.plan.get("decay_start_step"), moment.phase.plan.get("steps")
    if start is None or not moment.is_last or moment.row["step"] != steps:
        return None
    earlier = [i for i, row in enumerate(moment.before) if row["step"] <= start]
    if not earlier or earlier[-1] == moment.index - 1:  # then the row says it itself
        return None
    since = moment.before[earlier[-1]]
    fall = since["loss"] - moment.row["loss"]
    if fall <= loss_change_noise([*moment.before[earlier[-1] :], moment.row]):
        return None
    sentence = f"end of the rate decay: loss fell {formats.change(fall)} since step {formats.count(since['step'])}"
    return Observation("decay ended", sentence, {"fall": fall}, (*moment.beside("plan"), *moment.at(earlier[-1])))


def _fastest_fall(moment: Moment) -> Observation | None:
    rows = [*moment.before, moment.row]
    if len(rows) < 3:
        return None
    pairs = [(a, b) for a, b in pairwise(rows) if b["step"] > a["step"]]
    falls = [(a["loss"] - b["loss"]) / (b["step"] - a["step"]) for a, b in pairs]
    row, previous = rows[-1], rows[-2]
    fall = previous["loss"] - row["loss"]
    if len(falls) < 2 or falls[-1] <= max(falls[:-1]) or fall <= loss_change_noise([previous, row]):
        return None
    sentence = f"fastest fall so far: {formats.change(fall)} in {formats.count(row['step'] - previous['step'])} steps"
    return Observation("fastest fall", sentence, {"fall": fall}, moment.at(*range(moment.index, -1, -1)))


def _loss_plateau(moment: Moment) -> Observation | None:
    rows = [*moment.before, moment.row]
    best = min(range(len(rows)), key=lambda i: rows[i]["loss"])
    waited = moment.index - best
    if waited < PATIENCE:
        return None
    sentence = f"validation loss not lower for {waited} evaluations"
    return Observation(
        "plateau", sentence, {"waited": waited, "lowest_loss": rows[best]["loss"]}, moment.at(moment.index, best)
    )


def _beats_commonest(moment: Moment) -> Observation | None:
    share = moment.phase.references.get("most_frequent_share")
    if share is None or moment.row.get("step") == 0:
        return None
    above = [row["accuracy"] - accuracy_noise(row) > share for row in [*moment.before, moment.row]]
    if not above[-1] or any(above[:-1]):
        return None
    sentence = f"more hits than always naming the commonest token ({formats.percent(share)})"
    numbers = {"accuracy": moment.row["accuracy"], "most_frequent_share": share}
    return Observation("beats commonest", sentence, numbers, moment.beside("references"))


# ---- fine-tuning


def _best_so_far(moment: Moment) -> Observation | None:
    row = moment.row
    if not moment.before:
        return None
    best = max(range(moment.index), key=lambda i: moment.before[i]["accuracy"])
    gain = row["accuracy"] - moment.before[best]["accuracy"]
    noise = accuracy_noise(row, moment.before[best])
    best_step = moment.phase.trial.get("best_step", row["step"] if gain > 0 else None)  # known when the trial is over
    is_kept = best_step == row["step"]
    numbers = {"accuracy": row["accuracy"], "gain": gain, "noise": noise}
    pointers = moment.at(moment.index, best)
    kept = ", kept" * is_kept
    if gain > noise:
        return Observation("best", f"best so far ({formats.points(gain)}){kept}", numbers, pointers)
    if gain > 0:
        sentence = f"highest so far, within noise ({formats.points(gain)}, {formats.spread(noise)}){kept}"
        return Observation("highest", sentence, numbers, pointers)
    if is_kept:
        sentence = "kept: best of this trial by the score that decides when to stop"
        return Observation("kept", sentence, numbers, (*pointers, moment.phase.trial_pointer))
    return None


def _accuracy_plateau(moment: Moment) -> Observation | None:
    rows = [*moment.before, moment.row]
    best = max(range(len(rows)), key=lambda i: rows[i]["accuracy"])
    waited = moment.index - next(i for i in range(len(rows)) if rows[i]["accuracy"] == rows[best]["accuracy"])
    if waited < PATIENCE:
        return None
    sentence = f"validation accuracy not higher for {waited} evaluations"
    if moment.row["loss"] < min(r["loss"] for r in moment.before):
        sentence += ", though the loss still falls"
    return Observation("plateau", sentence, {"waited": waited}, moment.at(moment.index, moment.index - waited))


def _below_prior(moment: Moment) -> Observation | None:
    level = moment.phase.references.get("prior_nats")
    if level is None or not _crosses(moment, level):
        return None
    sentence = f"below the class prior ({formats.nats(level)})"
    return Observation(
        "below prior", sentence, {"loss": moment.row["loss"], "prior": level}, moment.beside("references")
    )


def _not_above_majority(moment: Moment) -> Observation | None:
    share = moment.phase.references.get("majority_share")
    row = moment.row
    if share is None or row.get("step") == 0 or row["accuracy"] - accuracy_noise(row) > share:
        return None
    sentence = f"not measurably above the majority class ({formats.percent(share)})"
    numbers = {"accuracy": row["accuracy"], "majority_share": share, "noise": accuracy_noise(row)}
    return Observation("majority", sentence, numbers, moment.beside("references"))


def _surer_and_wrong(moment: Moment) -> Observation | None:
    if not moment.before:
        return None
    row, previous = moment.row, moment.before[-1]
    gain, rise = row["accuracy"] - previous["accuracy"], row["loss"] - previous["loss"]
    if gain <= accuracy_noise(row, previous) or rise <= loss_change_noise([previous, row]):
        return None
    sentence = f"more answers right, wrong ones given higher probability (loss rose {formats.change(rise)})"
    return Observation(
        "surer and wrong", sentence, {"gain": gain, "rise": rise}, moment.at(moment.index, moment.index - 1)
    )


def _stopped(moment: Moment) -> Observation | None:
    trial = moment.phase.trial
    if not moment.is_last or trial.get("stopped") != "patience":
        return None
    epoch = trial.get("best_epoch", 0)
    sentence = f"stopped: no better validation score since epoch {formats.count(epoch)}"
    return Observation(
        "stopped", sentence, {"best_epoch": epoch}, (*moment.at(moment.index), moment.phase.trial_pointer)
    )


PRETRAINING_RULES: tuple[Rule, ...] = (
    _start,
    _below_unigram,
    _below_uniform,
    _overfitting,
    _skipped,
    _decay_began,
    _decay_ended,
    _word_frequencies,
    _fastest_fall,
    _beats_commonest,
    _loss_plateau,
    _change,
)
FINETUNING_RULES: tuple[Rule, ...] = (
    _start,
    _not_above_majority,
    _best_so_far,
    _stopped,
    _overfitting,
    _surer_and_wrong,
    _skipped,
    _accuracy_plateau,
    _below_prior,
    _change,
)
