"""Assign texts to train, validation or test by a hash of the text alone, never by order or seed."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Literal

from pretune.errors import UsageError

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
MIN_VALIDATION_TEXTS = 5  # of every class that has enough texts

_SALT = "pretune split v1\n"  # never change it: another salt would move held-out text into training


def normalise_for_hash(text: str) -> str:
    """The form in which two texts count as the same: NFC, case folded, white space collapsed and stripped."""
    if text.isascii():  # the same, much faster
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def hash_text(text: str) -> bytes:
    """32 bytes that are a function of the normalised text only."""
    return hashlib.sha256((_SALT + normalise_for_hash(text)).encode("utf-8", "surrogatepass")).digest()


def hash_texts(texts: Sequence[str], is_plain: Sequence[bool]) -> list[bytes]:
    """`hash_text` of each; `is_plain` marks texts that are ASCII with single blanks between words."""
    salt = _SALT.encode()
    # Plain texts have no line feeds, so they can all be folded at once.
    plain = "\n".join(compress(texts, is_plain)).lower().encode().split(b"\n")
    hashes = iter([hashlib.sha256(salt + text).digest() for text in plain])
    return [next(hashes) if known else hash_text(text) for text, known in zip(texts, is_plain, strict=True)]


def hash_unit(text: str) -> float:
    """A number in [0, 1) that is a function of the normalised text only."""
    return unit_of_hash(hash_text(text))


def unit_of_hash(digest: bytes) -> float:
    """The number that `hash_unit` returns, from the hash of the text."""
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # 53 bits, so that the quotient never rounds up to 1


def split_of(text: str, validation_fraction: float, test_fraction: float = 0.0) -> Split:
    """The split of one text; the text with the smallest hash is always on the training side."""
    return _split_of_unit(hash_unit(text), validation_fraction, test_fraction)


def assign_splits(
    texts: Sequence[str],
    labels: Sequence[str],
    validation_fraction: float,
    test_fraction: float = 0.0,
    *,
    names: Sequence[Iterable[str]] = (),
) -> list[Split]:
    """The split of every row of a label file; rows with the same text always share one.

    If a class has fewer than MIN_VALIDATION_TEXTS distinct validation texts, its training texts with the smallest
    hashes are moved there, as long as at least as many stay for training; a class without any training text gets its
    smallest hash back. If a row has several `names`, of which `labels` has only one, each of them gets it back, too.
    Compare with `split_of` to find the moved rows. Empty texts count for no class.
    """
    keys = [normalise_for_hash(text) for text in texts]
    units = {key: hash_unit(key) for key in dict.fromkeys(keys)}
    split = {key: _split_of_unit(unit, validation_fraction, test_fraction) for key, unit in units.items()}
    texts_of_class = _group_by_name(keys, [(label,) for label in labels])
    keep = min((key for key in units if key), key=lambda key: (units[key], key), default="")
    for label in sorted(texts_of_class):
        if validation_fraction > 0:
            _fill_validation(sorted(texts_of_class[label], key=lambda key: (units[key], key)), split, keep)
    for groups in (texts_of_class, _group_by_name(keys, names) if names else {}):
        for _, members in sorted(groups.items()):
            if not any(split[key] == "train" for key in members):
                split[min(members, key=lambda key: (units[key], key))] = "train"
    return [split[key] for key in keys]


def _group_by_name(keys: Sequence[str], names: Sequence[Iterable[str]]) -> dict[str, set[str]]:
    """The keys of the rows that have each name, without the empty one."""
    groups: dict[str, set[str]] = {}
    for key, names_of_row in zip(keys, names, strict=True):
        for name in names_of_row if key else ():
            groups.setdefault(name, set()).add(key)
    return groups


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    """Raise UsageError for fractions that leave nothing to train on, or nothing to validate with."""
    if not (0 < validation_fraction < 1 and 0 <= test_fraction < 1 and validation_fraction + test_fraction < 1):
        raise UsageError(
            f"--validation-fraction {validation_fraction} and --test-fraction {test_fraction} leave no room; expected "
            "fractions that add up to less than 1, with the validation fraction above 0."
        )


def _fill_validation(members: list[str], split: dict[str, Split], keep: str) -> None:
    """Move the smallest training hashes of a class (`members` is sorted) to validation; `keep` always stays."""
    train = [key for key in members if split[key] == "train"]
    num_train, num_validation = len(train), sum(split[key] == "validation" for key in members)
    for key in train:
        if num_validation >= MIN_VALIDATION_TEXTS or num_train <= num_validation + 1:
            return
        if key != keep:
            split[key] = "validation"
            num_train, num_validation = num_train - 1, num_validation + 1


def _split_of_unit(unit: float, validation_fraction: float, test_fraction: float) -> Split:
    if unit < 1.0 - validation_fraction - test_fraction:
        return "train"
    return "validation" if unit < 1.0 - test_fraction else "test"
