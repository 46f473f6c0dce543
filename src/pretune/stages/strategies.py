"""Models that were made in different ways from one base, and held-out conversations, in; their comparison out.

What is measured of a model is written to the folder at once, so that a run that is stopped goes on with the next one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretune.errors import CorruptModelError, InputDataError
from pretune.evaluation.chat import (
    choose_conversations,
    choose_questions,
    describe_style,
    read_held_out,
    read_replies,
)
from pretune.evaluation.replies import measure_conversations, write_replies
from pretune.evaluation.strategies import (
    TITLES,
    Conclusion,
    HeldOut,
    Measured,
    conclude,
    describe_strategy,
    judge_strategies,
)
from pretune.inference.chat_session import load_chat_session
from pretune.runtime.atomic import write_json
from pretune.runtime.interruption import RUN_AGAIN, StopFlag, stop_on_signals
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import Manifest, hash_json, read_manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import Sampling, StrategiesConfig, to_identity
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.chat.columns import DETECTED, NamedColumns
from pretune.text.chat.conversations import Conversation
from pretune.text.chat.overlap import LONG_REPLY, leave_out_trained
from pretune.text.chat.template import encode_all
from pretune.text.labels.checks import Lint
from pretune.text.reading_report import Concern, counted
from pretune.text.tokenizer.tokenizer import load_tokenizer

_FEWEST = 2  # conversations of a text, because intervals are over conversations
_MEASURED = "measured"  # a file for each model
# What the flow calls the held-out texts: their own names are those of files, which a redacted report must not have.
_COUNTED = ("held-out conversations", "other held-out conversations")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model: its strategy and seed, its folder, and in a sentence how it was trained, for how many minutes."""

    kind: str
    seed: int
    path: Path
    fingerprint: str
    training: str
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the comparison says of itself: sentences on the budget and on the base, and what may explain the result."""

    budget: str
    base: str
    reasons: dict[str, str]  # by the kind of the strategy that is clearly the best


def compare_strategies(
    candidates: Sequence[Candidate],
    prepared: Path,
    out: Path,
    config: StrategiesConfig,
    *,
    circumstances: Circumstances,
    other: Path | None = None,
    columns: NamedColumns = DETECTED,
    redo: bool = False,
) -> Manifest:
    """Measure every candidate on the held-out conversations of `prepared` and on those of the file `other`, and judge.

    `columns` names the columns of `other`. All candidates have the tokenizer of `prepared`, or that of its base. Raises
    the errors of `read_held_out_texts`, and InterruptedByUserError or StoppedError after a signal and a commit.
    """
    source = read_manifest(prepared, "prepare")
    inputs = {"prepared": source.fingerprint}
    inputs |= {f"{each.kind} {each.seed}": each.fingerprint for each in candidates}
    texts = [
        replace(text, conversations=choose_conversations(text.conversations, config.conversations))
        for text in read_held_out_texts(prepared, other, columns)
    ]
    if texts[0].num_left_out:  # what was measured before this was looked for is of other conversations
        inputs["held_out"] = hash_json([each.to_json() for each in texts[0].conversations])
    if other is not None:
        inputs["other"] = hash_json([each.to_json() for each in texts[1].conversations])
    folder = open_stage(Path(out), "strategies", config=to_identity(config), inputs=inputs, redo=redo)
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work(), stop_on_signals() as stop:
        _Comparison(folder, candidates, prepared, source, texts, config).run(circumstances, stop)
    return folder.manifest


@dataclass(frozen=True, kw_only=True)
class HeldOutText:
    """Held-out conversations with a name, how many were left out of them, and what is to be said about reading them."""

    name: str
    conversations: list[Conversation]
    num_left_out: int = 0
    concerns: list[Concern] = field(default_factory=list)


def read_held_out_texts(prepared: Path, other: Path | None, columns: NamedColumns = DETECTED) -> list[HeldOutText]:
    """The held-out conversations of the folder `prepared`, and those of the file `other`, without what was trained on.

    Raises InputDataError if they cannot be read, or if models cannot be measured on two or more of each.
    """
    found = [_read_own(prepared)]
    _expect_two(prepared, found[0])
    if other is not None:
        found.append(_read_other(other, prepared, columns))
        _expect_two(other, found[1])
    return found


def _read_own(prepared: Path) -> HeldOutText:
    """The held-out conversations of `prepared`. They were split by their first question, so a long reply of one may
    still be in the training."""
    held_out = read_held_out(prepared, keeps_lines=True)
    every = held_out.conversations
    new = leave_out_trained(every, read_chat_lines(prepared, "train").conversations)
    count, lint = len(every) - len(new), Lint()
    if held_out.split == "validation":
        lint.warn(
            "chosen_by",
            len(every),
            f"{prepared.name} has no test conversations, so the strategies are compared on the {len(every):,} of the "
            "validation split, by which each training also chose its weights: the losses of the models that were "
            "trained may be a little too low. To avoid that, prepare with --test-fraction or --test-labels.",
        )
    what = f"{count:,} of {len(every):,} held-out conversations of {prepared.name}"
    why = f"their question, or a reply of {LONG_REPLY} words or more, is in the training conversations"
    if len(new) >= _FEWEST:
        lint.warn("trained_on", count, f"{what} left out because {why}.")
        return HeldOutText(name="held out", conversations=new, num_left_out=count, concerns=lint.concerns)
    lint.warn(
        "trained_on",
        count,
        f"{what} are measured although {why}, because without them fewer than {_FEWEST} are left: the losses of the "
        "models that were trained are too low.",
    )
    return HeldOutText(name="held out", conversations=every, concerns=lint.concerns)


def _read_other(other: Path, prepared: Path, columns: NamedColumns) -> HeldOutText:
    """The conversations of `other` that are not among those of the training and have room for a reply.

    The validation split counts as training, because it chose the weights.
    """
    tokenizer, max_seq_len = load_tokenizer(prepared), int(read_manifest(prepared).summary["max_seq_len"])
    every = read_held_out(other, keeps_lines=not tokenizer.is_own, columns=columns).conversations
    trained = [each for split in ("train", "validation") for each in read_chat_lines(prepared, split).conversations]
    new = leave_out_trained(every, trained)
    rows = encode_all(new, tokenizer, max_seq_len)
    kept = [each for each, row in zip(new, rows, strict=True) if row is not None]
    lint = Lint()
    lint.warn(
        "trained_on",
        len(every) - len(new),
        f"{len(every) - len(new):,} of {len(every):,} conversations of {other.name} left out because their question, "
        f"or a reply of {LONG_REPLY} words or more, is in the training or validation conversations.",
    )
    lint.warn(
        "reply_cut_away",
        len(new) - len(kept),
        f"{len(new) - len(kept):,} of {len(every):,} conversations of {other.name} left out because nothing of their "
        f"last reply fits within {max_seq_len:,} tokens.",
    )
    return HeldOutText(name=other.name.split(".")[0], conversations=kept, concerns=lint.concerns)


def _expect_two(path: Path, text: HeldOutText) -> None:
    if (count := len(text.conversations)) < _FEWEST:
        sentence = f"{path} has {counted(count, 'held-out conversation')} to measure the models on"
        why = "".join(f" {concern.sentence}" for concern in text.concerns)
        raise InputDataError(f"{sentence}; expected two or more, because intervals are over conversations.{why}")


class _Comparison:
    """One run of the stage."""

    def __init__(
        self,
        folder: StageFolder,
        candidates: Sequence[Candidate],
        prepared: Path,
        source: Manifest,
        texts: Sequence[HeldOutText],
        config: StrategiesConfig,
    ) -> None:
        self.start = time.monotonic()
        self.num_before = 0  # models that an interrupted attempt measured
        self.folder, self.candidates, self.config, self.texts = folder, candidates, config, texts
        self.tokenizer = load_tokenizer(prepared)
        self.training_replies = read_replies(prepared)
        self.max_seq_len = int(source.summary["max_seq_len"])
        self.notice = source.summary.get("notice")
        self.sampling = Sampling(max_tokens=config.reply_tokens, seed=config.seed)
        self.questions = choose_questions(
            self.tokenizer, self.max_seq_len, texts[0].conversations, config.questions, config.reply_tokens
        )

    def run(self, circumstances: Circumstances, stop: StopFlag) -> None:
        """Measure one candidate after another, and conclude."""
        self.folder.log.write(
            "stage_started",
            config=self.folder.manifest.config,
            inputs={f"{each.kind} {each.seed}": str(each.path) for each in self.candidates},
            synthetic=False,
        )
        for concern in (concern for text in self.texts for concern in text.concerns):
            self.folder.log.write("warning", sentence=concern.sentence, rule=concern.rule, count=concern.count)
        found: dict[str, list[dict[str, Any]]] = {}
        for number, candidate in enumerate(self.candidates):
            found.setdefault(candidate.kind, []).append(self._measured(candidate))
            if stop.is_set:
                raise stop.error(f"Stopped; what was measured is saved. {RUN_AGAIN}")
            self.folder.log.write(
                "progress",
                done=number + 1,
                done_before=self.num_before,
                total=len(self.candidates),
                unit="models",
                elapsed_seconds=round(time.monotonic() - self.start, 3),
            )
        self._conclude(found, circumstances)

    # -- one model -----------------------------------------------------------------------------------------------

    def _measured(self, candidate: Candidate) -> dict[str, Any]:
        """The sums of the losses on each text, and the answers of the first seed; read again if they are there."""
        file = self.folder.path / _MEASURED / f"{candidate.kind}-{candidate.seed}.json"
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            write_json(file, self._measure(candidate))
            gc.collect()  # before the next model is loaded
        else:
            self.num_before += 1
        try:
            found: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CorruptModelError(f"{file} is damaged ({error}); delete it and run the same command.") from error
        return found

    def _measure(self, candidate: Candidate) -> dict[str, Any]:
        generator = load_chat_session(candidate.path).generator
        texts = []
        for text in self.texts:
            found = measure_conversations(
                generator.model,
                self.tokenizer,
                text.conversations,
                self.max_seq_len,
                base_tokenizer=None if generator.has_chat_template else generator.tokenizer,
            )
            # Without the marks after the replies, which a base may not know.
            texts.append({"sums": found.word_sums.tolist(), "counts": found.word_counts.tolist()})
        answers = None
        if candidate.seed == self.config.seed:
            answers = write_replies(generator, self.questions, self.sampling)
        return {"texts": texts, "answers": answers}

    # -- all of them ---------------------------------------------------------------------------------------------

    def _conclude(self, found: dict[str, list[dict[str, Any]]], circumstances: Circumstances) -> None:
        log = self.folder.log
        held_out = [
            HeldOut(name=text.name, counts=np.array(next(iter(found.values()))[0]["texts"][place]["counts"]))
            for place, text in enumerate(self.texts)
        ]
        every = [
            Measured(
                kind=kind,
                sums=[np.array([run["texts"][place]["sums"] for run in runs]) for place in range(len(held_out))],
            )
            for kind, runs in found.items()
        ]
        concluded = conclude(every, held_out[0])
        answers = {kind: runs[0]["answers"] or [] for kind, runs in found.items()}
        references = [each.last_reply for each in self.questions]
        log.write(
            "strategies",
            budget=circumstances.budget,
            base=circumstances.base,
            held_out=[
                {"name": text.name, "conversations": len(text.counts), "tokens": int(text.counts.sum())}
                for text in held_out
            ],
            strategies=[self._row(each, held_out, answers[each.kind]) for each in every],
            reference_style=describe_style(references, self.training_replies) if references else None,
            verdicts=judge_strategies(every, held_out),
            conclusion=concluded.sentence,
            # Where nothing is clear, there is nothing to explain.
            reason=circumstances.reasons.get(concluded.lowest, "") if concluded.is_clear else "",
            coverage=self._coverage(),
            answers=[
                {
                    "question": each.messages[-2].content,
                    "replies": [{"kind": kind, "text": texts[place]} for kind, texts in answers.items()]
                    + [{"kind": "reference", "text": references[place]}],
                }
                for place, each in enumerate(self.questions)
            ],
            notice=self.notice,
        )
        self._finish(concluded)

    def _row(self, measured: Measured, held_out: Sequence[HeldOut], answers: Sequence[str]) -> dict[str, Any]:
        own = [each for each in self.candidates if each.kind == measured.kind]
        return {
            "kind": measured.kind,
            "name": TITLES[measured.kind],
            "training": own[0].training,
            "minutes": round(sum(each.minutes for each in own) / len(own), 2),
            "losses": describe_strategy(measured, held_out),
            "style": describe_style(answers, self.training_replies) if answers else None,
        }

    def _coverage(self) -> str:
        if self.config.seeds > 1:
            return "The intervals cover the choice of the held-out conversations and the seeds of the training."
        return (
            "The intervals cover the choice of the held-out conversations only: there is one seed "
            f"({self.config.seed}), and other runs differ."
        )

    def _finish(self, concluded: Conclusion) -> None:
        counts = {name: len(text.conversations) for name, text in zip(_COUNTED, self.texts, strict=False)}
        self.folder.log_flow(
            {"models": len(self.candidates), **counts},
            {"conclusions": 1},
            seconds=round(time.monotonic() - self.start, 3),
        )
        self.folder.finish(conclusion=concluded.sentence, lowest_loss=concluded.lowest, notice=self.notice)
