"""Model folders: models are saved in transformers' format and loaded from it. Only this module knows its names.

A bidirectional model has the keys of EuroBERT, a causal one those of Llama, which are the same. In memory, the
projections for query, key and value are one matrix, and so are gate and up. Encoders of other types go through
`foreign_folder`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pretune.errors import CorruptModelError, ModelNotFoundError
from pretune.model.base_folder import corrected_folder
from pretune.model.config import ForeignConfig, ModelConfig
from pretune.model.cost import count_backbone_parameters
from pretune.model.foreign_encoder import ForeignEncoder
from pretune.model.foreign_folder import (
    describe_foreign_head,
    load_foreign_encoder,
    read_foreign_config,
    to_foreign_folder,
)
from pretune.model.native_config import (
    NATIVE_TYPES,
    OBJECTIVE_FIELD,
    config_from_fields,
    config_to_fields,
    describe_quantization,
)
from pretune.model.transformer import (
    Backbone,
    ClozeClassifier,
    EncoderModel,
    LanguageModel,
    SequenceClassifier,
    TaskModel,
    TokenClassifier,
)
from pretune.model.unfilled import Unfilled
from pretune.model.weights import (
    ADAPTER_CONFIG_NAME,
    MOST_TIMES_AS_LARGE,
    WEIGHTS_NAME,
    has_weights,
    quantized_error,
    read_weights,
    weights_file,
)
from pretune.runtime.atomic import commit_folder, verify_folder, write_json
from pretune.runtime.json_text import parse_json
from pretune.text.labels.labelling import LABELS_NAME, Labelling
from pretune.text.tokenizer.files import (
    SPECIAL_TOKENS_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    read_template_file,
)

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"  # of transformers

_RENAMED = {
    "attention_norm": "input_layernorm",
    "out_proj": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "down_proj": "mlp.down_proj",
}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")

Model = LanguageModel | SequenceClassifier | TokenClassifier | ClozeClassifier | EncoderModel
_PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """The content of a model folder; `labelling` is of a model that was fine-tuned for a task only.

    `notice` is a sentence about a head in the folder that was left aside.
    """

    path: Path
    model: Model
    config: ModelConfig
    labelling: Labelling | None
    tokenizer_path: Path
    notice: str | None = None

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the labels of a fine-tuned model."""
        return None if self.labelling is None else self.labelling.names


def save_model_folder(
    folder: Path,
    model: Model,
    tokenizer_folder: Path,
    labels: Labelling | Sequence[str] | None = None,
    *,
    write_more: Callable[[Path], None] | None = None,
    **facts: Any,
) -> None:
    """Commit a model as a folder that transformers can load and that is sufficient for predictions.

    `write_more` may add files to the folder before it is committed (a checkpoint's `training_state/`); `facts` are JSON
    values for its manifest. A fine-tuned model needs its `labels`: what its outputs mean, or the names of the classes.
    An existing folder is replaced. Raises OutOfResourcesError if the disk is full; the previous folder stays.
    """
    labelling = labels if isinstance(labels, Labelling | None) else Labelling(names=tuple(labels))
    is_fine_tuned = isinstance(model, TaskModel)
    if is_fine_tuned != (labelling is not None) or (labelling and len(labelling.outputs) != _num_outputs(model)):
        raise ValueError(f"{type(model).__name__} and the labels {labelling!r} do not fit together")

    def write(partial: Path) -> None:
        tensors, fields = _to_transformers(model, labelling)
        save_file(tensors, partial / WEIGHTS_NAME, metadata={"format": "pt"})
        write_json(partial / CONFIG_NAME, fields)
        for name in (TOKENIZER_NAME, SPECIAL_TOKENS_NAME):
            if name == TOKENIZER_NAME or (Path(tokenizer_folder) / name).is_file():
                shutil.copyfile(Path(tokenizer_folder) / name, partial / name)
        settings = _read_tokenizer_settings(Path(tokenizer_folder))
        settings["model_max_length"] = model.config.max_seq_len
        # A typed "[MASK]" is plain text to a classifier, also in transformers; a cloze needs its own.
        settings.pop("split_special_tokens", None)
        if is_fine_tuned and not isinstance(model, ClozeClassifier):
            settings["split_special_tokens"] = True
        write_json(partial / TOKENIZER_CONFIG_NAME, settings)
        if labelling is not None:
            write_json(partial / LABELS_NAME, labelling.to_dict())
        if write_more is not None:
            write_more(partial)

    commit_folder(folder, write, **facts)


def load_model_folder(folder: Path) -> LoadedModel:
    """The model, in fp32, from a folder written by pretune, or by transformers.

    EuroBERT and Llama become our own transformer, other encoders stay those of transformers. An adapter folder gives
    its base with the adapter's corrections. Raises ModelNotFoundError
    if there is no model, CorruptModelError naming the file if one is missing, truncated, changed, or of another
    version, and ModelError if the architecture is not supported or the weights are a pickle.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise ModelNotFoundError(f"{folder} {found}; expected a model folder with {CONFIG_NAME} and {WEIGHTS_NAME}.")
    if not (folder / CONFIG_NAME).is_file() and not has_weights(folder):
        if (folder / ADAPTER_CONFIG_NAME).is_file():
            from pretune.model.adapter_folder import load_adapter_folder  # which loads the base with this function

            return load_adapter_folder(folder)
        raise ModelNotFoundError(
            f"{folder} contains no model: it has neither {CONFIG_NAME} nor {WEIGHTS_NAME}; name a checkpoint folder."
        )
    verify_folder(folder)
    fields = _read_json(folder / CONFIG_NAME)
    weights_file(folder)  # for its errors, before anything is read
    loaded = _load_native if fields.get("model_type") in NATIVE_TYPES else _load_foreign
    return loaded(folder, fields)


def read_stop_ids(folder: Path) -> frozenset[int]:
    """The tokens that end a text of a causal model, by `config.json` and `generation_config.json`; for an adapter, also
    those of its base."""
    folder = Path(folder)
    files = [file for name in (CONFIG_NAME, GENERATION_CONFIG_NAME) if (file := folder / name).is_file()]
    found = [_read_json(file).get("eos_token_id") for file in files]
    ids = frozenset(i for ids in found for i in (ids if isinstance(ids, list) else [ids]) if isinstance(i, int))
    base = corrected_folder(folder)
    return ids if base is None else ids | read_stop_ids(base)


def _load_native(folder: Path, fields: dict[str, Any]) -> LoadedModel:
    """Our own transformer with the head that it was saved with, or without any if that head was trained elsewhere."""
    config = config_from_fields(fields, folder / CONFIG_NAME)
    tensors = read_weights(folder)
    is_bare = "embed_tokens.weight" in tensors  # published without any head
    if is_bare:
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    labelling, notice = None, None
    try:
        state = from_transformers_state(tensors, config)
        build: Callable[[], Model]
        if is_bare:
            build = partial(EncoderModel, config)
        elif "classifier.weight" in tensors or "score.weight" in tensors:
            if (head := _own_head(tensors, fields, folder)) is not None:
                state |= head
                labelling = _read_labelling(folder, fields)
                build = partial(_task_model, config, labelling)
            else:
                build, notice = partial(EncoderModel, config), _describe_other_head(folder)
        else:
            is_tied, embedding = config.tie_word_embeddings, state["transformer.embed_tokens.weight"]
            state["lm_head.weight"] = embedding if is_tied else tensors.pop("lm_head.weight")
            labelling = _read_labelling(folder, fields) if _is_cloze(folder) else None
            answers = None if labelling is None else labelling.answers
            build = partial(LanguageModel, config)
            if answers is not None:
                build = partial(ClozeClassifier, config, answers.word_ids)
        _check_size(config, state)
        model = _with_weights(build, state)
    except (KeyError, RuntimeError) as error:
        quantized = describe_quantization(fields)
        if isinstance(error, KeyError) and quantized is not None:  # GPTQ and AWQ have them under other names
            raise quantized_error(folder / CONFIG_NAME, quantized) from error
        reason = f"tensor {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise CorruptModelError(
            f"{weights_file(folder)} does not match {CONFIG_NAME} ({reason}); restore both from the same copy."
        ) from error
    return LoadedModel(
        path=folder,
        model=model.eval(),
        config=config,
        labelling=labelling,
        tokenizer_path=folder,
        notice=notice,
    )


def _with_weights(build: Callable[[], Model], state: dict[str, Tensor]) -> Model:
    """A model that has these very tensors as its weights: copies of them would take as much memory again."""
    with Unfilled():
        model = build()
    model.load_state_dict(state, assign=True)
    if isinstance(model, LanguageModel | ClozeClassifier) and model.config.tie_word_embeddings:
        model.lm_head.weight = model.transformer.embed_tokens.weight  # assigned one by one, they are two parameters
    return model


def _check_size(config: ModelConfig, state: dict[str, Tensor]) -> None:
    """Raise RuntimeError if a configuration describes far more weights than there are, before memory is taken for them.

    Smaller differences are found when the weights are loaded. Arithmetic does: a model on the device "meta" takes no
    memory either, but makes torch import its compiler, which takes a second whenever a model is loaded.
    """
    found, described = sum(tensor.numel() for tensor in state.values()), count_backbone_parameters(config)
    if described > MOST_TIMES_AS_LARGE * found:
        raise RuntimeError(f"it describes {described:,} weights, and there are {found:,}")


def _load_foreign(folder: Path, fields: dict[str, Any]) -> LoadedModel:
    """An encoder of transformers. Only a head that pretune trained is used: it is the one with a `labels.json`."""
    config = read_foreign_config(folder, fields)
    encoder = load_foreign_encoder(folder, config)
    model: Model = EncoderModel(config, encoder)
    labelling, notice = None, None
    if (folder / LABELS_NAME).is_file():
        labelling = _read_labelling(folder, fields)
        model = _task_model(config, labelling, encoder)
        head = read_weights(folder, "classifier.")  # transformers has read the others
        try:
            model.classifier.load_state_dict({name.split(".")[-1]: tensor for name, tensor in head.items()})
        except RuntimeError as error:
            raise CorruptModelError(
                f"{folder / WEIGHTS_NAME} does not match {LABELS_NAME} ({' '.join(str(error).split())[:160]}); restore "
                "both from the same copy."
            ) from error
    elif any("For" in name and "MaskedLM" not in name for name in _architectures(fields)):
        notice = _describe_other_head(folder)
    return LoadedModel(
        path=folder,
        model=model.eval(),
        config=config,
        labelling=labelling,
        tokenizer_path=folder,
        notice=notice,
    )


def _task_model(
    config: ModelConfig, labelling: Labelling, transformer: Backbone | None = None
) -> SequenceClassifier | TokenClassifier:
    kind = TokenClassifier if labelling.task == "tokens" else SequenceClassifier
    return kind(config, len(labelling.outputs), transformer)


def _describe_other_head(folder: Path) -> str:
    return (
        f"{folder} has a head that was trained elsewhere and is not the linear layer over the mean that pretune "
        "writes; as a base for fine-tuning it starts without that head."
    )


def has_native_head(num_classes: int, hidden_size: int) -> bool:
    """Whether transformers' text classifier can express our linear head, which takes two hidden units per class."""
    return 2 * num_classes <= hidden_size


def describe_native_head(model: TaskModel) -> str | None:
    """A notice if transformers' `text-classification` pipeline cannot express this head; otherwise None."""
    classes, hidden = _num_outputs(model), model.config.hidden_size
    if isinstance(model.config, ForeignConfig):
        return describe_foreign_head(model.config, classes, labels_tokens=isinstance(model, TokenClassifier))
    if isinstance(model, TokenClassifier) or has_native_head(classes, hidden):
        return None
    return (
        f"{classes} classes are too many for transformers' text-classification pipeline at hidden size {hidden} (at "
        f"most {hidden // 2}). Transformers loads this folder as a token classifier; the mean of its logits over the "
        "tokens is the same result. pretune itself predicts as usual."
    )


def describe_native_windows(model: TaskModel, labelling: Labelling) -> str | None:
    """A notice if the model reads long texts in windows, which transformers does not do; otherwise None."""
    if not labelling.reads_windows:
        return None
    return (
        f"Texts of up to {model.config.max_seq_len} tokens get the same result from transformers. Longer texts need "
        "pretune, which reads them in windows and classifies the mean of the vectors over all of them."
    )


def _to_transformers(model: Model, labelling: Labelling | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and config fields as transformers knows them."""
    if isinstance(model, TaskModel) and isinstance(model.transformer, ForeignEncoder):
        head = {f"classifier.{name}": tensor for name, tensor in model.classifier.state_dict().items()}
        names, task = ((), "") if labelling is None else (labelling.outputs, labelling.task)
        return to_foreign_folder(model.transformer, head, names, _PROBLEM_TYPES.get(task))
    return to_transformers_state(model), to_transformers_config(model, labelling)


def to_transformers_state(model: Model) -> dict[str, Tensor]:
    """The weights under transformers' keys, in fp32 on the CPU; without a tied `lm_head.weight`, like transformers."""
    config, ours = model.config, model.state_dict()
    q_rows, kv_rows = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    theirs = {
        "model.embed_tokens.weight": ours["transformer.embed_tokens.weight"],
        "model.norm.weight": ours["transformer.final_norm.weight"],
    }
    for layer in range(config.num_layers):
        block, prefix = f"transformer.blocks.{layer}", f"model.layers.{layer}"
        for name, renamed in _RENAMED.items():
            theirs[f"{prefix}.{renamed}.weight"] = ours[f"{block}.{name}.weight"]
        parts = ours[f"{block}.qkv_proj.weight"].split([q_rows, kv_rows, kv_rows])
        theirs |= {f"{prefix}.{name}.weight": part for name, part in zip(_QKV, parts, strict=True)}
        parts = ours[f"{block}.gate_up_proj.weight"].chunk(2)
        theirs |= {f"{prefix}.{name}.weight": part for name, part in zip(_GATE_UP, parts, strict=True)}
    if isinstance(model, TokenClassifier):  # EuroBERT's token classifier is this linear layer
        theirs |= {name: ours[name] for name in ("classifier.weight", "classifier.bias")}
    elif isinstance(model, SequenceClassifier):
        theirs |= _to_transformers_head(ours["classifier.weight"], ours["classifier.bias"])
    elif isinstance(model, LanguageModel | ClozeClassifier) and not config.tie_word_embeddings:
        theirs["lm_head.weight"] = ours["lm_head.weight"]
    # Cloned, so that views of one matrix do not share memory in the file.
    return {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in theirs.items()}


def from_transformers_state(tensors: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The weights under our keys, without a head. Raises KeyError naming a missing tensor.

    Those that it returns are taken out of `tensors`, so that a matrix and its parts are never both in memory for long.
    """
    ours = {
        "transformer.embed_tokens.weight": tensors.pop("model.embed_tokens.weight"),
        "transformer.final_norm.weight": tensors.pop("model.norm.weight"),
    }
    for layer in range(config.num_layers):
        block, prefix = f"transformer.blocks.{layer}", f"model.layers.{layer}"
        for name, renamed in _RENAMED.items():
            ours[f"{block}.{name}.weight"] = tensors.pop(f"{prefix}.{renamed}.weight")
        ours[f"{block}.qkv_proj.weight"] = torch.cat([tensors.pop(f"{prefix}.{name}.weight") for name in _QKV])
        ours[f"{block}.gate_up_proj.weight"] = torch.cat([tensors.pop(f"{prefix}.{name}.weight") for name in _GATE_UP])
    return ours


def to_transformers_config(model: Model, labelling: Labelling | None) -> dict[str, Any]:
    """The fields of `config.json`."""
    architecture = _architecture(model)
    fields: dict[str, Any] = {
        "model_type": "llama" if architecture.startswith("Llama") else "eurobert",
        "architectures": [architecture],
        **config_to_fields(model.config),
    }
    if isinstance(model, LanguageModel) and model.config.objective == "hybrid":
        fields[OBJECTIVE_FIELD] = "hybrid"
    if labelling is not None and labelling.answers is None:  # transformers fills in the word of a cloze
        names = labelling.outputs
        fields |= {
            "num_labels": len(names),
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)},
        }
        if labelling.task in _PROBLEM_TYPES:
            fields["problem_type"] = _PROBLEM_TYPES[labelling.task]
    return fields


def _architecture(model: Model) -> str:
    if isinstance(model, LanguageModel) and not model.config.can_fill:
        return "LlamaForCausalLM"
    if isinstance(model, LanguageModel | ClozeClassifier):
        return "EuroBertForMaskedLM"
    is_native = isinstance(model, SequenceClassifier) and has_native_head(_num_outputs(model), model.config.hidden_size)
    return "EuroBertForSequenceClassification" if is_native else "EuroBertForTokenClassification"


def _num_outputs(model: Model) -> int:
    return model.classifier.out_features if isinstance(model, TaskModel) else 0


def _to_transformers_head(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A linear layer as EuroBERT's dense, GELU, classifier: GELU(x) - GELU(-x) = x, so [W; -W; 0], [I, -I, 0].

    If there are too many classes, the plain layer, which EuroBERT's token classifier applies at every position.
    """
    classes, hidden = weight.shape
    if not has_native_head(classes, hidden):
        return {"classifier.weight": weight, "classifier.bias": bias}
    rest = weight.new_zeros(hidden - 2 * classes, hidden)
    eye = torch.eye(classes, device=weight.device)
    return {
        "dense.weight": torch.cat([weight, -weight, rest]),
        "dense.bias": weight.new_zeros(hidden),
        "classifier.weight": torch.cat([eye, -eye, weight.new_zeros(classes, hidden - 2 * classes)], dim=1),
        "classifier.bias": bias,
    }


def _own_head(tensors: dict[str, Tensor], fields: dict[str, Any], folder: Path) -> dict[str, Tensor] | None:
    """The linear layer that pretune wrote, bit for bit; None for a head that was trained elsewhere."""
    if "score.weight" in tensors:  # of a Llama that reads the last token
        return None
    weight, bias = tensors["classifier.weight"], tensors["classifier.bias"]
    if "dense.weight" not in tensors:
        labels_tokens = "EuroBertForTokenClassification" in _architectures(fields)
        is_other = labels_tokens and not (folder / LABELS_NAME).is_file()
        return None if is_other else {"classifier.weight": weight, "classifier.bias": bias}
    ours = tensors["dense.weight"][: weight.shape[0]]
    if has_native_head(*weight.shape) and fields.get("classifier_pooling") == "mean":
        expected = _to_transformers_head(ours, bias)
        if all(torch.equal(tensors[name], tensor) for name, tensor in expected.items()):
            return {"classifier.weight": ours.clone(), "classifier.bias": bias}
    return None


def _is_cloze(folder: Path) -> bool:
    return (folder / LABELS_NAME).is_file() and _read_json(folder / LABELS_NAME).get("method") == "cloze"


def _read_labelling(folder: Path, fields: dict[str, Any]) -> Labelling:
    if (folder / LABELS_NAME).is_file():
        try:
            return Labelling.from_dict(_read_json(folder / LABELS_NAME))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptModelError(f"{folder / LABELS_NAME} has no list of names; restore it from a copy.") from error
    id2label = fields.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers omits the two default names
    try:
        return Labelling(names=tuple(str(id2label[key]) for key in sorted(id2label, key=int)))
    except (TypeError, ValueError, LookupError) as error:
        raise CorruptModelError(
            f"{folder / CONFIG_NAME} has no names by their numbers as id2label ({error!r}); restore the file."
        ) from error


def _architectures(fields: dict[str, Any]) -> list[str]:
    """The classes of transformers that a `config.json` names."""
    found = fields.get("architectures")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _read_tokenizer_settings(folder: Path) -> dict[str, Any]:
    """The settings of a tokenizer for transformers, which a foreign folder may lack; a chat template is part of them,
    also if transformers has put it into a file of its own."""
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if (folder / TOKENIZER_CONFIG_NAME).is_file():
        settings = _read_json(folder / TOKENIZER_CONFIG_NAME)
    template = read_template_file(folder)
    if template is not None:
        settings["chat_template"] = template
    return settings


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise CorruptModelError(f"{file} is missing; restore it from a copy.")
    try:
        value = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptModelError(f"{file} is not valid JSON ({error}); restore it from a copy.") from error
    if not isinstance(value, dict):
        raise CorruptModelError(f"{file} is not a JSON object; restore it from a copy.")
    return value
