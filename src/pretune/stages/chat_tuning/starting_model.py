"""A base and prepared conversations in; the model that training starts from out, or a sentence why it cannot."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, ModelError
from pretune.model.adapter_folder import hash_weights
from pretune.model.added_tokens import train_only_rows, with_added_tokens
from pretune.model.base_folder import BaseFolder, read_base_folder
from pretune.model.config import ModelConfig, name_shape
from pretune.model.folder import load_model_folder
from pretune.model.lora import LoraConfig, add_lora, check_lora
from pretune.model.transformer import LanguageModel, initialize
from pretune.runtime.randomness import derive_seed
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning.choices import check_freeze, lora_config
from pretune.text.chat.tokens import only_adds_chat_tokens
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.checkpoint import trained_tensors


@dataclass(frozen=True, kw_only=True)
class StartingModel:
    """A base as it is on disk, with the tokens that the chat template adds to its vocabulary."""

    given: Path  # as the user wrote it
    folder: BaseFolder
    model: LanguageModel
    weights_hash: str
    vocab_size: int  # of the tokenizer of the conversations
    added: tuple[int, ...]  # ids of the tokens that the base's tokenizer lacks
    lora: LoraConfig | None

    @property
    def config(self) -> ModelConfig:
        """The geometry of the model that is trained."""
        size = max(self.model.config.vocab_size, self.vocab_size)
        return replace(self.model.config, vocab_size=size, objective="causal")

    def make(self, config: ChatTuningConfig) -> LanguageModel:
        """The model before the first update; what is frozen does not require a gradient.

        It is the same in every attempt of a run. Unless its vocabulary grows, it shares its weights with this base.
        """
        if config.from_scratch:
            model = LanguageModel(self.config)
            initialize(model, derive_seed(config.seed, "weights"))
            return model
        model = with_added_tokens(self.model, self.added, self.vocab_size, config.seed)
        model.config = model.transformer.config = self.config
        if self.lora is not None:
            add_lora(model, self.lora, config.seed)
            train_only_rows(model, self.added)
        elif config.freeze:
            frozen = [model.transformer.embed_tokens, *model.transformer.blocks[: config.freeze]]
            for module in frozen:
                module.requires_grad_(False)
            train_only_rows(model, self.added)
        return model.train()

    def count_trained(self, model: LanguageModel, config: ChatTuningConfig) -> int:
        """How many weights of a made model its updates change: of an embedding that is frozen but for the added tokens,
        only their rows, although all of it has a gradient."""
        count = sum(tensor.numel() for tensor in trained_tensors(model).values())
        frozen = [model.transformer.embed_tokens.weight] if self.added and (self.lora or config.freeze) else []
        if frozen and self.lora and not model.config.tie_word_embeddings:
            frozen.append(model.lm_head.weight)
        return count - sum((len(table) - len(self.added)) * table.shape[1] for table in frozen)

    def describe(self) -> dict[str, Any]:
        """Its lineage as JSON values, for the log and the manifest of the new model."""
        before = self.folder.summary
        known: dict[str, Any] = {
            name: before[name] for name in ("task", "steps", "tokens", "loss", "base") if name in before
        }
        return {"path": str(self.given), "weights_sha256": self.weights_hash, **known}

    def describe_start(self, config: ChatTuningConfig) -> str:
        """A sentence: from what training starts, and what of it is trained."""
        shape = name_shape(self.config)
        if config.from_scratch:
            return f"Training starts from random weights, with the shape ({shape}) and the tokenizer of {self.given}."
        how = "all of its weights are trained"
        if self.lora is not None:
            how = (
                f"its weights stay as they are, and corrections of rank {self.lora.rank} are trained for "
                f"{', '.join(self.lora.targets)}"
            )
        elif config.freeze:
            how = f"its embedding and its lowest {config.freeze} layers stay as they are"
        added = ""
        if self.added:
            added = f" Its vocabulary grows by {len(self.added)} tokens of the chat template, which are trained."
        return f"Training starts from {self.given} ({shape}); {how}.{added}"


def open_start(pretrained: Path, prepared: Path, config: ChatTuningConfig) -> StartingModel:
    """The base at a path, for conversations that were prepared for it.

    Raises ModelNotFoundError or CorruptModelError for its folder, ModelError if it cannot generate text, InputDataError
    if the conversations were prepared for another tokenizer, UsageError for settings that do not fit its shape.
    """
    folder = read_base_folder(pretrained)
    loaded = load_model_folder(folder.path)
    model = loaded.model
    if not isinstance(model, LanguageModel):
        raise ModelError(
            f"{pretrained} is no language model, so it cannot learn to reply; give a causal or hybrid model that "
            "pretune pre-trained, or a model folder of the shape of Llama."
        )
    if not model.config.can_generate and not config.from_scratch:
        raise ModelError(
            f"{pretrained} was trained to predict missing words only, so it cannot learn to reply from conversations "
            "alone. Train it further to predict the next token: pretune pretrain PREPROCESSED --from "
            f"{shlex.quote(str(pretrained))} --objective causal --out DIR, and give that folder."
        )
    own, base = load_tokenizer(prepared), load_tokenizer(loaded.tokenizer_path)
    if not only_adds_chat_tokens(own, base):
        raise InputDataError(
            f"{prepared} was encoded with another tokenizer than that of {pretrained}; run prepare with --base "
            f"{shlex.quote(str(pretrained))}."
        )
    lora = lora_config(config)
    if lora is not None:
        check_lora(lora, model.config)
    check_freeze(config, model.config)
    known = base.backend.get_vocab(with_added_tokens=True).values()
    added = set(own.backend.get_vocab(with_added_tokens=True).values()) - set(known)
    return StartingModel(
        given=Path(pretrained),
        folder=folder,
        model=model,
        weights_hash=hash_weights(model),
        vocab_size=own.vocab_size,
        added=tuple(sorted(added)),
        lora=lora,
    )
