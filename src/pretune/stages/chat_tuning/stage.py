"""Stage 5 for conversations: a causal model and prepared conversations in; a model that replies out."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from pretune.compute.device import Compute, choose_compute, device_at_hand, use_threads
from pretune.compute.ranks import ALONE, Ranks, join_ranks, open_together
from pretune.data.rank_slice import RankSlice
from pretune.errors import InputDataError, ModelError, OutOfResourcesError, UsageError
from pretune.model import cost
from pretune.model.adapter_folder import save_adapter_folder
from pretune.model.config import name_shape
from pretune.model.folder import save_model_folder
from pretune.model.lora import lora_layers, merged
from pretune.runtime.atomic import remove_folder, write_json, write_text
from pretune.runtime.interruption import StopFlag, stop_on_signals
from pretune.runtime.manifest import Manifest, check_hashes, read_manifest
from pretune.runtime.memory import peak_memory_bytes
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import ChatTuningConfig, to_identity
from pretune.stages.chat_tuning import choices
from pretune.stages.chat_tuning.conversations import ChatCorpus, ChatShape, PreparedChat
from pretune.stages.chat_tuning.estimate import disk_bytes, seconds_of_plan
from pretune.stages.chat_tuning.model_card import write_card
from pretune.stages.chat_tuning.starting_model import StartingModel, open_start
from pretune.text.seen_texts import PRETRAINING, TRAINING, hand_on_seen, load_seen, save_seen
from pretune.training.budget import plan_run
from pretune.training.checkpoint import TrainingState, log_compute_change, trained_tensors
from pretune.training.distributed_checkpoint import resume_together
from pretune.training.objective import TokenObjective
from pretune.training.parallel import Parallel
from pretune.training.pretraining_run import PretrainingRun, RunSettings
from pretune.training.reply_losses import ReplyLosses, measure_replies
from pretune.training.schedule import Plan
from pretune.training.threaded_objective import in_lanes

CHECKPOINTS, ADAPTER = "checkpoints", "adapter"


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
    with the same result as without one. Raises the errors of `open_start`, InputDataError for the conversations,
    OutOfResourcesError if a single row does not fit into memory, InterruptedByUserError or StoppedError after a signal
    and a commit.
    """
    use_threads(config.threads)
    prepared, out = Path(prepared), Path(out)
    source = read_manifest(prepared, "prepare")
    start = open_start(Path(pretrained), prepared, config)
    ranks = ALONE if alone else join_ranks()
    inputs = {"pretrained": start.weights_hash, "prepared": source.fingerprint}
    folder = open_together(
        ranks, out, lambda: open_stage(out, "finetune", config=to_identity(config), inputs=inputs, redo=redo)
    )
    if folder.is_finished:
        if ranks.is_first:  # still there only if the stage was killed at the very end
            remove_folder(folder.path / CHECKPOINTS)
        return folder.manifest
    try:
        ranks.answer(lambda: check_hashes(prepared, source), "comparing the conversations")
        with stop_on_signals() as stop, ranks.naming_losses():
            _ChatTuning(start, prepared, source, folder, config, ranks).run(stop)
    except (InputDataError, OutOfResourcesError, UsageError, ModelError):
        # Refused before it began, so that the corrected command needs no --redo.
        if ranks.is_first and not (folder.path / CHECKPOINTS).is_dir():
            folder.close()
            remove_folder(folder.path)
        raise
    finally:
        folder.close()
        ranks.close_group()
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
        self.compute = self._choose_compute()
        self.model = start.make(config).to(self.compute.device)
        self.num_trained = sum(tensor.numel() for tensor in trained_tensors(self.model).values())
        self.chat = PreparedChat(prepared, start.model.config.max_seq_len)
        self.corpus = self._open_corpus()
        self.parallel = Parallel(self.model, ranks)
        plain = TokenObjective(self.model, self.compute.dtype, compiled=self.compute.is_compiled)
        self.objective = self.parallel.wrap(in_lanes(plain, self.model, self.compute))
        self.training = self._make_training(begun)

    def run(self, stop: StopFlag) -> None:
        """Resume or start, train to the end of the plan, save the model."""
        training = self.training
        restored = resume_together(
            self.parallel,
            training.folder,
            training.optimizer,
            self.folder.log,
            was_begun=self.folder.is_resumed,
            made_from=training.state.made_from,
        )
        if restored is not None:
            self._resume(restored)
        else:
            self._begin()
        training.train(stop)
        self._finish()

    # -- before the first step -----------------------------------------------------------------------------------

    def _choose_compute(self) -> Compute:
        """The device of this process; precision as chosen by the first process."""
        own = choose_compute(precision=self.config.precision, compile="off", processes=self.ranks.size)
        precision = self.ranks.answer(lambda: own.precision, "the start")
        return replace(own, precision=precision)

    def _open_corpus(self) -> ChatCorpus:
        chosen = self.folder.manifest.summary.get("rows")  # as the run began, even if less memory is free now
        if chosen is None:
            choose = partial(
                choices.choose_shape, self.config, self.start.config, self.chat, self.num_trained, self.compute.device
            )
            chosen = self.ranks.answer(lambda: vars(choose()), "the size of a micro-batch")
            self.folder.note(rows=chosen)
        rank_slice = RankSlice(rank=self.ranks.rank, size=self.ranks.size)
        return ChatCorpus(self.chat, ChatShape(**chosen), self.config.seed, rank_slice)

    def _make_training(self, begun: float) -> PretrainingRun:
        config, model = self.config, self.start.config
        training = PretrainingRun(
            self.model,
            self.objective,
            choices.optimizer_config(config, model, self.compute),
            self.corpus,
            RunSettings(
                evaluations=config.evaluations,
                checkpoint_minutes=config.checkpoint_minutes,
                minutes=config.minutes,
                device=self.compute.device,
                keeps_best=True,
                watches_spikes=False,  # a conversation of another kind is no fault
                calibration_steps=choices.calibration_steps(model, self.compute.device),
            ),
            parallel=self.parallel,
            folder=self.folder.path / CHECKPOINTS,
            tokenizer_folder=self.prepared,
            log=self.folder.log,
            measure=self._measure,
            start=begun,
        )
        training.state.compute = self.compute.to_dict()
        training.state.microbatch_split.count = self._noted_split
        training.state.made_from = {
            "base": self.start.weights_hash[:12],
            "conversations": self.source.fingerprint[:12],
            **asdict(model),
        }
        return training

    @property
    def _noted_split(self) -> int:
        """The pieces of a micro-batch that an earlier attempt ended with because a process ran out of memory."""
        return int(self.folder.manifest.summary.get("pieces", 1))

    def _begin(self) -> None:
        log, training = self.folder.log, self.training
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
        shape = choices.shape_of(self.config, self.corpus)
        budget = choices.budget_of(self.config)
        tokens, elapsed = self.corpus.tokens_per_epoch, training.elapsed()
        make_plan = partial(plan_run, budget, shape, pace, tokens_per_epoch=tokens, elapsed_seconds=elapsed)
        plan = Plan(**self.ranks.answer(lambda: make_plan().to_dict(), "the plan"))
        self.folder.note(plan=plan.to_dict())
        seconds = training.elapsed() + seconds_of_plan(plan, pace, self.config, self.corpus)
        log.write(
            "estimate",
            tokens_per_second=self.corpus.tokens_per_step / pace.short_step_seconds,
            memory_bytes=self._memory_bytes(),
            disk_bytes=disk_bytes(self.config, self.model, plan, pace, self.prepared),
            parameters=cost.count_parameters(self.start.config),
            trained_parameters=self.num_trained,
            minutes=seconds / 60,
            size=name_shape(self.start.config),
            objective="replies",
            **{name: value for name, value in self.compute.to_dict().items() if name != "torch_version"},
        )
        given = {name: value for name, value in vars(budget).items() if value is not None}
        log.write("plan", **plan.to_dict(), budget=given, tokens=plan.steps * plan.tokens_per_step)
        self._set_weights(initial)
        training.begin(plan)

    def _set_weights(self, weights: dict[str, Tensor]) -> None:
        def write(model: nn.Module) -> None:
            model.load_state_dict(weights, strict=False)

        self.parallel.spread(write)
        self.training.reset_optimizer()

    def _memory_bytes(self) -> int:
        chat, corpus = self.chat, self.corpus
        return choices.memory_bytes(
            self.start.config, self.num_trained, corpus.micro_batch_tokens, chat.row_tokens, chat.supervised_fraction
        )

    def _describe_rates(self) -> str:
        optimizer, corpus = self.training.optimizer_config, self.corpus
        name = "Muon and AdamW" if optimizer.kind == "muon" else "AdamW"
        return (
            f"{name} with a peak learning rate of {optimizer.matrix_rate:g}; {corpus.shape.batch_size} conversations "
            f"per update ({corpus.tokens_per_step:,.0f} tokens, in rows of up to {self.chat.row_tokens:,}); "
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
        self.training.resume(state, self._noted_split)

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
        self.ranks.answer(lambda: self._save(figures), "the last save")
        seconds, peak = training.elapsed(), peak_memory_bytes()
        log.write(
            "flow",
            shape_in=[
                {"name": "conversations", "value": self.corpus.num_conversations},
                {"name": "training tokens", "value": self.corpus.tokens_per_epoch},
            ],
            shape_out=[
                {"name": "parameters", "value": cost.count_parameters(self.start.config)},
                {"name": "tokens seen", "value": training.state.tokens},
            ],
            dropped=[],
            seconds=seconds,
            peak_memory_bytes=peak,
        )
        log.write("stage_finished", seconds=seconds, peak_memory_bytes=peak)
        if self.ranks.is_first:
            self._save_seen()
        self.folder.finish(
            task="chat",
            base=self.start.describe(),
            model=asdict(self.start.config),
            steps=training.state.step,
            best_step=best_step,
            tokens=training.state.tokens,
            epochs=training.state.tokens / self.corpus.tokens_per_epoch,
            trained_parameters=self.num_trained,
            compute=training.state.compute,
            synthetic=self.source.summary.get("synthetic", False),
            notice=self.source.summary.get("notice"),
            base_test=None,
            **figures,
        )
        if self.ranks.is_first:  # last, because a run resumed just before reads from it
            remove_folder(self.folder.path / CHECKPOINTS)

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

    def _save(self, figures: dict[str, Any]) -> None:
        facts = {"task": "chat", "notice": self.source.summary.get("notice")}
        plain = merged(self.model) if lora_layers(self.model) else self.model
        card = write_card(
            self.start.describe_start(self.config),
            figures,
            num_conversations=self.corpus.num_conversations,
            files=[Path(str(name)).name for name in self.source.summary.get("files", [])],
            notice=facts["notice"],
        )

        def write_more(partial: Path) -> None:
            write_text(partial / "README.md", card)
            write_json(partial / "generation_config.json", self._generation_fields)

        save_model_folder(
            self.folder.path / "checkpoint", plain, self.prepared, write_more=write_more, **_without_none(facts)
        )
        if self.start.lora is not None:
            save_adapter_folder(
                self.folder.path / ADAPTER,
                self.model,
                self.prepared,
                self.start.lora,
                base=self.start.folder.path.resolve(),
                base_hash=self.start.weights_hash,
                added=self.start.added,
            )

    @cached_property
    def _generation_fields(self) -> dict[str, Any]:
        """Settings of transformers for generation: a reply ends with the mark after it, or with the text."""
        config = self.start.config
        ends = dict.fromkeys((self.chat.turn_end_id, config.eos_token_id))
        return {"bos_token_id": config.bos_token_id, "eos_token_id": list(ends), "pad_token_id": config.pad_token_id}

    def _save_seen(self) -> None:
        """Record the messages that the new model was trained on, and the texts of its base."""
        if self.config.from_scratch:
            save_seen(self.folder.path, PRETRAINING)
            save_seen(self.folder.path, TRAINING, self.chat.training_texts())
            return
        hand_on_seen(self.start.folder.path, self.folder.path, PRETRAINING)
        before = load_seen(self.start.folder.path, TRAINING)
        save_seen(self.folder.path, TRAINING, self.chat.training_texts(), None if before is None else before.hashes)


def _without_none(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}
