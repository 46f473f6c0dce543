"""`compare --strategies`: four ways from one base to a chatbot, each with the same budget, and their comparison.

The base as it is; the same network from scratch on the conversations alone; the base fine-tuned on them; the base
pre-trained further on text of the domain and then fine-tuned. It calls the stage functions one after another; what is
finished is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, UsageError
from pretune.evaluation.strategies import AS_IS, FINETUNED, FURTHER, KINDS, SCRATCH
from pretune.model.base_folder import read_base_folder
from pretune.model.cost import SLOW_STEP_TOKENS
from pretune.run_trace import formats
from pretune.runtime.events import read_events
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import Manifest, describe_differences, read_manifest, read_manifest_if_any
from pretune.runtime.stage_folder import run_stage
from pretune.settings import (
    ChatTuningConfig,
    CollectConfig,
    PreprocessConfig,
    PretrainConfig,
    StrategiesConfig,
    to_identity,
)
from pretune.stages.strategies import (
    Candidate,
    Circumstances,
    HeldOutText,
    compare_strategies,
    read_held_out_texts,
)
from pretune.text.chat.chat_lines import HELD_OUT_NAME, write_held_out
from pretune.text.chat.columns import DETECTED, NamedColumns
from pretune.text.chat.prepared_folder import refuse_labelled_rows
from pretune.text.sources.public_data import Say
from pretune.text.splits import SPLITS

WORK, RESULT = "work", "strategies"  # the folders of the stages before the comparison, and of the comparison
_FEWEST_UPDATES = 25  # of a training with a small budget in tokens: its updates become smaller
_FEWEST_TOKENS_PER_STEP = 256
_EVALUATIONS = 8  # of pre-training further, as in fine-tuning
# Pre-training a large base further without a GPU: an update of 4,096 tokens would take it most of a minute, and Muon
# would double the time of smaller ones. It has learned to use more context than rows of 64 tokens have; rows of two
# lengths would be two things to time.
_SLOW_SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "tokens_per_step": SLOW_STEP_TOKENS,
    "row_tokens": 256,  # or as many as it reads
    "long_fraction": 0.0,
    "evaluations": 4,
}
_BATCH = 32  # conversations per update at most, if the budget is in tokens


def run_strategies(
    base: Path | str,
    prepared: Path | str,
    domain: Sequence[str],
    out: Path | str,
    config: StrategiesConfig,
    *,
    other: Path | str | None = None,
    columns: NamedColumns = DETECTED,
    redo: bool = False,
    say: Say = lambda _sentence: None,
) -> Path:
    """Train and compare the strategies, and return the folder of the comparison.

    `prepared` is the folder of `prepare --task chat`, `domain` are files of text of the domain, `other` is a file of
    conversations from elsewhere, on which all models are measured, too; `columns` names the columns of `other`.
    A second call resumes. With `redo`, folders that differ are renamed. Raises the errors of the stages, those for bad
    input before anything is trained.
    """
    held_out = None if other is None else expand_home(other)
    run = _Strategies(Path(base), Path(prepared), list(domain), expand_home(out), config, redo, say, held_out, columns)
    run.check()
    candidates = [candidate for seed in run.seeds for candidate in run.train(seed)]
    candidates.sort(key=lambda each: (KINDS.index(each.kind), each.seed))
    folder = run.folder / RESULT
    first = next(each for each in candidates if each.kind == FURTHER)
    run_stage(
        lambda again: compare_strategies(
            candidates,
            run.prepared,
            folder,
            config,
            circumstances=Circumstances(budget=run.budget(), base=run.describe_base(), reasons=run.reasons(first)),
            other=run.other,
            columns=columns,
            redo=again,
        ),
        redo=redo,
    )
    return folder


@dataclass
class _Strategies:
    """The inputs of one comparison, and its steps."""

    base: Path
    prepared: Path
    domain: list[str]
    folder: Path
    config: StrategiesConfig
    redo: bool
    say: Say
    other: Path | None = None  # conversations from elsewhere
    columns: NamedColumns = DETECTED  # of these
    _texts: list[HeldOutText] = field(default_factory=list)
    _is_slow: bool = False
    _max_seq_len: int = 0

    @property
    def seeds(self) -> range:
        return range(self.config.seed, self.config.seed + self.config.seeds)

    def check(self) -> None:
        """Raise now what a later step would raise after hours."""
        from pretune.compute.device import device_at_hand
        from pretune.inference.chat_session import load_chat_session
        from pretune.model import cost
        from pretune.stages.chat_tuning.starting_model import open_start

        if not self.domain:
            raise UsageError("There is no text of the domain; give it with --domain PATH.")
        source = read_manifest(self.prepared, "prepare")
        refuse_labelled_rows(self.prepared, source, "Give the output folder of prepare --task chat.")
        # These refuse a base that only fills in masked words, and conversations for another tokenizer.
        load_chat_session(read_base_folder(self.base).path)
        model = open_start(self.base, self.prepared, self._tuning(self.config.seed, 1.0)).model.config
        self._max_seq_len = model.max_seq_len
        self._is_slow = self._began_slow(otherwise=cost.is_slow(model, device_at_hand()))
        self._texts = read_held_out_texts(self.prepared, self.other, self.columns)
        for concern in (concern for text in self._texts for concern in text.concerns):
            self.say(concern.sentence)
        self._refuse_few_updates(model.max_seq_len)

    def _began_slow(self, *, otherwise: bool) -> bool:
        """Whether an earlier call, perhaps on another machine, took the settings for a slow base; `otherwise` if there
        was none, or if its pre-training is done again, since it had another base, budget or seed."""
        begun = read_manifest_if_any(self._folder("pretrain", self.config.seed))
        if begun is None:
            return otherwise
        was_slow = begun.config.get("optimizer") == _SLOW_SETTINGS["optimizer"]
        return otherwise if self.redo and self._is_done_again(begun, is_slow=was_slow) else was_slow

    def _is_done_again(self, begun: Manifest, *, is_slow: bool) -> bool:
        """Whether the pre-training that was begun had another base or other settings than those given now."""
        settings = to_identity(self._further_settings(self.config.seed, is_slow=is_slow))
        differing = describe_differences(begun.config, settings, exactly=begun.status != "finished")
        return bool(differing) or begun.inputs.get("base") != read_base_folder(self.base).fingerprint

    def _refuse_few_updates(self, max_seq_len: int) -> None:
        """Raise InputDataError if a budget in tokens is too small for the conversations of the fourth strategy, by the
        tokens that an update of the tuning will read."""
        from pretune.compute.device import device_at_hand
        from pretune.stages.chat_tuning.choices import MICRO_BATCH_TOKENS
        from pretune.stages.chat_tuning.conversations import ChatCorpus, ChatShape, PreparedChat
        from pretune.training.budget import MIN_STEPS

        batch_size, left = self._batch_size(), 1 - self.config.domain_fraction
        if self.config.tokens is None or batch_size is None:
            return
        rows = MICRO_BATCH_TOKENS[device_at_hand()]
        shape = ChatShape(batch_size=batch_size, micro_batch_tokens=rows, evaluation_tokens=1)
        corpus = ChatCorpus(PreparedChat(self.prepared, max_seq_len), shape, self.config.seed)
        updates = round(self.config.tokens * left / corpus.tokens_per_step)
        if updates < MIN_STEPS:
            enough = math.ceil(MIN_STEPS * corpus.tokens_per_step / left)
            raise InputDataError(
                f"After pre-training further, {self.config.tokens:,} tokens leave {updates} updates of "
                f"{corpus.tokens_per_step:,.0f} tokens for the conversations, but training needs {MIN_STEPS}; give "
                f"--tokens {enough} or more, or prepare shorter conversations (--max-seq-len)."
            )

    # -- the four ways -------------------------------------------------------------------------------------------

    def train(self, seed: int) -> Iterator[Candidate]:
        """Train the models of one seed, one after another; the base as it is has no seed but the first."""
        if seed == self.config.seed:
            yield self._as_it_is()
        # First what a small budget, or too little text, is refused for.
        further = self._pretrain_further(seed)
        both = self._tune("further", further, self._tuning(seed, 1 - self.config.domain_fraction), seed)
        yield self._tuned(FURTHER, seed, both, further)
        tuned = self._tune("finetune", self.base, self._tuning(seed, 1.0), seed)
        yield self._tuned(FINETUNED, seed, tuned)
        scratch = self._tune("scratch", self.base, self._tuning(seed, 1.0, from_scratch=True), seed)
        yield self._tuned(SCRATCH, seed, scratch)

    def _as_it_is(self) -> Candidate:
        base = read_base_folder(self.base)
        return Candidate(
            kind=AS_IS,
            seed=self.config.seed,
            path=base.path,
            fingerprint=base.fingerprint,
            training="As it is: not trained here.",
            minutes=0.0,
        )

    def _tuned(self, kind: str, seed: int, folder: Path, further: Path | None = None) -> Candidate:
        manifest = read_manifest(folder, "finetune")
        folders = [folder] if further is None else [further, folder]
        return Candidate(
            kind=kind,
            seed=seed,
            path=folder,
            fingerprint=manifest.fingerprint,
            training=_describe_tuning(kind, manifest, None if further is None else read_manifest(further, "pretrain")),
            minutes=sum(map(_minutes_of, folders)),
        )

    def _tuning(self, seed: int, part: float, *, from_scratch: bool = False) -> ChatTuningConfig:
        """The settings of a fine-tuning that gets a part of the budget."""
        config = self.config
        return ChatTuningConfig(
            minutes=None if config.minutes is None else config.minutes * part,
            tokens=None if config.tokens is None else max(1, round(config.tokens * part)),
            batch_size=self._batch_size(),
            seed=seed,
            from_scratch=from_scratch,
            adapter="none" if from_scratch else config.adapter,
            threads=config.threads,
        )

    def _batch_size(self) -> int | None:
        """The conversations of an update, which are the same for all strategies; None for a budget in minutes."""
        if self.config.tokens is None:
            return None
        summary = read_manifest(self.prepared).summary
        per_conversation = summary["tokens"] / sum(summary[split] for split in SPLITS)
        least = self.config.tokens * (1 - self.config.domain_fraction) / per_conversation  # of the fourth strategy
        return min(_BATCH, max(1, int(least / _FEWEST_UPDATES)))

    def _tune(self, name: str, start: Path, config: ChatTuningConfig, seed: int) -> Path:
        from pretune.stages.chat_tuning.stage import tune_chat

        folder = self._folder(name, seed)
        self.say(f"{folder.name}: {'training from scratch' if config.from_scratch else 'fine-tuning'}")
        run_stage(lambda again: tune_chat(start, self.prepared, folder, config, redo=again, alone=True), redo=self.redo)
        return folder

    def _pretrain_further(self, seed: int) -> Path:
        from pretune.stages.collect.stage import collect
        from pretune.stages.preprocess.stage import preprocess
        from pretune.stages.pretrain.stage import pretrain

        work = self.folder / WORK
        collected, preprocessed = work / "collect", work / "preprocess"
        self.say("collect, preprocess: the text of the domain, without the held-out conversations")
        run_stage(lambda again: collect(self.domain, collected, CollectConfig(), redo=again), redo=self.redo)
        run_stage(
            lambda again: preprocess(
                collected,
                preprocessed,
                PreprocessConfig(),
                protect=self._protected(),
                base=self.base,
                redo=again,
            ),
            redo=self.redo,
        )
        folder, settings = self._folder("pretrain", seed), self._further_settings(seed, is_slow=self._is_slow)
        self.say(f"{folder.name}: pre-training further on the text of the domain")
        run_stage(
            lambda again: pretrain(preprocessed, folder, settings, base=self.base, redo=again, alone=True),
            redo=self.redo,
        )
        return folder

    def _further_settings(self, seed: int, *, is_slow: bool) -> PretrainConfig:
        """The settings of pre-training further, which gets its part of the budget."""
        config, part = self.config, self.config.domain_fraction
        settings = PretrainConfig(objective="causal", seed=seed, threads=config.threads, evaluations=_EVALUATIONS)
        if is_slow:
            settings = replace(settings, **_SLOW_SETTINGS)
            settings = replace(settings, row_tokens=min(settings.row_tokens, self._max_seq_len))
        if config.tokens is not None:
            tokens = max(1, round(config.tokens * part))
            per_step = min(settings.tokens_per_step, max(_FEWEST_TOKENS_PER_STEP, tokens // _FEWEST_UPDATES))
            settings = replace(settings, tokens=tokens, tokens_per_step=per_step)
        elif config.minutes is not None:
            settings = replace(settings, minutes=config.minutes * part)
        return settings

    def _protected(self) -> list[Path]:
        """The files of texts that the text of the domain must not contain: the messages of all held-out conversations.

        All of them, not only those that are measured: with other settings, others are measured.
        """
        files, work = [self.prepared / HELD_OUT_NAME], self.folder / WORK
        if self.other is not None:
            work.mkdir(parents=True, exist_ok=True)
            files.append(write_held_out(work, self._texts[1].conversations))
        return files

    def _folder(self, name: str, seed: int) -> Path:
        return self.folder / WORK / (name if seed == self.config.seed else f"{name}-seed-{seed}")

    # -- what the comparison says of itself ----------------------------------------------------------------------

    def budget(self) -> str:
        """The budget in a sentence."""
        config = self.config
        amount, unit = (config.minutes, "minutes") if config.minutes is not None else (config.tokens, "tokens")
        assert amount is not None
        seeds = f"seed {config.seed}" if config.seeds == 1 else f"seeds {self.seeds[0]} to {self.seeds[-1]}"
        return (
            f"Every strategy that trains had {amount:,.12g} {unit}, {seeds}; of these, pre-training further took "
            f"{config.domain_fraction:.0%} for the text of the domain. The cost of the base itself is not counted."
        )

    def describe_base(self) -> str:
        """What the base is, and what its own pre-training has cost, as far as its folder says."""
        tokens = read_base_folder(self.base).trained_tokens
        known = f" It was trained on {tokens:,} tokens." if tokens else ""
        return f"The base is {self.base.resolve().name}.{known}"  # a page names no place on the machine

    def reasons(self, further: Candidate) -> dict[str, str]:
        """What was measured that may explain a result, by the strategy that turned out best."""
        before, after = _losses_of(self._folder("pretrain", self.config.seed))
        fell = f"the base's loss on held-out text of the domain went from {before:.2f} to {after:.2f} nats per token"
        after_domain = read_manifest(further.path).summary
        at_once = read_manifest(self._folder("finetune", self.config.seed)).summary
        return {
            FURTHER: f"What may explain it: {fell} while it was pre-trained further.",
            FINETUNED: (
                f"What may explain it: {fell} while it was pre-trained further, but that left "
                f"{_passes(after_domain)} passes over the conversations instead of {_passes(at_once)}."
            ),
            SCRATCH: (
                "What may explain it: what the base had learned did not help to predict these replies, and a network "
                "from scratch is free of it."
            ),
            AS_IS: "What may explain it: the conversations are few, or the budget is too short, to improve the base.",
        }


def _describe_tuning(kind: str, tuned: Manifest, further: Manifest | None) -> str:
    summary: dict[str, Any] = tuned.summary
    names = {SCRATCH: "From scratch", FINETUNED: "Fine-tuned", FURTHER: "Pre-trained further, then fine-tuned"}
    first = "" if further is None else f"{further.summary['tokens']:,} tokens of the domain, then "
    kept = f"the weights of update {summary['best_step']:,} were kept"
    return (
        f"{names[kind]}: {first}{summary['tokens']:,} tokens of the conversations ({_passes(summary)} passes) in "
        f"{summary['steps']:,} updates; {kept}."
    )


def _passes(summary: Mapping[str, Any]) -> str:
    """How often a training read its conversations: 0.34, 1.7, 120."""
    return formats.change(summary["epochs"])


def _minutes_of(folder: Path) -> float:
    """How long a stage took, as its log says."""
    seconds = [event["seconds"] for event in read_events(folder) if event["event"] == "stage_finished"]
    return seconds[-1] / 60 if seconds else 0.0


def _losses_of(pretrained: Path) -> tuple[float, float]:
    """The validation loss before the first update and after the last one."""
    found = [event["loss"] for event in read_events(pretrained) if event["event"] == "evaluation"]
    return (found[0], found[-1]) if found else (float("nan"), float("nan"))
