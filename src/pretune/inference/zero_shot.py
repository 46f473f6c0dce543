"""A classifier without any labels: a pre-trained model that answers a pattern with one word or more for each label."""

from __future__ import annotations

from pathlib import Path

import torch

from pretune.compute.device import device_at_hand
from pretune.errors import UsageError
from pretune.inference.classify import MAX_SEQ_LEN, Classifier
from pretune.inference.cloze_answers import ClozeRequest, find_answers
from pretune.inference.load import load_filler
from pretune.model.transformer import ClozeClassifier
from pretune.text.cloze.label_words import read_label_words
from pretune.text.cloze.pattern import PatternEncoder
from pretune.text.labels.labelling import Labelling


def zero_shot_classifier(
    model: Path | str, label_words: tuple[str, ...], pattern: str | None = None
) -> tuple[Classifier, str]:
    """The classifier, and a sentence that says what it asks; the labels are those of "label=word/word" items.

    The answers are calibrated: the logits for a blank text, which say how likely the model finds each word anyway, are
    subtracted (arXiv:2102.09690). Raises UsageError for a pattern or words that do not work, and the errors of
    `load_filler`.
    """
    if not label_words:
        raise UsageError("--pattern is given without --label-words; add the words, as in positive=great,negative=bad.")
    words = read_label_words(label_words)
    filler = load_filler(model)
    max_seq_len = min(MAX_SEQ_LEN, filler.model.config.max_seq_len)
    request = ClozeRequest(pattern=pattern, label_words=label_words)
    answers, sentence = find_answers(filler.model, filler.tokenizer, tuple(words), request, max_seq_len=max_seq_len)
    made = ClozeClassifier.of_language_model(filler.model, answers.word_ids).eval().to(device_at_hand())
    blank = PatternEncoder(filler.tokenizer, answers.pattern, max_seq_len).encode("")
    with torch.inference_mode():
        input_ids = torch.tensor([blank], device=made.bias.device)
        made.bias -= made(input_ids, torch.zeros_like(input_ids))[0]
    labelling = Labelling(names=tuple(words), answers=answers)
    return Classifier(path=filler.path, model=made, tokenizer=filler.tokenizer, labelling=labelling), sentence
