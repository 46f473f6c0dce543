"""Model folders of encoders that transformers computes: read, and written so that transformers loads them again.

Our classifier is the mean over the tokens and one linear layer. No text classifier of these architectures is that, but
most of their token classifiers are such a layer at every position: the mean of its logits over the tokens is the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretune.errors import CorruptModelError, ModelError, shorten_error
from pretune.model.config import ForeignConfig, longest_row_of
from pretune.model.foreign_encoder import (
    NOT_PASSED_ON,
    UNUSED,
    ForeignEncoder,
    check_files,
    from_auto_model,
    import_transformers,
    quietly,
    transformers_config,
)
from pretune.model.native_config import describe_quantization
from pretune.model.weights import quantized_error, weights_file
from pretune.runtime.json_text import parse_json
from pretune.text.tokenizer.files import TOKENIZER_CONFIG_NAME
from pretune.text.tokenizer.tokenizer import load_tokenizer

_HEAD = ("classifier.weight", "classifier.bias")
_OF_THE_BASE = ("torch_dtype", *NOT_PASSED_ON)  # fields that do not hold for a model made from it
_DEFAULT_LONGEST_ROW = 512  # tokens, for an encoder with relative positions only


def read_foreign_config(folder: Path, fields: dict[str, Any]) -> ForeignConfig:
    """The config of an encoder, with the special ids of the tokenizer in the folder.

    Raises ModelError if the architecture is not a text encoder that transformers knows, or needs code of its own, or if
    the weights are quantised.
    """
    path, kind = folder / "config.json", fields.get("model_type")
    _check_architecture(path, fields)
    if (found := describe_quantization(fields)) is not None:  # transformers goes by it, whatever the weights are
        raise quantized_error(path, found)
    tokenizer = load_tokenizer(folder)
    try:
        full = transformers_config(fields)
        settings = folder / TOKENIZER_CONFIG_NAME
        tokenizer_fields = parse_json(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        pad = fields.get("pad_token_id")
        heads, hidden = int(full.num_attention_heads), int(full.hidden_size)
        return ForeignConfig(
            vocab_size=int(full.vocab_size),
            hidden_size=hidden,
            num_layers=int(full.num_hidden_layers),
            num_heads=heads,
            num_kv_heads=heads,
            head_dim=hidden // heads,
            intermediate_size=int(getattr(full, "intermediate_size", 4 * hidden)),
            max_seq_len=longest_row_of(fields, tokenizer_fields) or _DEFAULT_LONGEST_ROW,
            # The model's own, because some count positions by the tokens that are not padding; some have -1 for none.
            pad_token_id=tokenizer.pad_id if pad is None or not 0 <= int(pad) < full.vocab_size else int(pad),
            bos_token_id=tokenizer.bos_id,
            eos_token_id=tokenizer.eos_id,
            mask_token_id=tokenizer.mask_id,
            fields=fields,
            has_segments=tokenizer.marks_second_text and int(getattr(full, "type_vocab_size", 0) or 0) > 1,
        )
    except Exception as error:  # the library checks fields with errors of its own
        raise CorruptModelError(
            f"{path} lacks a field of type {kind} or has an invalid value ({shorten_error(error)}); restore the file."
        ) from error


def _check_architecture(path: Path, fields: dict[str, Any]) -> None:
    kind = fields.get("model_type")
    import_transformers()
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    known = set(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES) & set(auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES)
    if kind in known and not fields.get("is_decoder") and not fields.get("is_encoder_decoder"):
        return
    if kind is not None and kind not in importlib.import_module("transformers").CONFIG_MAPPING:
        reason = "which the installed transformers does not know"
        if fields.get("auto_map"):
            reason += " and which brings code of its own; such code is never run"
    else:
        reason = "which is not a text encoder"
    raise ModelError(
        f"{path} describes a model of type {kind!r}, {reason}; expected eurobert, llama, or an encoder such as bert, "
        "roberta, distilbert, electra, modernbert, xlm-roberta or deberta-v2."
    )


def load_foreign_encoder(folder: Path, config: ForeignConfig) -> ForeignEncoder:
    """The encoder with its weights in fp32; any head in the folder is left aside.

    Raises ModelError if the weights are a pickle, CorruptModelError if they are missing, truncated, or do not fit the
    config.
    """
    file = weights_file(folder)
    with quietly():
        try:
            check_files(folder, config)
            encoder, report = from_auto_model(
                "from_pretrained",
                str(folder),
                config=transformers_config(config.fields),
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except ModelError:
            raise
        except Exception as error:  # of many classes, by what is wrong with which file
            raise CorruptModelError(
                f"{file} cannot be loaded ({shorten_error(error)}); restore it from a copy."
            ) from error
    missing = [name for name in sorted(report["missing_keys"]) if not any(part in name for part in UNUSED)]
    if missing or report["mismatched_keys"]:
        reason = f"{len(missing):,} tensors are missing, the first is {missing[0]}" if missing else "shapes differ"
        raise CorruptModelError(f"{file} does not match config.json ({reason}); restore both from the same copy.")
    return ForeignEncoder(config, encoder)


def token_classifier_of(config: ForeignConfig, num_labels: int) -> tuple[str, str] | None:
    """The class of a token classifier that is one linear layer, and the prefix of its encoder's tensors; None if this
    architecture has none."""
    with quietly(), torch.device("meta"):
        full = transformers_config({**config.fields, "num_labels": num_labels})
        model = import_transformers().AutoModelForTokenClassification.from_config(full)
    prefix = f"{model.base_model_prefix}."
    head = sorted(name for name, _ in model.named_parameters() if not name.startswith(prefix))
    is_linear = head == sorted(_HEAD) and isinstance(model.classifier, torch.nn.Linear)
    return (type(model).__name__, prefix) if is_linear else None


def to_foreign_folder(
    transformer: ForeignEncoder, head: dict[str, Tensor], label_names: Sequence[str], problem_type: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and the fields of `config.json` of a classifier, `head` being its linear layer.

    `problem_type` is what transformers calls the task; that of the base says nothing about this head.
    """
    config, found = transformer.config, token_classifier_of(transformer.config, len(label_names))
    architecture, prefix = found if found is not None else (type(transformer.encoder).__name__, "")
    tensors = {prefix + name: tensor for name, tensor in transformer.encoder.state_dict().items()} | head
    fields = {
        **{name: value for name, value in config.fields.items() if name.lstrip("_") not in _OF_THE_BASE},
        "architectures": [architecture],
        "dtype": "float32",
        "num_labels": len(label_names),
        "id2label": {str(index): name for index, name in enumerate(label_names)},
        "label2id": {name: index for index, name in enumerate(label_names)},
    }
    if problem_type is not None:
        fields["problem_type"] = problem_type
    # Cloned, so that tied or sliced matrices do not share memory in the file.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, fields


def describe_foreign_head(config: ForeignConfig, num_labels: int, *, labels_tokens: bool) -> str | None:
    """What transformers makes of a saved model, in a sentence; None if its own class does what ours does."""
    found = token_classifier_of(config, num_labels)
    if found is not None and labels_tokens:
        return None
    if found is None:
        where = "every token" if labels_tokens else "the mean over the tokens"
        return (
            f"Transformers has no classifier of type {config.model_type} that is one linear layer, so it loads this "
            f"folder as an encoder; the head (classifier.weight and classifier.bias, for {where}) is in the same file. "
            "pretune itself predicts as usual."
        )
    return (
        f"The text classifier of type {config.model_type} in transformers reads one token, ours the mean of all, so "
        f"transformers loads this folder as {found[0]}; the mean of its logits over the tokens is the same result. "
        "pretune itself predicts as usual."
    )
