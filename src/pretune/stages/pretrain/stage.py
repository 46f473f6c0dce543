"""Stage 3: token shards in, a model that predicts missing or next tokens out; a resumed run ends the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretune.builtin_world.world import SUNRISE
from pretune.compute.device import device_at_hand, refuse_without_compiler, use_threads
from pretune.compute.ranks import ALONE, Ranks, join_ranks, open_together
from pretune.data.pretraining_data import Corpus
from pretune.data.rank_slice import RankSlice
from pretune.data.special_ids import special_ids
from pretune.model import cost
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.model.config import PRESETS, ModelConfig, name_shape, with_special_tokens
from pretune.model.folder import GENERATION_CONFIG_NAME, save_model_folder
from pretune.model.native_config import generation_fields
from pretune.model.transformer import INITIAL_DEVIATION, LanguageModel, initialize
from pretune.runtime.atomic import write_json
from pretune.runtime.interruption import StopFlag
from pretune.runtime.manifest import Manifest, check_hashes, hash_json, read_manifest
from pretune.runtime.randomness import derive_seed
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import PretrainConfig, to_identity
from pretune.stages.pretrain.base_model import BaseModel, fit_to_base, open_base, resolve_objective
from pretune.stages.pretrain.choices import (
    budget_of,
    check_memory,
    choose_size,
    describe_compute,
    is_worth_compiling,
    longest_row,
    optimizer_config,
    row_settings,
    shape_of,
)
from pretune.stages.pretrain.estimate import (
    disk_bytes,
    estimate_fields,
    seconds_of_plan,
    tokenizer_bytes,
)
from pretune.stages.pretrain.measurement import Measurement, Samples, choose_prompts
from pretune.text.document_store import iter_corpus
from pretune.text.seen_texts import PRETRAINING, TRAINING, hand_on_seen, join_seen, load_seen, save_seen
from pretune.text.token_shards import SHARD_ENDINGS
from pretune.text.tokenizer.files import TOKENIZER_NAME
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.training.budget import calibration_steps, describe_budget, refuse_too_few_updates
from pretune.training.checkpoint import TrainingState, log_compute_change
from pretune.training.initial_embedding import build_word_vectors
from pretune.training.objective import TokenObjective
from pretune.training.parallel import Parallel
from pretune.training.pretraining_run import PretrainingRun, RunSettings
from pretune.training.probes import HiddenWord, choose_unseen, hide_word, hide_words, predict_hidden
from pretune.training.threaded_objective import in_lanes
from pretune.training.training_stage import (
    CHECKPOINTS,
    at_training,
    choose_compute_together,
    finish_together,
    noted_split,
)

_NUM_PROBES = 6
_PROBE_POOL = 2000  # validation documents from which the sentences are drawn
_PROBE_CANDIDATES = 120  # so many are drawn, to keep those that are not in the training text


def pretrain(
    preprocessed: Path,
    out: Path,
    config: PretrainConfig = PretrainConfig(),
    *,
    base: Path | None = None,
    redo: bool = False,
    alone: bool = False,
) -> Manifest:
    """Train a transformer to predict masked or next tokens of the shards in `preprocessed`, into `out/checkpoint`.

    With `base`, a run, stage folder or model folder, training starts from the weights of that language model, whose
    tokenizer must have encoded the shards. The same call resumes after an interruption, with the same result as without
    one. The processes of a launch train together, unless only this one makes the call, with `alone`. Raises
    InputDataError if the text is too small for the budget, InterruptedByUserError or StoppedError after a signal and a
    commit, and the errors of `open_base` for a base.
    """
    use_threads(config.threads)
    refuse_without_compiler(config.compile)
    source, out = read_manifest(Path(preprocessed), "preprocess"), Path(out)
    base_model = None if base is None else open_base(base, config, source)
    ranks, inputs = ALONE if alone else join_ranks(), {"preprocessed": source.fingerprint}
    if base_model is not None:
        inputs["base"] = base_model.fingerprint
    folder = open_together(
        ranks, out, lambda: open_stage(out, "pretrain", config=to_identity(config), inputs=inputs, redo=redo)
    )
    if folder.is_finished:
        return folder.manifest
    read = (*SHARD_ENDINGS, TOKENIZER_NAME)
    with at_training(folder, ranks, lambda: check_hashes(Path(preprocessed), source, read)) as stop:
        _Pretraining(Path(preprocessed), source, folder, config, ranks, base_model).run(stop)
    return folder.manifest


class _Pretraining:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(
        self,
        preprocessed: Path,
        source: Manifest,
        folder: StageFolder,
        config: PretrainConfig,
        ranks: Ranks,
        base: BaseModel | None,
    ) -> None:
        start = time.monotonic()
        ranks.open_group(device_at_hand(), config.hang_seconds, keep_note=lambda note: folder.note(**note))
        self.ranks, self.base = ranks, base
        self.source_path, self.source, self.folder = preprocessed, source, folder
        self.config = fit_to_base(config, base)
        self.tokenizer: Tokenizer = load_tokenizer(preprocessed)
        self.budget = budget_of(config)
        self.corpus = Corpus(
            preprocessed,
            row_settings(
                self.config,
                self.budget,
                device_at_hand(),
                base=None if base is None else base.config,
                begun=folder.manifest.summary,
            ),
            special_ids(self.tokenizer),
            self.tokenizer.is_sentence_end,
            RankSlice(rank=ranks.rank, size=ranks.size),
        )
        self.shape = shape_of(self.config, self.corpus, has_base=base is not None)
        self.compute = choose_compute_together(
            ranks, self.config.precision, self.config.compile, is_worth_compiling=self._wants_compiling()
        )
        self.model_config = self._choose_model()
        self.example = self._hide_example()
        self.samples = self._choose_samples()
        fits = partial(check_memory, self.model_config, self.config, self.corpus, self.compute.device)
        ranks.answer(lambda: fits(has_base=base is not None), "the memory")
        self.model = LanguageModel(self.model_config).to(self.compute.device)
        self.parallel = Parallel(self.model, ranks)
        objective = TokenObjective(
            self.model,
            self.compute.dtype,
            compiled=self.compute.is_compiled,
            neighbour_weight=self.config.neighbour_weight or 0.0,
        )
        self.objective = self.parallel.wrap(in_lanes(objective, self.model, self.compute))
        self.training = self._make_training(start)

    def run(self, stop: StopFlag) -> None:
        """Resume or start, train to the end of the plan, save the model."""
        restored = self.training.restore(was_begun=self.folder.is_resumed)
        if restored is not None:
            self._resume(restored)
        else:
            self._start()
        self.training.train(stop)
        self._finish()

    # -- before the first step -----------------------------------------------------------------------------------

    def _choose_model(self) -> ModelConfig:
        objective = resolve_objective(self.config, None)  # which is known by now
        if self.base is not None:
            self.size = name_shape(self.base.config)
            return replace(self.base.config, objective=objective)
        begun = self.folder.manifest.summary.get(
            "size"
        )  # when it is resumed, another machine might choose another size
        tokens = self.corpus.tokens_per_epoch
        self.size = begun or self.ranks.answer(
            lambda: choose_size(self.config.size, self.budget, tokens, self.compute), "the start"
        )
        ids = self.tokenizer.special_ids
        config = replace(PRESETS[self.size](self.tokenizer.vocab_size), objective=objective)
        config = replace(config, max_seq_len=max(config.max_seq_len, longest_row(self.config, self.corpus)))
        return with_special_tokens(config, pad=ids["pad"], bos=ids["bos"], eos=ids["eos"], mask=ids["mask"])

    def _hide_example(self) -> HiddenWord | None:
        """The example of the run with one word hidden, if the model is to fill in words."""
        example = self.source.summary.get("example") if self.model_config.can_fill else None
        return hide_word(example["text"], self.tokenizer, self.config.seed) if example else None

    def _choose_samples(self) -> Samples:
        """What the model predicts again at every evaluation."""
        return Samples(
            hidden_words=self._choose_probes() if self.model_config.can_fill else (),
            prompts=choose_prompts(
                (row["text"] for row in self._held_out()), is_synthetic=bool(self.source.summary.get("synthetic"))
            )
            if self.model_config.can_generate
            else (),
        )

    def _choose_probes(self) -> list[HiddenWord]:
        """Sentences to probe that are not in the training text. On built-in data the sunrise comes first."""
        summary, tokenizer, seed = self.source.summary, self.tokenizer, self.config.seed
        sunrise = hide_word(SUNRISE, tokenizer, seed, word="east") if summary.get("synthetic") else None
        candidates = [] if sunrise is None else [sunrise]
        texts = [row["text"] for row in islice(self._held_out(), _PROBE_POOL)]
        if self.base is not None and self.base.folder.seen is not None:
            is_known = self.base.folder.seen.among(texts)
            texts = [text for text, known in zip(texts, is_known, strict=True) if not known] or texts
        candidates += hide_words(texts, tokenizer, _PROBE_CANDIDATES, seed)
        return choose_unseen(candidates, _NUM_PROBES, self.corpus.train, tokenizer)

    def _held_out(self) -> Iterator[dict[str, Any]]:
        """The validation documents."""
        return (row for row in iter_corpus(self.source_path) if row["split"] == "validation")

    def _make_training(self, start: float) -> PretrainingRun:
        config = self.config
        training = PretrainingRun(
            self.model,
            self.objective,
            optimizer_config(config, self.compute, None if self.base is None else self.base.config),
            self.corpus,
            RunSettings(
                evaluations=config.evaluations,
                checkpoint_minutes=config.checkpoint_minutes,
                minutes=self.budget.minutes,
                device=self.compute.device,
                calibration_steps=calibration_steps(self.model_config, self.compute.device),
            ),
            parallel=self.parallel,
            folder=self.folder.path / CHECKPOINTS,
            tokenizer_folder=self.source_path,
            log=self.folder.log,
            measure=Measurement(self.model, self.objective, self.corpus, self.tokenizer, self.samples, self.parallel),
            start=start,
        )
        training.state.compute = self.compute.to_dict()
        training.state.microbatch_split.count = noted_split(self.folder)
        training.state.made_from = {**asdict(self.model_config), **self._describe_text(), "optimizer": config.optimizer}
        if self.base is not None:
            training.state.made_from["base"] = self.base.fingerprint[:12]
        return training

    def _describe_text(self) -> dict[str, Any]:
        """Hashes of tokenizer and token shards, to name the one that differs when a run is resumed."""
        hashes = {name: output["sha256"][:12] for name, output in self.source.outputs.items()}
        shards = {name: value for name, value in hashes.items() if Path(name).suffix in SHARD_ENDINGS}
        settings = self.corpus.settings
        return {
            "tokenizer": hashes.get(TOKENIZER_NAME),
            "token shards": hash_json(shards)[:12],
            "tokens_per_step": settings.tokens_per_step,
            "row_tokens": settings.row_tokens,
            "seed": settings.seed,
        }

    def _initialize(self) -> None:
        def write(model: nn.Module) -> None:
            assert isinstance(model, LanguageModel)
            if self.base is not None:
                model.load_state_dict(self.base.weights)
                return
            initialize(model, derive_seed(self.config.seed, "weights"))
            if self.config.initial_embedding == "vectors":
                ids, vectors = map(torch.from_numpy, self.vectors)
                embedding = model.transformer.embed_tokens.weight
                with torch.no_grad():
                    embedding[ids] = vectors.to(embedding.device)

        self.training.set_weights(write)

    def _start(self) -> None:
        log = self.folder.log
        refuse_too_few_updates(self.budget, self.shape, tokens_per_epoch=self.corpus.tokens_per_epoch)
        log.write(
            "stage_started",
            config=self.folder.manifest.config,
            inputs=self.folder.manifest.inputs,
            synthetic=self.source.summary.get("synthetic", False),
        )
        for sentence in describe_compute(
            self.compute, self.config, self.model_config, wants_compiling=self._wants_compiling()
        ):
            log.write("notice", sentence=sentence)
        if self.base is not None:
            self._log_base(self.base)
        if self.corpus.neighbours is not None:
            weight = f"{self.config.neighbour_weight:g}"
            sentence = f"A second loss (weight {weight}) predicts the words around a row from the mean of its vectors."
            log.write("notice", sentence=sentence)
        if any(word.is_in_training for word in self.samples.hidden_words):
            sentence = "All probe sentences from the validation text also occur in the training text."
            log.write("notice", sentence=sentence)
        log.write("references", **self.corpus.references(self.model_config.vocab_size))
        if self.config.initial_embedding == "vectors":
            self.ranks.answer(self._build_vectors, "the initial vectors")
        self._initialize()
        pace = self.training.calibrate()
        plan = self.training.make_plan(self.budget, self.shape, pace)
        rows = self.corpus.settings
        self.folder.note(
            plan=plan.to_dict(),
            size=self.size,
            micro_batch_tokens=rows.micro_batch_tokens,
            validation_tokens=rows.validation_tokens,
        )
        log.write(
            "estimate",
            **estimate_fields(self.config, self.model_config, self.compute, self.corpus, pace),
            minutes=(self.training.elapsed() + seconds_of_plan(plan, pace, self.config)) / 60,
            disk_bytes=disk_bytes(self.config, self.model_config, plan, pace, tokenizer_bytes(self.source_path)),
            size=self.size,
        )
        log.write("plan", **plan.to_dict(), **describe_budget(self.budget, plan))
        self._initialize()
        if self.base is not None:
            self.base.weights.clear()  # they are in the model now
        self.training.begin(plan)

    def _log_base(self, base: BaseModel) -> None:
        self.folder.log.write("started_from", **base.describe(), sentence=base.describe_start())
        if base.folder.seen is None:
            return
        texts = [row["text"] for row in islice(self._held_out(), _PROBE_POOL)]
        count = int(base.folder.seen.among(texts).sum())
        if count:
            sentence = (
                f"The base was pre-trained on {count:,} of the first {len(texts):,} validation documents, so losses on "
                "the validation text may be too low."
            )
            self.folder.log.write("warning", rule="seen_in_pretraining", count=count, sentence=sentence)

    def _build_vectors(self) -> None:
        size, seed = self.model_config.hidden_size, self.config.seed
        self.vectors = build_word_vectors(self.corpus.train, self.tokenizer, size, seed, INITIAL_DEVIATION)

    def _resume(self, state: TrainingState) -> None:
        log_compute_change(state, self.compute.to_dict(), self.folder.log)
        if self.base is not None:
            self.base.weights.clear()  # the checkpoint has later ones
        self.training.resume(state, noted_split(self.folder))
        if self.compute.is_compiled:
            self.training.compile_again()

    def _finish(self) -> None:
        log, state = self.folder.log, self.training.state
        path = self.folder.path / CHECKPOINT_NAME
        self.ranks.answer(
            lambda: save_model_folder(
                path, self.model, self.source_path, write_more=self._write_stop_ids, step=state.step
            ),
            "the last save",
        )
        if self.example is not None:
            [shown] = predict_hidden(self.model, [self.example], self.tokenizer)
            log.write("example", text=self.example.text, **shown)
        self.folder.log_flow(
            {"training documents": self.corpus.num_documents, "training tokens": self.corpus.tokens_per_epoch},
            {"parameters": cost.count_parameters(self.model_config), "tokens seen": state.tokens},
            seconds=self.training.elapsed(),
        )
        lineage: dict[str, Any] = {} if self.base is None else {"base": self.base.describe()}
        finish_together(
            self.ranks,
            self.folder,
            self._save_seen,
            **lineage,
            model=asdict(self.model_config),
            tokens=state.tokens,
            steps=state.step,
            compute=state.compute,
            synthetic=self.source.summary.get("synthetic", False),
            example=self.source.summary.get("example"),
            split=self.source.summary.get("split"),
            **state.more["last_evaluation"],
        )

    def _write_stop_ids(self, folder: Path) -> None:
        """Write what a causal base ends a text with, if that is more than the one token in its config."""
        config, stop_ids = self.model_config, frozenset() if self.base is None else self.base.stop_ids
        if config.objective == "causal" and stop_ids - {config.eos_token_id}:
            write_json(folder / GENERATION_CONFIG_NAME, generation_fields(config, sorted(stop_ids)))

    def _save_seen(self) -> None:
        """Record the texts that the new model was pre-trained on: those of its base and of this stage."""
        if self.base is None:
            hand_on_seen(self.source_path, self.folder.path, PRETRAINING)
            return
        hand_on_seen(self.base.folder.path, self.folder.path, TRAINING)
        seen = join_seen(self.base.folder.seen, load_seen(self.source_path, PRETRAINING))
        if seen is not None:
            save_seen(self.folder.path, PRETRAINING, hashes=[seen.hashes], is_complete=seen.is_complete)

    def _wants_compiling(self) -> bool:
        return is_worth_compiling(self.budget, self.corpus.tokens_per_epoch)
