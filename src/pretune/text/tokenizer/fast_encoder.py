"""Encode with gigatoken, if installed: a young library, so its ids are first compared with the tokenizer's."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from itertools import chain

import numpy as np

from pretune.text.tokenizer.encoder import CleanTextEncoder, IdArray, IntArray
from pretune.text.tokenizer.tokenizer import Tokenizer

LIBRARY = "gigatoken"
TEXTS_TO_CHECK = 1000


class CleanTextEncoding:
    """Encodes clean texts as `Tokenizer.encode_documents` does: with gigatoken if it can and agrees, else by stretches.

    The first thousand texts are also encoded by the tokenizer itself. If any ids differ, or if the library fails then
    or later, `is_refused` is true and the library is not used again.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.is_refused = False
        self._by_stretches = CleanTextEncoder(tokenizer)
        self._num_checked = 0
        self._library: _Gigatoken | None = None
        if can_encode(tokenizer):
            try:
                self._library = _Gigatoken(tokenizer)
            except Exception:  # another version, or one of its own requirements is missing
                self.is_refused = True

    @property
    def encoder(self) -> str:
        """The library that encodes."""
        return "tokenizers" if self._library is None else LIBRARY

    @property
    def is_exact(self) -> bool:
        """Whether the lookup of stretches agreed with the tokenizer, as far as it was used."""
        return self._by_stretches.is_exact

    def encode(self, texts: Sequence[str]) -> tuple[IdArray, IntArray]:
        """All ids one after another, each text between [BOS] and [EOS], and the number of ids of each text."""
        if self._library is not None and self._num_checked < TEXTS_TO_CHECK:
            self._check(texts[: TEXTS_TO_CHECK - self._num_checked])
        found = self._encode_with_library(texts)
        return self._by_stretches.encode(texts) if found is None else found

    def _encode_with_library(self, texts: Sequence[str]) -> tuple[IdArray, IntArray] | None:
        """The result of the library; None if it is not available or no longer used."""
        if self._library is None:
            return None
        try:
            ids, lengths = self._library.encode(texts)
            if len(lengths) == len(texts) and int(lengths.sum()) == len(ids):
                return ids, lengths
        except Exception:  # whatever a young library raises, the text must be encoded
            pass
        self._refuse()
        return None

    def _refuse(self) -> None:
        self._library, self.is_refused = None, True

    def _check(self, texts: Sequence[str]) -> None:
        expected, found = self.tokenizer.encode_batch(texts), self._encode_with_library(texts)
        self._num_checked += len(texts)
        if found is not None:
            ids, lengths = found
            if lengths.tolist() != list(map(len, expected)) or ids.tolist() != list(chain.from_iterable(expected)):
                self._refuse()


def can_encode(tokenizer: Tokenizer) -> bool:
    """Whether gigatoken is installed and knows this kind of tokenizer."""
    is_known = tokenizer.is_own and tokenizer.kind == "bpe" and not tokenizer.is_lowercase
    return is_known and importlib.util.find_spec(LIBRARY) is not None


class _Gigatoken:
    """The tokenizer's subwords and merges in gigatoken; blanks and special tokens are added here."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.awkward = importlib.import_module("awkward")
        plain = json.loads(tokenizer.backend.to_str())
        plain |= {"normalizer": None, "post_processor": None, "added_tokens": []}
        plain["pre_tokenizer"] = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        }
        self.backend = importlib.import_module(LIBRARY).Tokenizer.from_json(json.dumps(plain))

    def encode(self, texts: Sequence[str]) -> tuple[IdArray, IntArray]:
        if not texts:
            return np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.int64)
        rows = self.backend.encode_batch([b" " + text.encode() if text else b"" for text in texts])
        lengths = self.awkward.num(rows).to_numpy().astype(np.int64) + 2
        ends = np.cumsum(lengths)
        ids = np.empty(int(ends[-1]), dtype=np.uint32)
        is_text = np.ones(len(ids), dtype=np.bool_)
        is_text[ends - lengths] = is_text[ends - 1] = False
        ids[ends - lengths], ids[ends - 1] = self.tokenizer.bos_id, self.tokenizer.eos_id
        ids[is_text] = self.awkward.flatten(rows).to_numpy()
        return ids, lengths
