"""The words that stand for each label at the [MASK]: read from an option, checked against the vocabulary, suggested.

A word is one token of the vocabulary, because the model predicts one token at a [MASK].
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretune.errors import UsageError
from pretune.text.cloze.usual_names import usual_words_of
from pretune.text.tokenizer.tokenizer import Tokenizer

BETWEEN_WORDS = "/"  # of one label, as in positive=great/good
_EXAMPLE = "positive=great/good,negative=terrible/bad"


@dataclass(frozen=True, kw_only=True)
class LabelWords:
    """The words of each label, in the order of the label names, with their token ids; `reason` says who chose them."""

    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    ids: tuple[tuple[int, ...], ...]
    reason: str

    def __str__(self) -> str:
        return describe_words(dict(zip(self.names, self.words, strict=True)))


def describe_words(words: Mapping[str, Sequence[str]]) -> str:
    """The words as the option --label-words takes them."""
    return ",".join(f"{name}={BETWEEN_WORDS.join(of_label)}" for name, of_label in words.items())


def read_label_words(given: Sequence[str], names: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """The words of each label from "label=word/word" items, in the order of `names`, or else as they were typed.

    Raises UsageError for an item without a label or a word, a label that occurs twice or is not among `names`, and a
    name without a word.
    """
    found: dict[str, tuple[str, ...]] = {}
    for item in given:
        name, _, typed = item.partition("=")
        name, words = name.strip(), tuple(word.strip() for word in typed.split(BETWEEN_WORDS) if word.strip())
        if not name or not words:
            raise UsageError(f"--label-words has {item!r}; expected a label and its words, as in {_EXAMPLE}.")
        if name in found:
            raise UsageError(f"--label-words has the label {name!r} twice; put / between its words, as in {_EXAMPLE}.")
        found[name] = words
    if names is None:
        if len(found) < 2:
            raise UsageError(f"--label-words has {len(found)} labels; expected at least two, as in {_EXAMPLE}.")
        return found
    for name in found:
        if name not in names:
            raise UsageError(f"--label-words has the label {name!r}, which is not one of {_listed(names)}.")
    if missing := [name for name in names if name not in found]:
        raise UsageError(f"--label-words has no word for {_listed(missing)}; add {missing[0]}=WORD.")
    return {name: found[name] for name in names}


def check_label_words(words: Mapping[str, Sequence[str]], tokenizer: Tokenizer, reason: str) -> LabelWords:
    """The words with their token ids.

    Raises UsageError, with a word that would do, for one that is several tokens or unknown, and for a word of two
    labels.
    """
    owner: dict[int, str] = {}
    ids: list[tuple[int, ...]] = []
    for name, of_label in words.items():
        own: dict[int, str] = {}  # two words may be the same token
        for word in of_label:
            own.setdefault(_checked_id(word, name, tokenizer), word)
        for token_id, word in own.items():
            if token_id in owner:
                raise UsageError(
                    f"The word {word!r} stands for two labels, {owner[token_id]!r} and {name!r}; give each its own."
                )
            owner[token_id] = name
        ids.append(tuple(own))
    named = tuple(words)
    return LabelWords(names=named, words=tuple(map(tuple, words.values())), ids=tuple(ids), reason=reason)


def suggest_label_words(names: Sequence[str], tokenizer: Tokenizer) -> LabelWords | None:
    """Words for labels by their names: from a table of usual names, else the names themselves.

    None if a label has no word of one token, or two labels have the same word; the model must then choose them.
    """
    from_table = usual_words_of(names)
    for words, reason in (
        (from_table, "the usual words for these labels"),
        ({name: (name,) for name in names}, "the names of the labels"),
    ):
        if words is None:
            continue
        known = {name: tuple(w for w in each if single_token(w, tokenizer) is not None) for name, each in words.items()}
        ids = [single_token(word, tokenizer) for of_label in known.values() for word in of_label]
        if all(known.values()) and len(set(ids)) == len(ids):
            return check_label_words(known, tokenizer, reason)
    return None


def single_token(word: str, tokenizer: Tokenizer) -> int | None:
    """The id of a word that is one token of the vocabulary and stands for text; None otherwise."""
    ids = tokenizer.inside(tokenizer.encode(word))
    return ids[0] if len(ids) == 1 and ids[0] not in tokenizer.all_special_ids else None


def _checked_id(word: str, name: str, tokenizer: Tokenizer) -> int:
    token_id = single_token(word, tokenizer)
    if token_id is not None:
        return token_id
    ids = tokenizer.inside(tokenizer.encode(word))
    pieces = " + ".join(repr(surface.strip()) for surface in tokenizer.surfaces(ids))
    found = f"is {len(ids)} tokens ({pieces})" if len(ids) > 1 else "is not in the vocabulary"
    close = _similar_word(word, name, tokenizer)
    advice = f", such as {close!r}" if close else ""
    raise UsageError(
        f"The word {word!r} for the label {name!r} {found}; expected one token, because the model predicts one at "
        f"[MASK]: choose another word{advice}."
    )


def _similar_word(word: str, name: str, tokenizer: Tokenizer) -> str | None:
    """A word of one token in place of another: in another case, usual for the label, or spelt alike."""
    usual = usual_words_of([name]) or {}
    others = [word.lower(), word.capitalize(), *(w for words in usual.values() for w in words), name]
    for other in others:
        if single_token(other, tokenizer) is not None:
            return other
    known = [tokenizer.decode([int(i)]).strip() for i in tokenizer.starts_word.nonzero()[0]]
    close = difflib.get_close_matches(word, [w for w in known if len(w) > 2 and w.isalpha()], n=1, cutoff=0.5)
    return close[0] if close else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
