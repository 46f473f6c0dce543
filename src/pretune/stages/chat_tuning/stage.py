"""Stage 5 for conversations: a causal model and prepared conversations in; a model that replies out."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from pretune.compute.device import device_at_hand, use_threads
from pretune.compute.ranks import ALONE, Ranks, join_ranks, open_together
from pretune.data.rank_slice import RankSlice
from pretune.model import cost
from pretune.model.config import name_shape
from pretune.runtime.atomic import remove_folder
from pretune.runtime.interruption import StopFlag
from pretune.runtime.manifest import Manifest, check_hashes, read_manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning import choices
from pretune.stages.chat_tuning.conversations import ChatCorpus, ChatShape, PreparedChat
from pretune.stages.chat_tuning.estimate import disk_bytes, seconds_of_plan, tests_in_evaluations
from pretune.stages.chat_tuning.model_card import TuningSummary
from pretune.stages.chat_tuning.saving import save_trained_texts, save_tuned
from pretune.stages.chat_tuning.starting_model import StartingModel, open_start
from pretune.text.chat.prepared_folder import refuse_labelled_rows
from pretune.text.reading_report import counted
from pretune.training.budget import calibration_steps, describe_budget, refuse_too_few_updates
from pretune.training.checkpoint import TrainingState, log_compute_change, trained_tensors
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import OptimizerConfig
from pretune.training.parallel import Parallel
from pretune.training.pretraining_run import PretrainingRun, RunSettings
from pretune.training.reply_losses import ReplyLosses, measure_replies
from pretune.training.threaded_objective import in_lanes
from pretune.training.training_stage import (
    CHECKPOINTS,
    at_training,
    choose_compute_together,
    finish_together,
    noted_split,
)


def tune_chat(
    pretrained: Path,
    prepared: Path,
    out: Path,
    config: ChatTuningConfig = ChatTuningConfig(),
    *,
    redo: bool = False,
    alone: bool = False,
) -> Manifest:
    """Train the language model in `pretrained` on the conversations in `prepared`, into `out/checkpoint`.

    The result is a causal model with its tokenizer and chat template. With `config.adapter`, the corrections are also
    saved alone, in `out/adapter`. The weights with the lowest loss on the validation replies are kept, and the test
    conversations are read before the first update and after the last one. The same call resumes after an interruption,
    with the same result as without one. The processes of a launch train together, unless only this one makes the call,
    with `alone`. Raises the errors of `open_start`, InputDataError for the conversations, UsageError for labelled
    examples, OutOfResourcesError if a single row does not fit into memory, InterruptedByUserError or StoppedError after
    a signal and a commit.
    """
    use_threads(config.threads)
    prepared, out = Path(prepared), Path(out)
    source = read_manifest(prepared, "prepare")
    refuse_labelled_rows(prepared, source, "To train on labelled examples, use pretune.finetune or `pretune finetune`.")
    start = open_start(Path(pretrained), prepared, config)
    ranks = ALONE if alone else join_ranks()
    inputs = {"pretrained": start.weights_hash, "prepared": source.fingerprint}
    folder = open_together(
        ranks, out, lambda: open_stage(out, "finetune", config=choices.identity_of(config), inputs=inputs, redo=redo)
    )
    if folder.is_finished:
        if ranks.is_first:  # still there only if the stage was killed at the very end
            remove_folder(folder.path / CHECKPOINTS)
        return folder.manifest
    with at_training(folder, ranks, lambda: check_hashes(prepared, source)) as stop:
        _ChatTuning(start, prepared, source, folder, config, ranks).run(stop)
    return folder.manifest


class _ChatTuning:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(
        self,
        start: StartingModel,
        prepared: Path,
        source: Manifest,
        folder: StageFolder,
        config: ChatTuningConfig,
        ranks: Ranks,
    ) -> None:
        begun = time.monotonic()
        ranks.open_group(device_at_hand(), config.hang_seconds, keep_note=lambda note: folder.note(**note))
        self.start, self.prepared, self.source, self.folder = start, prepared, source, folder
        self.config, self.ranks = config, ranks
        self.compute = choose_compute_together(ranks, config.precision)
        self.model = start.make(config).to(self.compute.device)
        self.num_optimized = sum(tensor.numel() for tensor in trained_tensors(self.model).values())
        self.num_trained = start.count_trained(self.model, config)
        self.chat = PreparedChat(prepared, start.model.config.max_seq_len)
        self.corpus = self._open_corpus()
        self.parallel = Parallel(self.model, ranks)
        plain = TokenObjective(self.model, self.compute.dtype, compiled=self.compute.is_compiled)
        self.objective = self.parallel.wrap(in_lanes(plain, self.model, self.compute))
        self.training = self._make_training(begun)

    def run(self, stop: StopFlag) -> None:
        """Resume or start, train to the end of the plan, save the model."""
        restored = self.training.restore(was_begun=self.folder.is_resumed)
        if restored is not None:
            self._resume(restored)
        else:
            self._begin()
        self.training.train(stop)
        self._finish()

    # -- before the first step -----------------------------------------------------------------------------------

    def _open_corpus(self) -> ChatCorpus:
        chosen = self.folder.manifest.summary.get("rows")  # as the run began, even if less memory is free now
        if chosen is None:
            choose = partial(
                choices.choose_shape, self.config, self.start.config, self.chat, self.num_optimized, self.compute.device
            )
            chosen = self.ranks.answer(lambda: vars(choose()), "the size of a micro-batch")
            self.folder.note(rows=chosen)
        rank_slice = RankSlice(rank=self.ranks.rank, size=self.ranks.size)
        return ChatCorpus(self.chat, ChatShape(**chosen), self.config.seed, rank_slice)

    def _choose_optimizer(self) -> OptimizerConfig:
        own = choices.optimizer_config(self.config, self.start.config, self.compute)
        chosen = self.folder.manifest.summary.get("optimizer")  # as the run began, even on a machine without a GPU
        if chosen is None:
            chosen = {name: getattr(own, name) for name in ("kind", "matrix_rate", "other_rate")}
            self.folder.note(optimizer=chosen)
        return replace(own, **chosen)

    def _make_training(self, begun: float) -> PretrainingRun:
        config, model = self.config, self.start.config
        training = PretrainingRun(
            self.model,
            self.objective,
            self._choose_optimizer(),
            self.corpus,
            RunSettings(
                evaluations=config.evaluations,
                checkpoint_minutes=config.checkpoint_minutes,
                minutes=config.minutes,
                device=self.compute.device,
                keeps_best=True,
                watches_spikes=False,  # a conversation of another kind is no fault
                calibration_steps=calibration_steps(model, self.compute.device),
                closing_evaluations=tests_in_evaluations(self.corpus),
            ),
            parallel=self.parallel,
            folder=self.folder.path / CHECKPOINTS,
            tokenizer_folder=self.prepared,
            log=self.folder.log,
            measure=self._measure,
            start=begun,
        )
        training.state.compute = self.compute.to_dict()
        training.state.microbatch_split.count = noted_split(self.folder)
        training.state.made_from = {
            "base": self.start.weights_hash[:12],
            "conversations": self.source.fingerprint[:12],
            **asdict(model),
        }
        return training

    def _begin(self) -> None:
        log, training = self.folder.log, self.training
        budget, shape = choices.budget_of(self.config), choices.shape_of(self.config, self.corpus)
        refuse_too_few_updates(budget, shape, tokens_per_epoch=self.corpus.tokens_per_epoch)
        log.write(
            "stage_started",
            config=self.folder.manifest.config,
            inputs=self.folder.manifest.inputs,
            synthetic=self.source.summary.get("synthetic", False),
        )
        scratch, sentence = self.config.from_scratch, self.start.describe_start(self.config)
        log.write("started_from", **self.start.describe(), from_scratch=scratch, sentence=sentence)
        log.write("notice", sentence=f"Training on {self.compute.describe()}.")
        log.write("notice", sentence=self._describe_rates())
        log.write("references", uniform_nats=float(np.log(self.start.config.vocab_size)))
        self._note_base()
        initial = {name: tensor.cpu().clone() for name, tensor in trained_tensors(self.model).items()}
        pace = training.calibrate()
        plan = training.make_plan(budget, shape, pace)
        self.folder.note(plan=plan.to_dict())
        seconds = training.elapsed() + seconds_of_plan(plan, pace, self.config)
        log.write(
            "estimate",
            tokens_per_second=self.corpus.tokens_per_step / pace.short_step_seconds,
            memory_bytes=self._memory_bytes(),
            disk_bytes=disk_bytes(self.config, self.model, training.optimizer_config.kind, plan, pace, self.prepared),
            parameters=cost.count_parameters(self.start.config),
            trained_parameters=self.num_trained,
            minutes=seconds / 60,
            size=name_shape(self.start.config),
            objective="replies",
            **{name: value for name, value in self.compute.to_dict().items() if name != "torch_version"},
        )
        log.write("plan", **plan.to_dict(), **describe_budget(budget, plan))
        self._set_weights(initial)
        training.begin(plan)

    def _set_weights(self, weights: dict[str, Tensor]) -> None:
        def write(model: nn.Module) -> None:
            model.load_state_dict(weights, strict=False)

        self.training.set_weights(write)

    def _memory_bytes(self) -> int:
        chat, corpus = self.chat, self.corpus
        return choices.memory_bytes(
            self.start.config,
            self.num_optimized,
            corpus.micro_batch_tokens,
            chat.row_tokens,
            chat.supervised_fraction,
            self.compute.device,
        )

    def _describe_rates(self) -> str:
        optimizer, corpus = self.training.optimizer_config, self.corpus
        name = "Muon and AdamW" if optimizer.kind == "muon" else "AdamW"
        return (
            f"{name} with a peak learning rate of {optimizer.matrix_rate:g}; "
            f"{counted(corpus.conversations_per_step, 'conversation')} per update ({corpus.tokens_per_step:,.0f} "
            f"tokens, in rows of up to {self.chat.row_tokens:,}); "
            f"{self.num_trained:,} of {sum(p.numel() for p in self.model.parameters()):,} weights are trained."
        )

    def _note_base(self) -> None:
        """Measure the test conversations before the first update; a resumed run needs the losses, so they are kept."""
        if self.folder.manifest.summary.get("base_test") is None:
            found = self._measure_test()
            losses = [round(loss, 6) for loss in found.losses.tolist()]
            self.folder.note(base_test={"losses": losses, **found.describe()})

    def _resume(self, state: TrainingState) -> None:
        log_compute_change(state, self.compute.to_dict(), self.folder.log)
        self.training.resume(state, noted_split(self.folder))
        if self.compute.is_compiled:
            self.training.compile_again()

    # -- measuring -----------------------------------------------------------------------------------------------

    def _measure(self) -> dict[str, Any]:
        found = measure_replies(self.objective, self.corpus.validation, self.compute.device, self.parallel)
        return {
            **found.describe(),
            "summary": {},  # the manifest has the figures of the test conversations
            "row_losses": found.losses,
            "row_corrects": found.corrects,
            "row_counts": found.counts,
        }

    def _measure_test(self) -> ReplyLosses:
        with self.ranks.patient():
            return measure_replies(self.objective, self.corpus.test, self.compute.device, self.parallel)

    # -- after the last step -------------------------------------------------------------------------------------

    def _finish(self) -> None:
        log, training = self.folder.log, self.training
        best_step = training.restore_best()
        # Not `step`, by which a resumed run would find the event already logged.
        log.write("chosen", kept_step=best_step, sentence=self._describe_choice(best_step))
        measured = self._measure_test()
        base = dict(self.folder.manifest.summary["base_test"])
        before = np.array(base.pop("losses"))
        figures = {
            "measured_on": self.corpus.tested_on,
            **measured.describe(),
            **measured.describe_change(before),
            "base_loss": base["loss"],
            "base_perplexity": base["perplexity"],
            "base_accuracy": base["accuracy"],
        }
        log.write("replies", **figures)
        summary = TuningSummary(
            steps=training.state.step,
            best_step=best_step,
            tokens=training.state.tokens,
            epochs=training.state.tokens / self.corpus.tokens_per_epoch,
        )
        save = partial(save_tuned, self.folder.path, self.model, self.start, self.chat, self.source, self.config)
        self.ranks.answer(lambda: save(summary, figures), "the last save")
        self.folder.log_flow(
            {"conversations": self.corpus.num_conversations, "training tokens": self.corpus.tokens_per_epoch},
            {"parameters": cost.count_parameters(self.start.config), "tokens seen": training.state.tokens},
            seconds=training.elapsed(),
        )
        finish_together(
            self.ranks,
            self.folder,
            lambda: save_trained_texts(self.folder.path, self.start, self.chat, self.config),
            leftovers=self.folder.path / CHECKPOINTS,  # last, because a run resumed just before reads from it
            task="chat",
            base=self.start.describe(),
            model=asdict(self.start.config),
            **asdict(summary),
            trained_parameters=self.num_trained,
            compute=training.state.compute,
            synthetic=self.source.summary.get("synthetic", False),
            notice=self.source.summary.get("notice"),
            base_test=None,
            **figures,
        )

    def _describe_choice(self, best_step: int) -> str:
        steps, best = self.training.state.step, self.training.state.more["best"]
        lead = f"Kept: the weights of step {best_step:,} of {steps:,}"
        if best_step == 0:
            return (
                f"{lead}, that is, those before training: no evaluation had a lower loss on the validation replies "
                "(see --learning-rate, or give more conversations)."
            )
        last = "the last ones" if best_step == steps else "not the last ones; fewer epochs would probably be better"
        return f"{lead}, with the lowest loss on the validation replies ({best['loss']:.3f} nats); {last}."
