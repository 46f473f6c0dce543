"""Text to token ids and back: byte-level BPE, WordPiece or whole words, saved as transformers loads it.

A foreign tokenizer, which came with a public model, is used as it is: its own normalizer, subwords and special tokens.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

# Set before the library is imported, so that its panics print no Rust traces. Whether it uses all cores is left to the
# library, since it stops doing so in a forked process, where its threads are gone.
os.environ.setdefault("RUST_BACKTRACE", "0")

import tokenizers
from tokenizers import models, normalizers

from pretune.errors import CorruptModelError, ModelNotFoundError
from pretune.runtime.atomic import write_json, write_text
from pretune.text.tokenizer.files import TOKENIZER_CONFIG_NAME, TOKENIZER_FILES, TOKENIZER_NAME, conversion_command
from pretune.text.tokenizer.special_tokens import (
    NONE,
    SpecialTokens,
    find_special_tokens,
    keep_as_text,
)

TokenizerKind = Literal["bpe", "wordpiece", "words"]
T = TypeVar("T")

PAD, BOS, EOS, MASK, UNK = "[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]"
MODEL_MAX_LENGTH = 512
HEAD_FRACTION = 0.25  # of a text that is too long; the rest is its tail (128 + 382 of 512 in arXiv:1905.05583)
_SLOW_TOKENIZER_NAMES = (
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
CONTINUES = "##"  # before a WordPiece subword that continues a word

_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")
_BLANK = "\u2581"  # in front of a word in SentencePiece
_CLOSERS = "\"'”’»)]"
_STRETCHES_AT_ONCE = 1000  # in one text


@dataclass(frozen=True)
class EncodedText:
    """Ids with [BOS] and [EOS], and for each the span of the text that it stands for: text[start:end]."""

    ids: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True)
class EncodedPair:
    """The ids of a row of two texts, and for each its span in its own text, and which text that is: 0, 1, or None for a
    special token."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    texts: list[int | None]


class Tokenizer:
    """A trained tokenizer. Special tokens typed in a text are plain text, except in `encode_for_fill`.

    `bos_id` and `eos_id` are what a text is put between: [BOS] and [EOS], or a foreign tokenizer's [CLS] and [SEP], <s>
    and </s>. They and `mask_id` are -1 if a foreign tokenizer has no such token. `end_id` ends a document of a corpus:
    it is `eos_id`, or, if nothing is put after a text, the token that a foreign tokenizer names as its end; -1 if none.
    """

    def __init__(self, backend: tokenizers.Tokenizer, foreign: SpecialTokens | None = None) -> None:
        """`foreign` are the special tokens of a tokenizer that pretune did not train."""
        self.backend, self.foreign = backend, foreign
        backend.encode_special_tokens = True
        self.kind: TokenizerKind | Literal["sentencepiece"] = _kind_of(backend)
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        if foreign is None:
            names = (PAD, BOS, EOS, MASK)
            self.pad_id, self.bos_id, self.eos_id, self.mask_id = (self._special_id(name) for name in names)
            self.end_id = self.eos_id
            self.unk_id: int | None = None if self.kind == "bpe" else backend.token_to_id(UNK)
        else:
            self.pad_id, self.bos_id, self.eos_id, self.mask_id = foreign.pad, foreign.bos, foreign.eos, foreign.mask
            self.end_id = foreign.end
            self.unk_id = None if foreign.unk == NONE else foreign.unk
            self.vocab_size = max([self.vocab_size, *(i + 1 for i in foreign.all)])

    def _special_id(self, name: str) -> int:
        found = self.backend.token_to_id(name)
        if found is None:
            raise CorruptModelError(f"The tokenizer has no token {name}; expected one that pretune trained.")
        return int(found)

    @property
    def is_own(self) -> bool:
        """Whether pretune trained it."""
        return self.foreign is None

    @property
    def num_around(self) -> tuple[int, int]:
        """The numbers of special tokens that a text has before and after it."""
        return int(self.bos_id != NONE), int(self.eos_id != NONE)

    def inside(self, row: Sequence[T]) -> list[T]:
        """The ids of a text, or their spans, without those of the special tokens before and after it."""
        before, after = self.num_around
        return list(row[before : len(row) - after])

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids of the special tokens by role: pad, bos, eos, mask, and unk, as far as there are any."""
        ids = {"pad": self.pad_id, "bos": self.bos_id, "eos": self.eos_id, "mask": self.mask_id}
        if self.unk_id is not None:
            ids["unk"] = self.unk_id
        return {role: token_id for role, token_id in ids.items() if token_id != NONE}

    @property
    def hiding_id(self) -> int:
        """The id that hides a word: of [MASK], or, without one, of the unknown word, or of padding."""
        if self.mask_id != NONE:
            return self.mask_id
        return self.pad_id if self.unk_id is None else self.unk_id

    @property
    def marks_second_text(self) -> bool:
        """Whether a pair of texts is encoded with type ids that tell the two apart."""
        return 1 in self.backend.encode("a", "a").type_ids

    @property
    def separates_pairs(self) -> bool:
        """Whether a token stands between the two texts of a pair; some tokenizers of models that write add none."""
        of_text = self.backend.encode("a", "a").sequence_ids
        return 1 not in of_text or of_text[of_text.index(1) - 1] is None

    @cached_property
    def all_special_ids(self) -> frozenset[int]:
        """Ids of all tokens that stand for no text, with a role or without. What pads may stand for text: without a
        token for it, a foreign tokenizer pads with id 0, which is an ordinary one in Llama 3."""
        added = self.backend.get_added_tokens_decoder().items()
        marked = frozenset(token_id for token_id, token in added if token.special)  # also the marks of a chat template
        return marked.union(self.special_ids.values() if self.foreign is None else self.foreign.all)

    @cached_property
    def first_ordinary_id(self) -> int:
        """The first id that stands for text. So do all that follow, except that there may be special tokens at the end:
        those of a foreign tokenizer, or the marks of a chat template."""
        if self.is_own:
            return max(self.special_ids.values()) + 1
        first = 0
        while first in self.all_special_ids:
            first += 1
        return max([first - 1, *(token_id for token_id in self.all_special_ids if token_id < self.vocab_size // 2)]) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of one text, between [BOS] and [EOS], or as a foreign tokenizer encodes it."""
        return list(self.backend.encode(text).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, each between [BOS] and [EOS]."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts))]

    def encode_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many documents of a corpus: like those of texts, but each ends with `end_id`, if there is one."""
        end = [self.end_id] if self.eos_id == NONE != self.end_id else []
        return [encoding.ids + end for encoding in self.backend.encode_batch_fast(list(texts))]

    @cached_property
    def num_special_of_document(self) -> int:
        """How many tokens of a document stand for no text: two of pretune's own, of a foreign tokenizer as many as it
        adds, and the end."""
        plain = self.backend.encode("a", add_special_tokens=False).ids
        return len(self.encode_documents(["a"])[0]) - len(plain)

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Ids of many pairs of texts: [BOS] first [EOS] second [EOS]."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(pairs))]

    def encode_inside(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts that follow a special token, as transformers has them for such a place in a longer text.

        Nothing is added around a text, and a tokenizer that gives the first word of a text a blank does not do so here.
        """
        encoded = self._backend_for_inside.encode_batch_fast(list(texts), add_special_tokens=False)
        return [each.ids for each in encoded]

    def encode_clean_stretches(self, stretches: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Ids of stretches without white space, as inside a clean text, without [BOS] and [EOS].

        Returns all ids, one stretch after another, and the number of ids of each stretch.
        """
        texts = list(stretches)
        if self.kind == "bpe":  # one text of many stretches takes a fraction of the time, and each begins with a blank
            texts = [" ".join(texts[i : i + _STRETCHES_AT_ONCE]) for i in range(0, len(texts), _STRETCHES_AT_ONCE)]
        rows = [each.ids for each in self._backend_for_clean.encode_batch_fast(texts, add_special_tokens=False)]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        ids = np.fromiter(chain.from_iterable(rows), dtype=np.uint32, count=int(lengths.sum()))
        if self.kind == "bpe":
            lengths = np.diff(np.flatnonzero(self.starts_word[ids]), append=len(ids))
        if len(lengths) != len(stretches):
            raise RuntimeError(f"{len(stretches)} stretches were encoded as {len(lengths)}")
        return ids, lengths

    def encode_with_offsets(self, text: str) -> EncodedText:
        """Ids and the span of each in the text; [BOS] and [EOS] have the empty span (0, 0)."""
        return _to_encoded(self.backend.encode(text))

    def encode_pair_with_offsets(self, first: str, second: str) -> EncodedPair:
        """Ids of a pair of texts, [BOS] first [EOS] second [EOS], with the span of each in its own text."""
        encoding = self.backend.encode(first, second)
        return EncodedPair(ids=list(encoding.ids), offsets=list(encoding.offsets), texts=list(encoding.sequence_ids))

    def encode_batch_with_offsets(self, texts: Sequence[str]) -> list[EncodedText]:
        """The same for many texts."""
        return [_to_encoded(encoding) for encoding in self.backend.encode_batch(list(texts))]

    def encode_for_fill(self, text: str) -> EncodedText:
        """The same, but [MASK] in the text is the mask token, whatever its own name, including a blank before it."""
        encoded = _to_encoded(self._backend_for_fill.encode(text))
        typed = self._backend_for_fill.token_to_id(MASK)
        ids = [self.mask_id if token_id == typed else token_id for token_id in encoded.ids]
        return EncodedText(ids=ids, offsets=encoded.offsets)

    def encode_truncated(self, text: str, max_seq_len: int) -> tuple[list[int], bool]:
        """Ids of at most `max_seq_len` tokens, [BOS] and [EOS] counted, and whether the text was cut."""
        ids = self.encode(text)
        return cut_middle(ids, max_seq_len), len(ids) > max_seq_len

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without special tokens."""
        text: str = self.backend.decode([int(i) for i in ids], skip_special_tokens=True)
        return text

    def surfaces(self, ids: Sequence[int]) -> list[str]:
        """The text of every token by itself: BPE tokens with their leading blank, and U+FFFD for parts of a character;
        WordPiece tokens with `##` if they continue a word."""
        return [self._surfaces[int(i)] for i in ids]

    @property
    def is_lowercase(self) -> bool:
        """Whether text is lowercased before tokenization."""
        return _lowercase_of(self.backend) is not None

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of every token; empty for special tokens."""
        tokens = [self.backend.id_to_token(i) or "" for i in range(self.vocab_size)]
        special = self.all_special_ids
        if self.kind == "sentencepiece":
            return [b"" if i in special else _sentencepiece_bytes(token) for i, token in enumerate(tokens)]
        if self.kind != "bpe":
            pieces = [token.removeprefix(CONTINUES) if self._continues(i) else token for i, token in enumerate(tokens)]
            return [b"" if i in special else piece.encode() for i, piece in enumerate(pieces)]
        byte_of = {character: byte for byte, character in _byte_characters().items()}
        written = self.backend.get_added_tokens_decoder()  # as they are, not in the characters for bytes
        return [
            b"" if i in special else token.encode() if i in written else bytes(byte_of[c] for c in token)
            for i, token in enumerate(tokens)
        ]

    @cached_property
    def starts_word(self) -> npt.NDArray[np.bool_]:
        """(V,): whether a token begins a word: BPE and SentencePiece tokens with a leading blank, WordPiece tokens
        without `##`, all whole words."""
        has_blanks = self.kind in ("bpe", "sentencepiece")
        starts = [
            bool(b) and (b.startswith(b" ") if has_blanks else not self._continues(i))
            for i, b in enumerate(self.token_bytes)
        ]
        return np.array(starts, dtype=np.bool_)

    @cached_property
    def is_sentence_end(self) -> npt.NDArray[np.bool_]:
        """(V,): whether a sentence may end after a token."""
        surfaces = [surface.rstrip(_CLOSERS) or surface for surface in self._surfaces]
        ends = np.array([surface.endswith(_SENTENCE_ENDS) for surface in surfaces], dtype=np.bool_)
        ends[: self.first_ordinary_id] = False
        return ends

    @cached_property
    def _surfaces(self) -> list[str]:
        names = {i: self.backend.id_to_token(i) for i in self.all_special_ids}
        pieces = [
            (CONTINUES if self._continues(i) else "") + piece.decode("utf-8", "replace")
            for i, piece in enumerate(self.token_bytes)
        ]
        return [names.get(i) or piece for i, piece in enumerate(pieces)]

    def _continues(self, token_id: int) -> bool:
        token = self.backend.id_to_token(token_id) or ""
        return self.kind == "wordpiece" and len(token) > len(CONTINUES) and token.startswith(CONTINUES)

    @cached_property
    def _backend_for_fill(self) -> tokenizers.Tokenizer:
        # A copy: changing the flag of the shared backend is not safe with several threads.
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.encode_special_tokens = False
        if self.mask_id != NONE and backend.token_to_id(MASK) is None:
            backend.add_special_tokens([tokenizers.AddedToken(MASK, lstrip=True)])
        return backend

    @cached_property
    def _backend_for_clean(self) -> tokenizers.Tokenizer:
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.encode_special_tokens = True
        if self.is_own:
            backend.normalizer = _lowercase_of(self.backend)
        return backend

    @cached_property
    def _backend_for_inside(self) -> tokenizers.Tokenizer:
        written = self.backend.to_str()
        backend = tokenizers.Tokenizer.from_str(written.replace('"prepend_scheme":"first"', '"prepend_scheme":"never"'))
        backend.encode_special_tokens = True
        return backend

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, from which transformers loads the same tokenizer."""
        write_text(folder / TOKENIZER_NAME, self.backend.to_str(pretty=True) + "\n")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MODEL_MAX_LENGTH,
            "model_input_names": ["input_ids", "attention_mask"],
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            "pad_token": PAD,
            "bos_token": BOS,
            "eos_token": EOS,
            "mask_token": MASK,
        }
        if self.unk_id is not None:
            config["unk_token"] = UNK
        write_json(folder / TOKENIZER_CONFIG_NAME, config)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, pretune's own or a foreign one.

    Raises ModelNotFoundError if there is none, CorruptModelError if it is damaged.
    """
    path = Path(folder) / TOKENIZER_NAME
    if not path.is_file() and any((Path(folder) / name).is_file() for name in _SLOW_TOKENIZER_NAMES):
        raise ModelNotFoundError(
            f"{folder} has no {TOKENIZER_NAME}, only files of an older kind of tokenizer; transformers converts them: "
            f"{conversion_command(folder, 'AutoTokenizer')}"
        )
    if not path.is_file():
        raise ModelNotFoundError(f"{folder} has no {TOKENIZER_NAME}; expected a preprocess or checkpoint folder.")
    try:
        backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise CorruptModelError(f"{path} is damaged ({str(error)[:120]}); restore it from a backup.") from error
    backend.no_truncation()  # a public tokenizer may pad and cut every text to a fixed length
    backend.no_padding()
    is_own = all(backend.token_to_id(name) is not None for name in (PAD, BOS, EOS, MASK))
    if isinstance(backend.model, models.Unigram):
        keep_as_text(backend)
    return Tokenizer(backend, None if is_own else find_special_tokens(backend, Path(folder)))


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of the tokenizer in a folder, as far as it has them."""
    return [file for name in TOKENIZER_FILES if (file := Path(folder) / name).is_file()]


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of a tokenizer byte for byte into a folder."""
    for file in tokenizer_files(source):
        shutil.copyfile(file, folder / file.name)


def cut_middle(ids: list[int], max_seq_len: int) -> list[int]:
    """At most `max_seq_len` ids: a quarter of them from the head, the rest from the tail, with [BOS] and [EOS]."""
    if len(ids) <= max_seq_len:
        return ids
    head = max(1, int(max_seq_len * HEAD_FRACTION))
    return ids[:head] + ids[len(ids) - (max_seq_len - head) :]


def _kind_of(backend: tokenizers.Tokenizer) -> TokenizerKind | Literal["sentencepiece"]:
    if isinstance(backend.model, models.WordPiece):
        return "wordpiece"
    if isinstance(backend.model, models.WordLevel):
        return "words"
    is_byte_level = isinstance(backend.model, models.BPE) and "ByteLevel" in f"{backend.pre_tokenizer}{backend.decoder}"
    return "bpe" if is_byte_level else "sentencepiece"


def _sentencepiece_bytes(token: str) -> bytes:
    """The text of a SentencePiece token; one of the 256 that stand for a byte is written <0x41>."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace(_BLANK, " ").encode()


def _lowercase_of(backend: tokenizers.Tokenizer) -> Any:
    """The part of the normalizer that changes clean text."""
    is_lowercase = "Lowercase" in repr(backend.normalizer)
    return normalizers.Lowercase() if is_lowercase else None


def _byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE uses for each byte (GPT-2's table)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(256 + i) for i, b in enumerate(hidden)}}


def _to_encoded(encoding: Any) -> EncodedText:
    return EncodedText(ids=list(encoding.ids), offsets=list(encoding.offsets))
