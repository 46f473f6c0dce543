"""Observations on each evaluation of a phase: rules over its figures in, template sentences out.

Each number of an observation has an expression that computes it from the trace, and each observation names what it was
read from. A difference within the noise of its measurement (`run_trace.noise`) is never called better or worse. A rule
is here if what it finds may change the next run: its rate, its length, its data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pretune.run_trace import formats
from pretune.run_trace.log_values import rounded
from pretune.run_trace.metrics import title_of, write_gain, write_noise
from pretune.run_trace.noise import Z_95, is_measurable, loss_change_noise, loss_noise, score_change_noise
from pretune.run_trace.shown_trial import trial_shown
from pretune.trace_schema import Evaluation, Observation, Phase, Reference, Trial

GUESSING_MARGIN = 0.3  # nats around ln V or ln K within which an untrained model counts as guessing

OVERFITTING_GAP = 0.1  # nats between training and validation loss from which overfitting is reported
PATIENCE = 2  # evaluations without a better one from which a plateau is reported
SHOWN = 2  # observations in a row of the training trace

Numbers = dict[str, tuple[float, Any]]  # the value of each number, and the expression that computes it


@dataclass(frozen=True)
class Moment:
    """One evaluation of a phase, seen with those before it."""

    phase: Phase
    index: int

    @property
    def row(self) -> Evaluation:
        return self.phase.evaluations[self.index]

    @property
    def before(self) -> list[Evaluation]:
        return self.phase.evaluations[: self.index]

    @property
    def so_far(self) -> list[Evaluation]:
        return self.phase.evaluations[: self.index + 1]

    @property
    def epochs(self) -> list[float]:
        """The epochs of all evaluations of the phase."""
        return [row.epoch for row in self.phase.evaluations]

    @property
    def is_last(self) -> bool:
        return self.index == len(self.phase.evaluations) - 1

    @property
    def is_pretraining(self) -> bool:
        return self.phase.stage == "pretrain"

    @property
    def measure(self) -> str:
        """The field of an evaluation with the score: a classification calls it by its name."""
        return "accuracy" if self.phase.metric == "accuracy" else "score"

    @property
    def measure_title(self) -> str:
        return title_of(self.phase.metric)

    @property
    def trial(self) -> Trial | None:
        return trial_shown(self.phase)

    @property
    def trial_pointer(self) -> list[str]:
        numbers = [trial.trial for trial in self.phase.trials]
        shown = self.phase.shown_trial
        return [f"{self.base}/trials/{numbers.index(shown)}"] if shown in numbers else []

    @property
    def base(self) -> str:
        return f"/phases/{self.phase.stage}"

    def at(self, *indexes: int) -> list[str]:
        """Pointers to evaluations of this phase."""
        return [f"{self.base}/evaluations/{index}" for index in dict.fromkeys(indexes)]

    def read(self, name: str, index: int | None = None) -> Any:
        """The expression of a figure of an evaluation, this one or another."""
        return ["at", f"{self.base}/evaluations/{self.index if index is None else index}/{name}"]

    def reference(self, kind: str, name: str) -> tuple[Reference, str] | None:
        """A reference of the loss or the accuracy, with its pointer."""
        known = self.phase.loss_references if kind == "loss" else self.phase.accuracy_references
        found = (n for n, each in enumerate(known) if each.id == name)
        place = next(found, None)
        return None if place is None else (known[place], f"{self.base}/{kind}_references/{place}")


Rule = Callable[[Moment], Observation | None]


def observe(phase: Phase) -> list[list[Observation]]:
    """The findings of the rules for each evaluation of a phase, the most important first."""
    rules = PRETRAINING_RULES if phase.stage == "pretrain" else FINETUNING_RULES
    rows = []
    for index in range(len(phase.evaluations)):
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


def _found(rule: str, sentence: str, numbers: Numbers, pointers: list[str]) -> Observation:
    return Observation(
        rule=rule,
        sentence=sentence,
        numbers={name: rounded(value) for name, (value, _) in numbers.items()},
        derivations={name: expression for name, (_, expression) in numbers.items()},
        pointers=pointers,
    )


# ---- both phases


def _start(moment: Moment) -> Observation | None:
    found = moment.reference("loss", "uniform")
    if moment.index > 0 or moment.row.step != 0 or found is None:
        return None
    reference, pointer = found
    loss, uniform = moment.row.loss, reference.value
    if abs(loss - uniform) <= GUESSING_MARGIN:
        level = "close to a uniform guess"
    else:
        level = "worse than a uniform guess" if loss > uniform else "already better than a uniform guess"
    who = "" if moment.reference("loss", "base") is None else "the base is "
    sentence = f"before training: {who}{level} ({reference.name} = {formats.nats(uniform)})"
    numbers = {"loss": (loss, moment.read("loss")), "uniform": (uniform, ["at", f"{pointer}/value"])}
    return _found("start", sentence, numbers, [*moment.at(moment.index), pointer])


def _overfitting(moment: Moment) -> Observation | None:
    row, rows = moment.row, moment.so_far
    # If the training loss is weighted, it is compared with a validation loss that is, too.
    prefix = "weighted_" if row.weighted_loss is not None else ""
    train, validation = f"{prefix}train_loss", f"{prefix}loss"

    def read(index: int, name: str) -> float | None:
        value: float | None = getattr(rows[index], name)
        return value

    both = [
        (i, value)
        for i in range(len(rows))
        if read(i, train) is not None and (value := read(i, validation)) is not None
    ]
    train_loss, loss = read(moment.index, train), read(moment.index, validation)
    if len(both) < 2 or train_loss is None or loss is None:
        return None
    lowest, lowest_loss = min(both, key=lambda pair: pair[1])
    rise, gap = loss - lowest_loss, loss - train_loss
    is_memorising = train_loss < (read(lowest, train) or 0.0) and gap > OVERFITTING_GAP
    # The paired error is that of the unweighted loss.
    noise = max(loss_noise(row), loss_noise(rows[lowest])) if prefix else loss_change_noise(rows[lowest:])
    if not is_memorising or rise <= noise:
        return None
    losses = f"train {formats.nats(train_loss)}, validation {formats.nats(loss)}"
    by = "objective" if moment.is_pretraining else "class"
    sentence = f"overfitting: {losses}" + (f", both weighted by {by}" if prefix else "")
    numbers = {
        train: (train_loss, moment.read(train)),
        validation: (loss, moment.read(validation)),
        f"lowest_{validation}": (lowest_loss, moment.read(validation, lowest)),
    }
    return _found("overfitting", sentence, numbers, moment.at(moment.index, lowest))


def _skipped(moment: Moment) -> Observation | None:
    since = moment.before[-1].step if moment.before else -1
    skipped = [i for i, each in enumerate(moment.phase.skipped) if since < each.step <= moment.row.step]
    if not skipped:
        return None
    sentence = f"{len(skipped)} update{'s' * (len(skipped) > 1)} skipped"
    steps = ["map", ["at", f"{moment.base}/skipped"], "step"]
    after = ["gt", steps, moment.read("step", moment.index - 1) if moment.before else -1]
    number = ["len", ["where", ["and", after, ["le", steps, moment.read("step")]]]]
    pointers = [*moment.at(moment.index), *(f"{moment.base}/skipped/{i}" for i in skipped)]
    return _found("skipped", sentence, {"skipped": (len(skipped), number)}, pointers)


def _plateau(moment: Moment) -> Observation | None:
    """Pre-training is judged by its loss, fine-tuning by its score."""
    name = "loss" if moment.is_pretraining else moment.measure
    scores = [-row.loss if moment.is_pretraining else row.score for row in moment.so_far]
    best = scores.index(max(scores))
    waited = moment.index - best
    if waited < PATIENCE:
        return None
    what = "loss not lower" if moment.is_pretraining else f"{moment.measure_title} not higher"
    sentence = f"validation {what} for {waited} evaluations"
    if not moment.is_pretraining and moment.row.loss < min(row.loss for row in moment.before):
        sentence += ", but its loss is still falling"
    so_far = ["take", ["map", ["at", f"{moment.base}/evaluations"], name], ["list", *range(moment.index + 1)]]
    place = ["argmin" if moment.is_pretraining else "argmax", so_far]
    numbers = {
        "waited": (waited, ["sub", moment.index, place]),
        "best": (-scores[best] if moment.is_pretraining else scores[best], ["index", so_far, place]),
    }
    return _found("plateau", sentence, numbers, moment.at(moment.index, best))


def _change(moment: Moment) -> Observation | None:
    """The change since the last row that differed measurably from the one before it."""
    if not moment.before:
        return None
    rows, anchor = moment.so_far, 0
    for index in range(1, moment.index):
        anchor = index if is_measurable(rows[anchor : index + 1]) else anchor
    row, since = moment.row, rows[anchor]
    fall, gain = since.loss - row.loss, row.score - since.score
    if abs(fall) > loss_change_noise(rows[anchor:]):
        sentence = f"loss {'fell' if fall > 0 else 'rose'} {formats.change(fall)}"
    elif is_measurable(rows[anchor:]):
        sentence = f"{moment.measure_title} {write_gain(moment.phase.metric, gain)}"
    else:
        sentence = "no measurable change"
    if anchor < moment.index - 1:
        place = f"step {formats.count(since.step)}"
        if not moment.is_pretraining:
            place = f"epoch {formats.epoch(since.epoch, moment.epochs)}"
        sentence += f" since {place}"
    elif not is_measurable(rows[anchor:]):
        sentence += f" (n = {formats.count(row.n or 0)})"
    numbers = {
        "fall": (fall, ["sub", moment.read("loss", anchor), moment.read("loss")]),
        "gain": (gain, ["sub", moment.read(moment.measure), moment.read(moment.measure, anchor)]),
    }
    return _found("change", sentence, numbers, moment.at(moment.index, anchor))


# ---- pre-training


def _context(moment: Moment) -> Observation | None:
    """Whether the model predicts better than word frequencies alone can, which takes the context of a word."""
    found, plan = moment.reference("loss", "unigram"), moment.phase.plan
    if found is None or moment.row.step == 0:
        return None
    reference, pointer = found
    level = reference.value
    numbers = {"loss": (moment.row.loss, moment.read("loss")), "unigram": (level, ["at", f"{pointer}/value"])}
    below = [row.loss < level - loss_noise(row) for row in moment.so_far]
    if below[-1]:
        sentence = f"below the unigram entropy ({formats.nats(level)}): context is being used"
        crossing = _found("below unigram", sentence, numbers, [*moment.at(moment.index), pointer])
        return None if any(below[:-1]) else crossing
    if plan is None or not plan.steps or moment.row.step < plan.steps:
        return None
    sentence = f"ended not measurably better than word frequencies (unigram entropy {formats.nats(level)})"
    numbers |= {"steps": (plan.steps, ["at", f"{moment.base}/plan/steps"])}
    return _found("word frequencies", sentence, numbers, [*moment.at(moment.index), pointer, f"{moment.base}/plan"])


# ---- fine-tuning


def _best_so_far(moment: Moment) -> Observation | None:
    row = moment.row
    numbers: Numbers = {moment.measure: (row.score, moment.read(moment.measure))}
    metric = moment.phase.metric
    kept = ", kept" * row.is_best  # decided when the trial is over
    if moment.before:
        best = max(range(moment.index), key=lambda i: moment.before[i].score)
        gain, noise = row.score - moment.before[best].score, score_change_noise(moment.so_far[best:])
        numbers |= {
            "gain": (gain, ["sub", moment.read(moment.measure), moment.read(moment.measure, best)]),
            "noise": (noise, _read_change_noise(moment, best)),
        }
        pointers = moment.at(moment.index, best)
        if gain > noise:
            return _found("best", f"best so far ({write_gain(metric, gain)}){kept}", numbers, pointers)
        if gain > 0:
            sentence = f"highest so far, within noise ({write_gain(metric, gain)}, {write_noise(metric, noise)}){kept}"
            return _found("highest", sentence, numbers, pointers)
    return _kept(moment, numbers) if row.is_best else None


def _kept(moment: Moment, numbers: Numbers) -> Observation:
    """Why an evaluation was kept whose score is not higher than all before it."""
    row, pointers = moment.row, [*moment.at(moment.index), *moment.trial_pointer]
    if moment.phase.objective == "replies":
        lowest: Numbers = {"loss": (row.loss, moment.read("loss"))}
        return _found("kept", "kept: lowest loss on the validation replies", lowest, pointers)
    if moment.trial is not None and moment.trial.stopped == "updates":
        why = "the last weights, since there are too few rows to choose by"
        return _found("kept", f"kept: {why}", numbers, pointers)
    # Of strongly imbalanced classes macro-F1 chooses, and the accuracy of another evaluation may be higher.
    chosen_by = (moment.trial.metric if moment.trial is not None else None) or moment.phase.metric
    if chosen_by == "macro_f1" and row.macro_f1 is not None:
        numbers |= {"macro_f1": (row.macro_f1, moment.read("macro_f1"))}
    return _found("kept", f"kept: best validation {title_of(chosen_by)} of this trial", numbers, pointers)


def _read_change_noise(moment: Moment, since: int) -> Any:
    """The expression of `score_change_noise` from an earlier evaluation to this one."""
    own = [moment.read(f"{moment.measure}_noise", since), moment.read(f"{moment.measure}_noise")]
    if any(row.accuracy_change_error is None for row in moment.so_far[since + 1 :]):
        return ["max", ["list", *own]]
    errors = [moment.read("accuracy_change_error", index) for index in range(since + 1, moment.index + 1)]
    one_answer = ["div", 1, moment.read("n")] if moment.row.n else 1
    paired = ["add", ["mul", Z_95, ["sum", ["list", *errors]]], one_answer]
    return ["min", ["list", paired, ["add", *own]]]


def _not_above_majority(moment: Moment) -> Observation | None:
    """The answers of the majority class are no paired comparison here, so the sentence is about the interval alone."""
    found, row = moment.reference("accuracy", "majority"), moment.row
    if found is None or row.step == 0:
        return None
    majority, pointer = found[0].value, found[1]
    numbers: Numbers = {
        "accuracy": (row.score, moment.read("accuracy")),
        "majority": (majority, ["at", f"{pointer}/value"]),
    }
    if row.score_low is not None and row.score_high is not None:
        low, high = row.score_low, row.score_high
        numbers |= {"low": (low, moment.read("accuracy_low")), "high": (high, moment.read("accuracy_high"))}
    else:
        low, high = row.score - row.score_noise, row.score + row.score_noise
        numbers["noise"] = (row.score_noise, moment.read("accuracy_noise"))
    if low > majority:
        return None
    verb = "still reaches" if high >= majority else "lies below"
    sentence = f"the interval of the accuracy {verb} the majority class ({formats.percent(majority)})"
    return _found("majority", sentence, numbers, [*moment.at(moment.index), pointer])


def _stopped(moment: Moment) -> Observation | None:
    trial = moment.trial
    if not moment.is_last or trial is None or trial.stopped != "patience":
        return None
    epoch, pointers = trial.best_epoch or 0, [*moment.at(moment.index), *moment.trial_pointer]
    metric = title_of(trial.metric or moment.phase.metric)
    sentence = f"stopped: validation {metric} has not risen since epoch {formats.epoch(epoch, moment.epochs)}"
    numbers: Numbers = {}
    if trial.best_epoch is not None:
        numbers["best_epoch"] = (epoch, ["at", f"{moment.trial_pointer[0]}/best_epoch"])
    best = next((i for i, row in enumerate(moment.before) if row.epoch == epoch), None)
    if best is not None and moment.row.loss < moment.before[best].loss:
        # Without this, a reader would think that nothing improved any more.
        before = moment.before[best].loss
        sentence += f" (the loss fell from {formats.nats(before)} to {formats.nats(moment.row.loss)})"
        numbers |= {
            "loss_before": (before, moment.read("loss", best)),
            "loss": (moment.row.loss, moment.read("loss")),
        }
        pointers += moment.at(best)
    return _found("stopped", sentence, numbers, pointers)


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
