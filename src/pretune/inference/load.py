"""From the path of a run, a stage folder or a checkpoint folder to a classifier, mask filler or text generator."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from pretune.compute.device import device_at_hand, use_threads
from pretune.compute.malloc import keep_freed_memory
from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError, UsageError
from pretune.inference.classify import Classifier
from pretune.inference.fill_mask import MaskFiller
from pretune.inference.generate import TextGenerator
from pretune.inference.sentence_scores import SentenceScorer, choose_scoring
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.model.config import ForeignConfig
from pretune.model.folder import (
    CONFIG_NAME,
    LoadedModel,
    load_model_folder,
    read_stop_ids,
)
from pretune.model.foreign_language_model import ForeignLanguageModel, load_foreign_language_model
from pretune.model.hub import local_folder
from pretune.model.transformer import ClozeClassifier, EncoderModel, LanguageModel, TaskModel
from pretune.model.weights import ADAPTER_CONFIG_NAME, has_weights
from pretune.runtime.events import STAGE_ORDER
from pretune.runtime.home import expand_home
from pretune.scoring.stacked_model import load_stacked
from pretune.text.labels.labelling import LABELS_NAME
from pretune.text.tokenizer.files import TOKENIZER_NAME
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

_SENTENCE = "The sun rises in the east and sets in the west, and at night the moon shines over the houses."
_KINDS = {"finetune": "fine-tuned", "pretrain": "pre-trained"}

ModelStage = Literal["finetune", "pretrain"]


@runtime_checkable
class LoadedFromFolders(Protocol):
    """A model object that knows the folders it was loaded from, such as `pretune.Model`."""

    def folder_of(self, stage: ModelStage) -> Path: ...


ModelPlace = Path | str | LoadedFromFolders


def load_classifier(path: ModelPlace, *, stack: bool = True, on_gpu: bool = False) -> Classifier:
    """The classifier at a path; for a run, the one that its finetune stage kept.

    Without `stack`, linear models that are stacked on it are not used. With `on_gpu`, it is on a GPU if there is one:
    for predictions, which is all that such a classifier can make; traces are made on a CPU.

    Raises ModelNotFoundError with the path and the missing stage, CorruptModelError with the damaged file, and
    ModelError if the model does not classify.
    """
    prepare_process()
    classifier = classifier_of(load_model_folder(find_model_folder(path, "finetune")), stack=stack)
    if on_gpu:
        classifier.model.to(device_at_hand())
    return classifier


def classifier_of(loaded: LoadedModel, *, stack: bool = True) -> Classifier:
    """A classifier from a loaded folder. Raises ModelError if its model does not classify, and CorruptModelError if a
    file of linear models beside it is damaged."""
    if not isinstance(loaded.model, TaskModel) or loaded.labelling is None:
        raise _no_classifier(loaded)
    tokenizer = load_matching_tokenizer(loaded)
    _check_answers(loaded, tokenizer)
    return Classifier(
        path=loaded.path,
        model=loaded.model,
        tokenizer=tokenizer,
        labelling=loaded.labelling,
        stacked=load_stacked(loaded.path, len(loaded.labelling.outputs)) if stack else None,
    )


def _no_classifier(loaded: LoadedModel) -> ModelError:
    if isinstance(loaded.model, LanguageModel) and loaded.config.can_generate:  # it may be a finished chat model
        does = "fills in words and writes text" if loaded.config.can_fill else "writes text"
        return ModelError(
            f"{loaded.path} has a language model, which {does} and does not classify; `pretune chat` or `pretune "
            "generate` uses it. To classify, fine-tune a pre-trained model on labelled examples."
        )
    found = "a language model, which fills in words and does not classify"
    if not isinstance(loaded.model, LanguageModel):
        found = "a model without a head of pretune's, which is a base for fine-tuning and does not classify"
    return ModelError(f"{loaded.path} has {found}; fine-tune it first, or give the output folder of finetune.")


def _check_answers(loaded: LoadedModel, tokenizer: Tokenizer) -> None:
    labelling = loaded.labelling
    if labelling is None or labelling.answers is None:
        return
    try:
        labelling.answers.check(labelling.names, tokenizer)
    except (UsageError, ValueError) as error:
        raise CorruptModelError(
            f"{loaded.path / LABELS_NAME} does not fit the vocabulary ({error}); restore it from a copy."
        ) from error


def load_filler(path: ModelPlace) -> MaskFiller:
    """The masked language model at a path; for a run, the one that its pretrain stage trained.

    Raises the errors of `load_classifier`, but ModelError if the model is a classifier, is causal, or has no mask
    token.
    """
    prepare_process()
    loaded = load_model_folder(find_model_folder(path, "pretrain"))
    model = _language_model_of(loaded, "does not fill in words")
    if not model.config.can_fill:
        raise ModelError(
            f"{loaded.path} was trained to predict the next token only, so it does not fill in words: it writes, with "
            "pretune generate. To teach it, run pretune pretrain PREPROCESSED --from "
            f"{shlex.quote(str(loaded.path))} --objective hybrid --out DIR."
        )
    tokenizer = load_matching_tokenizer(loaded)
    if tokenizer.mask_id < 0:
        raise ModelError(f"{loaded.path} has no mask token; it was not trained to fill in words.")
    return MaskFiller(path=loaded.path, model=model.eval(), tokenizer=tokenizer)


def load_scorer(path: Path | str, scoring: str = "auto") -> SentenceScorer:
    """The language model at a path as a scorer of sentences, `scoring` being masked, causal or auto.

    So is a folder of transformers with an encoder and its head for words. Raises the errors of `load_filler`, and
    UsageError for a way of scoring in which the model was not trained.
    """
    prepare_process()
    loaded = load_model_folder(find_model_folder(path, "pretrain"))
    model: LanguageModel | ForeignLanguageModel
    if isinstance(loaded.config, ForeignConfig) and isinstance(loaded.model, EncoderModel):
        model = load_foreign_language_model(loaded.path, loaded.config)
    else:
        model = _language_model_of(loaded, "has no probability for a sentence")
    model = model.eval().to(device_at_hand())
    tokenizer = load_matching_tokenizer(loaded)
    chosen = choose_scoring(scoring, model, tokenizer, loaded.path)
    return SentenceScorer(path=loaded.path, model=model, tokenizer=tokenizer, scoring=chosen)


def load_generator(path: Path | str, stage: ModelStage = "pretrain") -> TextGenerator:
    """The causal or hybrid language model at a path; for a run, the one of its stage `stage`.

    Raises the errors of `load_classifier`, but ModelError if the model does not predict the next token. For one that
    was trained to fill in words only, it names its loss from left to right, and the command that trains it further.
    """
    prepare_process()
    loaded = load_model_folder(find_model_folder(path, stage))
    model = _language_model_of(loaded, "does not continue a text").eval().to(device_at_hand())
    tokenizer = load_matching_tokenizer(loaded)
    generator = TextGenerator(
        model,
        tokenizer,
        stop_ids=read_stop_ids(loaded.path),
        path=loaded.path,
        tokenizer_path=loaded.tokenizer_path,
    )
    if not model.config.can_generate:
        raise ModelError(
            f"{loaded.path} was trained to fill in masked words, not to continue a text: read from left to right, its "
            f"loss on an English sentence is {generator.loss_of(_SENTENCE):.1f} nats per token, and that of a guess is "
            f"{math.log(model.config.vocab_size):.1f}. Train it further: pretune pretrain PREPROCESSED --from "
            f"{shlex.quote(str(loaded.path))} --objective causal --out DIR."
        )
    return generator


def prepare_process() -> None:
    """Set what is common to all uses of a model on a CPU: the memory is kept, and a container's limit as well."""
    keep_freed_memory()
    use_threads(None)


def _language_model_of(loaded: LoadedModel, lacks: str) -> LanguageModel:
    """The model with its head for words. Raises ModelError, with what the model `lacks`, if there is no such head."""
    model = loaded.model.to_language_model() if isinstance(loaded.model, ClozeClassifier) else loaded.model
    if isinstance(model, LanguageModel):
        return model
    if isinstance(loaded.config, ForeignConfig) and not isinstance(model, TaskModel):
        raise ModelError(
            f"{loaded.path} has an encoder of type {loaded.config.model_type}, which is loaded without a "
            f"head for words and therefore {lacks}; give a model that pretune pre-trained, or a folder of the shape of "
            "EuroBERT or Llama."
        )
    found = "a classifier" if isinstance(model, TaskModel) else "a model without a head for words"
    raise ModelError(f"{loaded.path} has {found}, which {lacks}; give its run, or the output folder of pretrain.")


def find_model_folder(path: ModelPlace, stage: ModelStage) -> Path:
    """The model folder at a path or of a model object; of a whole run, the one of its stage `stage`.

    Raises ModelNotFoundError if there is none, with what was found instead.
    """
    path = path.folder_of(stage) if isinstance(path, LoadedFromFolders) else expand_home(local_folder(path))
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise ModelNotFoundError(f"{path} {found}; expected a run, a stage folder or a checkpoint folder.")
    if (own := own_model_folder(path)) is not None:
        return own
    if (path / stage / CHECKPOINT_NAME).is_dir():
        return path / stage / CHECKPOINT_NAME
    raise ModelNotFoundError(_describe_absence(path, stage))


def own_model_folder(path: Path) -> Path | None:
    """The path itself if it is a model folder, or the model in it if it is a stage folder; None for other folders."""
    if has_weights(path) or any((path / name).is_file() for name in (CONFIG_NAME, ADAPTER_CONFIG_NAME)):
        return path
    return path / CHECKPOINT_NAME if (path / CHECKPOINT_NAME).is_dir() else None


def load_matching_tokenizer(loaded: LoadedModel) -> Tokenizer:
    """The tokenizer in a model's folder. Raises CorruptModelError if it is missing or belongs to another model."""
    file = loaded.tokenizer_path / TOKENIZER_NAME
    if not file.is_file():
        raise CorruptModelError(f"{file} is missing; restore it from a copy of the model.")
    tokenizer = load_tokenizer(loaded.tokenizer_path)
    config = loaded.config
    ours = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id)
    theirs = (config.pad_token_id, config.bos_token_id, config.eos_token_id, config.mask_token_id)
    is_same = ours == theirs or not tokenizer.is_own  # a foreign config may leave them out, or have others to end with
    if tokenizer.vocab_size > config.vocab_size or not is_same:
        raise CorruptModelError(
            f"{file} belongs to another model: it has {tokenizer.vocab_size} tokens and special ids {list(ours)}, "
            f"but {CONFIG_NAME} has {config.vocab_size} and {list(theirs)}; restore both from the same copy."
        )
    return tokenizer


def _describe_absence(path: Path, stage: ModelStage) -> str:
    present = [name for name in STAGE_ORDER if (path / name).is_dir()]
    if stage in present:
        return f"{path} has no {_KINDS[stage]} model yet: its {stage} stage is not finished; run that command again."
    if present:
        return (
            f"{path} has no {_KINDS[stage]} model: its {stage} stage is missing (found: {', '.join(present)}); "
            f"run that stage first."
        )
    if path.name in STAGE_ORDER:
        return f"{path} has no {CHECKPOINT_NAME} folder: the {path.name} stage trains no model, or is not finished."
    return f"{path} has no model; expected a run, a stage folder or a checkpoint folder."
