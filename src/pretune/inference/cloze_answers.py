"""The pattern and the label words of a cloze classifier: as given, else from the labels, else chosen by the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.errors import ModelError, UsageError
from pretune.inference.word_choice import choose_label_words, mask_log_probabilities
from pretune.model.transformer import LanguageModel
from pretune.text.cloze.answers import ClozeAnswers
from pretune.text.cloze.label_words import LabelWords, check_label_words, read_label_words, suggest_label_words
from pretune.text.cloze.pattern import Pattern, PatternEncoder, read_pattern
from pretune.text.cloze.usual_names import suggest_pattern
from pretune.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Clean texts, their second texts if they have any, and their labels (N,)."""

    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClozeRequest:
    """What the user gave: a pattern and "label=word/word" items, each optional."""

    pattern: str | None = None
    label_words: tuple[str, ...] = ()
    has_pair: bool = False


def find_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    names: Sequence[str],
    request: ClozeRequest,
    *,
    max_seq_len: int,
    read_rows: Callable[[], LabelledTexts] | None = None,
) -> tuple[ClozeAnswers, str]:
    """The answers for labels with these names, and a sentence that says what was chosen, and why.

    `read_rows` has labelled rows from which the model may choose words. Raises ModelError for a base without a mask
    token, and UsageError for a pattern or words that do not work, or if no words are given and none can be chosen.
    """
    if not model.config.can_fill or model.config.mask_token_id < 0:
        lacks = "has no mask token" if model.config.can_fill else "was trained to predict the next token only"
        raise ModelError(f"The model {lacks}, so it cannot answer a cloze; use --method head.")
    pattern = read_pattern(
        request.pattern or suggest_pattern(names, has_pair=request.has_pair), has_pair=request.has_pair
    )
    encoder = PatternEncoder(tokenizer, pattern, max_seq_len)
    words: LabelWords | None
    if request.label_words:
        words = check_label_words(read_label_words(request.label_words, names), tokenizer, "as given")
    else:
        words = suggest_label_words(names, tokenizer)
    if words is None and read_rows is not None:
        rows = read_rows()
        ids = encoder.encode_batch(rows.texts, rows.text_pairs)
        words = choose_label_words(model, tokenizer, ids, rows.labels, names)
    if words is None:
        raise UsageError(
            f"The names of the labels ({', '.join(names[:10])}) are not words of one token that differ; give the "
            f"words with --label-words, as in {names[0]}=WORD,..."
        )
    return ClozeAnswers.of(pattern, words), _describe(pattern, words, request)


def least_expected(model: LanguageModel, answers: ClozeAnswers, rows: Sequence[Sequence[int]]) -> float:
    """The mean probability of the words of the label that the model expects least at the [MASK] of these rows.

    It says whether the base knows such answers at all: in a foreign domain, the words are hardly ever expected.
    """
    p = np.exp(mask_log_probabilities(model, rows)).mean(axis=0)
    return float(min(p[list(ids)].sum() for ids in answers.word_ids))


def _describe(pattern: Pattern, words: LabelWords, request: ClozeRequest) -> str:
    why = "as given" if request.pattern else "suggested; --pattern changes it"
    change = "" if request.label_words else "; --label-words changes them"
    return (
        f"Cloze: the model reads each text as {pattern.written!r} ({why}) and answers at the [MASK] with "
        f"{words} ({words.reason}{change})."
    )
