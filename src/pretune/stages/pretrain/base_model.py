"""A base and the settings of pre-training in; what training starts from out, or a sentence that says why it cannot.

Shape, tokenizer and weights are taken as they are. Momentum and moments of the optimizer start anew, under a warm-up,
since a finished model has none.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pretune.errors import InputDataError, ModelError, UsageError
from pretune.model.base_folder import BaseFolder, read_base_folder
from pretune.model.config import PREDICTED, ModelConfig, ObjectiveName, name_shape
from pretune.model.folder import load_model_folder, read_stop_ids
from pretune.model.transformer import LanguageModel
from pretune.runtime.manifest import Manifest
from pretune.settings import PretrainConfig
from pretune.text.tokenizer.files import TOKENIZER_NAME

# GPT-BERT judges sentences in causal order as well at 1:3 as at 1:1 (BLiMP 79.2), but not at 1:15 (77.1); with both
# sides in view it is best near 1:7 (84.8, and 84.3 if only masked). arXiv:2410.24159.
DEFAULT_CAUSAL_SHARE = 0.25
DEFAULT_NEIGHBOUR_WEIGHT = 0.1
_HAS_NO_EFFECT = ("size", "initial_embedding")  # settings of what the base has already


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A language model from which pre-training starts, in memory, with what its folder says."""

    given: Path  # as the user wrote it
    folder: BaseFolder
    fingerprint: str
    config: ModelConfig  # shape, special tokens and longest row, which the new model keeps
    objective: ObjectiveName  # of the new model
    stop_ids: frozenset[int]  # the tokens that end a text, of which its config keeps one only
    weights: dict[str, Tensor]  # by the names of a LanguageModel, in fp32 on the CPU

    def describe(self) -> dict[str, Any]:
        """Its lineage as JSON values, for the manifest of the new model."""
        before = self.folder.summary
        known: dict[str, Any] = {name: before[name] for name in ("steps", "tokens", "loss", "base") if name in before}
        return {
            "path": str(self.given),
            "fingerprint": self.fingerprint,
            "splits": sorted(self.folder.splits),
            **known,
        }

    def describe_start(self) -> str:
        """A sentence: from what training starts."""
        tokens = self.folder.trained_tokens
        trained = f", trained on {tokens:,} tokens" if tokens else ""
        start = f"Training starts from {self.given} ({name_shape(self.config)}{trained}), not from random weights."
        if self.objective == self.config.objective:
            return start
        before, now = PREDICTED[self.config.objective], PREDICTED[self.objective]
        return f"{start} It was trained to predict {before}, and now learns to predict {now}."


def open_base(base: Path, config: PretrainConfig, source: Manifest | None = None) -> BaseModel:
    """The base at a path; `source` is the manifest of the text it is to be trained on, if there is one already.

    Raises ModelNotFoundError or CorruptModelError for its folder, ModelError if it is no language model with a mask
    token, UsageError for settings that do not fit, InputDataError if the text has the ids of another tokenizer.
    """
    base = Path(base)
    folder = read_base_folder(base)
    model = load_model_folder(folder.path).model
    if not isinstance(model, LanguageModel):
        raise ModelError(
            f"{base} has no language model, so it cannot go on to predict words; give the output folder of "
            "pretrain, or a language model of the shape of EuroBERT or Llama."
        )
    _refuse_settings(config, model.config)
    objective = resolve_objective(config, model.config)
    replace(config, objective=objective)  # refuses settings of rows that it does not have
    if objective != "causal" and model.config.mask_token_id < 0:
        raise ModelError(
            f"{base} has no mask token, so it cannot learn to predict missing words; give --objective causal, or a "
            "base with a mask token, such as a EuroBERT model or a model that pretune pre-trained."
        )
    if source is not None:
        _refuse_other_tokenizer(base, folder, source)
    return BaseModel(
        given=base,
        folder=folder,
        fingerprint=folder.fingerprint,
        config=model.config,
        objective=objective,
        stop_ids=read_stop_ids(folder.path),
        weights=dict(model.state_dict()),
    )


def fit_to_base(config: PretrainConfig, base: BaseModel | None) -> PretrainConfig:
    """The settings as they are in effect: the objective and the weight of the words around a row are known; with a
    base, no vectors are computed, and no row is longer than it reads. Raises UsageError for settings of rows that the
    objective does not have.
    """
    objective = resolve_objective(config, None if base is None else base.config)
    config = replace(config, objective=objective)  # refuses settings of rows that it does not have
    if objective == "hybrid":
        config = replace(config, causal_share=config.causal_share or DEFAULT_CAUSAL_SHARE)
    if config.neighbour_weight is None:  # not measured for a model that is trained further
        is_usual = objective == "masked" and base is None
        config = replace(config, neighbour_weight=DEFAULT_NEIGHBOUR_WEIGHT if is_usual else 0.0)
    if base is None:
        return config
    return replace(
        config, initial_embedding="random", long_row_tokens=min(config.long_row_tokens, base.config.max_seq_len)
    )


def resolve_objective(config: PretrainConfig, base: ModelConfig | None) -> ObjectiveName:
    """The given objective; for `auto`, that of the base, or masked without one."""
    if config.objective != "auto":
        return config.objective
    return "masked" if base is None else base.objective


def _refuse_settings(config: PretrainConfig, model: ModelConfig) -> None:
    default = {field.name: field.default for field in fields(PretrainConfig)}
    for name in _HAS_NO_EFFECT:
        if getattr(config, name) != default[name]:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is {getattr(config, name)}, but the base has its shape and weights already "
                f"({name_shape(model)}); leave {flag} out."
            )
    for name in ("row_tokens", "long_row_tokens"):
        tokens = getattr(config, name)
        if tokens > model.max_seq_len and (name == "row_tokens" or tokens != default[name]):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is {tokens:,}, but the base reads at most {model.max_seq_len:,} tokens; give {flag} "
                f"{model.max_seq_len} or less."
            )


def _refuse_other_tokenizer(base: Path, folder: BaseFolder, source: Manifest) -> None:
    if source.outputs.get(TOKENIZER_NAME, {}).get("sha256") != folder.tokenizer_hash:
        raise InputDataError(
            f"The text was encoded with another tokenizer than that of {base}; encode it with the base's: run "
            f"pretune preprocess COLLECTED --base {shlex.quote(str(base))} --out DIR, and give that folder."
        )
