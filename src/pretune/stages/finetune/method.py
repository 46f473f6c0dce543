"""How a fine-tuned model answers: through a head on the text's vector, or through a word at a [MASK] (cloze)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pretune.data.labelled_rows import EncodedRows
from pretune.data.targets import Targets
from pretune.errors import UsageError
from pretune.inference.cloze_answers import ClozeRequest, LabelledTexts, find_answers, least_expected
from pretune.model.folder import LoadedModel, Model
from pretune.model.transformer import ClozeClassifier, LanguageModel
from pretune.settings import FinetuneConfig
from pretune.text.cloze.answers import ClozeAnswers
from pretune.text.cloze.label_words import suggest_label_words
from pretune.text.cloze.pattern import PatternEncoder
from pretune.text.tokenizer.rows import encode_windows
from pretune.text.tokenizer.tokenizer import Tokenizer
from pretune.text.tokenizer.windows import WindowRule
from pretune.training.few_labels import CLOZE_ROWS, LEAST_EXPECTED

Line = Mapping[str, Any]
_TRIED_ROWS = 64  # in which the model is asked whether it expects the label words


@dataclass(frozen=True, kw_only=True)
class Method:
    """The answers of a cloze, or None for a head; `sentence` says which was chosen and why, if there is a choice."""

    answers: ClozeAnswers | None = None
    sentence: str | None = None


def choose_method(
    config: FinetuneConfig,
    loaded: LoadedModel,
    tokenizer: Tokenizer,
    task: str,
    names: Sequence[str],
    train: Sequence[Line],
    max_seq_len: int,
    *,
    reads_windows: bool = False,
) -> Method:
    """The method for the labelled rows in `train`.

    If the prepare folder reads long texts in windows, cloze is taken only if it was asked for: it has one [MASK], so
    that text and pattern must fit in one row, and long texts are cut.

    Raises UsageError if cloze was asked for and the task or the base does not have it, or if the pattern or the words
    do not work.
    """
    base = language_model_of(loaded.model)
    is_asked = config.method == "cloze" or (config.method == "auto" and bool(config.pattern or config.label_words))
    if config.from_scratch:  # a head is the stronger control: without pre-training, no word is expected at a [MASK]
        return Method()
    if is_asked:
        _refuse_impossible(loaded, base, task)
    elif reads_windows or not _may_suit(config, base, tokenizer, task, names, len(train)):
        return Method()
    assert base is not None
    has_pair = bool(train) and train[0].get("text_pair") is not None
    try:
        answers, sentence = find_answers(
            base,
            tokenizer,
            names,
            ClozeRequest(pattern=config.pattern, label_words=config.label_words, has_pair=has_pair),
            max_seq_len=max_seq_len,
            read_rows=lambda: _texts_of(train),
        )
    except UsageError:
        if is_asked:
            raise
        return Method()  # the suggested pattern leaves no room for a text in rows as short as these
    if is_asked:
        if reads_windows:
            sentence += (
                f" Long texts are cut to {max_seq_len} tokens with the pattern, although prepare reads them in "
                "windows: a cloze has one [MASK]. --method head reads all windows."
            )
        return Method(answers=answers, sentence=sentence)
    rows = encode_in_pattern(answers, tokenizer, {"train": train[:_TRIED_ROWS]}, max_seq_len)["train"]
    fraction = least_expected(base, answers, [rows.doc(index).tolist() for index in range(len(rows))])
    if fraction < LEAST_EXPECTED:
        return Method()
    sentence += (
        f" Chosen because there are at most {CLOZE_ROWS:,} training rows ({len(train):,}) and the model expects the "
        f"words of each label there (at least {fraction:.1%}); --method head switches it off."
    )
    return Method(answers=answers, sentence=sentence)


def _refuse_impossible(loaded: LoadedModel, base: LanguageModel | None, task: str) -> None:
    """Raise UsageError for a cloze that was asked for, and that the task or the base does not have."""
    if task != "classification":
        raise UsageError(f"--method cloze is for classification, and the labels are {task}; use --method head.")
    if base is None or not base.config.can_fill or base.config.mask_token_id < 0:
        raise UsageError(
            f"{loaded.path} does not predict words at a [MASK], so --method cloze does not work; give a "
            "pre-trained masked language model, or use --method head."
        )


def _may_suit(
    config: FinetuneConfig,
    base: LanguageModel | None,
    tokenizer: Tokenizer,
    task: str,
    names: Sequence[str],
    num_rows: int,
) -> bool:
    """Whether --method auto tries cloze: with few rows, if the names of the labels already say which words to use."""
    return (
        config.method == "auto"
        and task == "classification"
        and base is not None
        and base.config.can_fill
        and base.config.mask_token_id >= 0
        and num_rows <= CLOZE_ROWS
        and suggest_label_words(names, tokenizer) is not None
    )


def language_model_of(model: Model) -> LanguageModel | None:
    """The language model in a model, with its own copy of the weights if it was fine-tuned; None if it has none."""
    if isinstance(model, ClozeClassifier):
        return model.to_language_model()
    return model if isinstance(model, LanguageModel) else None


def encode_in_pattern(
    answers: ClozeAnswers | None, tokenizer: Tokenizer, splits: Mapping[str, Sequence[Line]], max_seq_len: int
) -> dict[str, EncodedRows]:
    """The rows of each split inside the pattern; empty for a head, which reads the tokens of the prepare folder."""
    if answers is None:
        return {}
    encoder = PatternEncoder(tokenizer, answers.pattern, max_seq_len)
    texts = {split: _texts_of(lines) for split, lines in splits.items()}
    return {split: EncodedRows(encoder.encode_batch(rows.texts, rows.text_pairs)) for split, rows in texts.items()}


def encode_row(
    answers: ClozeAnswers | None, tokenizer: Tokenizer, line: Line, max_seq_len: int, rule: WindowRule | None = None
) -> list[list[int]]:
    """The ids of the windows of one row, or of its only one; inside the pattern if there is one."""
    texts = (line["text"], line.get("text_pair"))
    if answers is None:
        return encode_windows(tokenizer, [texts], max_seq_len, rule)[0]
    return [PatternEncoder(tokenizer, answers.pattern, max_seq_len).encode(*texts)]


def at_mask(targets: Targets, rows: EncodedRows, mask_id: int) -> Targets:
    """The targets, each at the [MASK] of its row."""
    places = [int(np.flatnonzero(rows.doc(index) == mask_id)[0]) for index in range(len(rows))]
    return replace(targets, positions=np.array(places, dtype=np.int64))


def _texts_of(lines: Sequence[Line]) -> LabelledTexts:
    has_pair = bool(lines) and lines[0].get("text_pair") is not None
    return LabelledTexts(
        texts=[line["text"] for line in lines],
        text_pairs=[line["text_pair"] for line in lines] if has_pair else None,
        labels=np.array([line["label"] for line in lines], dtype=np.int64),
    )
