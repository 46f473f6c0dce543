"""Text to token ids and back: byte-level BPE or whole words, trained here, saved as transformers loads it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

# Before the library is imported: it may use all cores (nothing here forks), and its panics print no rust traces.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("RUST_BACKTRACE", "0")

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from pretune.errors import CorruptModelError, InputDataError, ModelNotFoundError
from pretune.runtime.artifacts import write_json, write_text
from pretune.text.word_counts import count_words, keep_common

TokenizerKind = Literal["bpe", "words"]

PAD, BOS, EOS, MASK, UNK = "[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]"
MAX_VOCAB_SIZE = 8192  # when the size is chosen from the text
MIN_PAIR_COUNT = 20  # when the size is chosen from the text: a token must be seen often enough to be learnt
MIN_WORD_COUNT = 3  # likewise, for whole words
TRAINING_CHARACTERS = 10_000_000  # beyond that, training counts are scaled down
MODEL_MAX_LENGTH = 512
HEAD_SHARE = 0.25  # of a text that is too long; the rest is its tail (128 + 382 of 512 in arXiv:1905.05583)
TOKENIZER_NAME, TOKENIZER_CONFIG_NAME = "tokenizer.json", "tokenizer_config.json"

_WORD = r"\w+(?:['’\-]\w+)*|[^\w\s]"
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")
_CLOSERS = "\"'”’»)]"


@dataclass(frozen=True)
class EncodedText:
    """Ids with [BOS] and [EOS], and for each the characters of the text it stands for: text[start:end]."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer:
    """A trained tokenizer. Special tokens typed in a text are plain text everywhere but in `encode_for_fill`."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        backend.encode_special_tokens = True
        self.kind: TokenizerKind = "bpe" if isinstance(backend.model, models.BPE) else "words"
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self.pad_id, self.bos_id, self.eos_id, self.mask_id = (self._special_id(name) for name in (PAD, BOS, EOS, MASK))
        self.unk_id: int | None = backend.token_to_id(UNK) if self.kind == "words" else None

    def _special_id(self, name: str) -> int:
        found = self.backend.token_to_id(name)
        if found is None:
            raise CorruptModelError(f"The tokenizer has no token {name}; expected one that pretune trained.")
        return int(found)

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids of the special tokens by role: pad, bos, eos, mask, and unk where there is one."""
        ids = {"pad": self.pad_id, "bos": self.bos_id, "eos": self.eos_id, "mask": self.mask_id}
        return ids if self.unk_id is None else {**ids, "unk": self.unk_id}

    @property
    def first_ordinary_id(self) -> int:
        """Every id from here on stands for text."""
        return max(self.special_ids.values()) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of one text, between [BOS] and [EOS]."""
        return list(self.backend.encode(text).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, each between [BOS] and [EOS]."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts))]

    def encode_clean_stretches(self, stretches: Sequence[str]) -> list[list[int]]:
        """Ids of stretches without white space, as they are in the middle of a clean text: no [BOS], no [EOS]."""
        encodings = self._backend_for_clean.encode_batch_fast(list(stretches), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, text: str) -> EncodedText:
        """Ids, and the characters each stands for; [BOS] and [EOS] have the empty span (0, 0)."""
        return _to_encoded(self.backend.encode(text))

    def encode_for_fill(self, text: str) -> EncodedText:
        """The same, but [MASK] in the text is the mask token; a blank before it belongs to it."""
        return _to_encoded(self._backend_for_fill.encode(text))

    def encode_truncated(self, text: str, max_seq_len: int) -> tuple[list[int], bool]:
        """Ids of at most `max_seq_len` tokens, [BOS] and [EOS] counted, and whether the text was cut."""
        ids = self.encode(text)
        return cut_middle(ids, max_seq_len), len(ids) > max_seq_len

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without special tokens."""
        text: str = self.backend.decode([int(i) for i in ids], skip_special_tokens=True)
        return text

    def surfaces(self, ids: Sequence[int]) -> list[str]:
        """Every token as it reads on its own, with its leading blank; pieces of a character show as U+FFFD."""
        return [self._surfaces[int(i)] for i in ids]

    @property
    def is_lowercase(self) -> bool:
        """Whether upper case is folded to lower case before anything else."""
        return _lowercase_of(self.backend) is not None

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes that every token stands for; special tokens stand for none."""
        tokens = [self.backend.id_to_token(i) or "" for i in range(self.vocab_size)]
        special = set(self.special_ids.values())
        if self.kind == "words":
            return [b"" if i in special else token.encode() for i, token in enumerate(tokens)]
        byte_of = {character: byte for byte, character in _byte_characters().items()}
        return [b"" if i in special else bytes(byte_of[c] for c in token) for i, token in enumerate(tokens)]

    @cached_property
    def starts_word(self) -> npt.NDArray[np.bool_]:
        """(V,): tokens that begin a new word, that is those with a leading blank; in a word vocabulary all."""
        is_word = [bool(b) and (self.kind == "words" or b.startswith(b" ")) for b in self.token_bytes]
        return np.array(is_word, dtype=np.bool_)

    @cached_property
    def is_sentence_end(self) -> npt.NDArray[np.bool_]:
        """(V,): tokens after which a sentence may be over."""
        surfaces = [surface.rstrip(_CLOSERS) or surface for surface in self._surfaces]
        ends = np.array([surface.endswith(_SENTENCE_ENDS) for surface in surfaces], dtype=np.bool_)
        ends[: self.first_ordinary_id] = False
        return ends

    @cached_property
    def _surfaces(self) -> list[str]:
        names = {i: self.backend.id_to_token(i) for i in self.special_ids.values()}
        return [names.get(i) or piece.decode("utf-8", "replace") for i, piece in enumerate(self.token_bytes)]

    @cached_property
    def _backend_for_fill(self) -> tokenizers.Tokenizer:
        # An own copy: switching the flag of the shared one would not be safe with several threads.
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.encode_special_tokens = False
        return backend

    @cached_property
    def _backend_for_clean(self) -> tokenizers.Tokenizer:
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.encode_special_tokens = True
        backend.normalizer = _lowercase_of(self.backend)
        return backend

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and the tokenizer_config.json from which transformers makes the same tokenizer."""
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
    """The tokenizer of a folder. Raises ModelNotFoundError where there is none, CorruptModelError for a damaged one."""
    path = Path(folder) / TOKENIZER_NAME
    if not path.is_file():
        raise ModelNotFoundError(f"{folder} has no {TOKENIZER_NAME}; expected a preprocess or checkpoint folder.")
    try:
        backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise CorruptModelError(f"{path} is damaged ({str(error)[:120]}); restore it from a backup.") from error
    return Tokenizer(backend)


def train_tokenizer(
    texts: Iterable[str], kind: TokenizerKind = "bpe", vocab_size: int | None = None, lowercase: bool = False
) -> Tokenizer:
    """Train on clean texts, which are read once and not kept but for their different words.

    Without `vocab_size` the vocabulary has at most 8,192 tokens and fewer where the text does not show more of them
    often enough. Raises InputDataError where the text does not support the size asked for.
    """
    return train_on_counts(keep_common(count_words(texts)), kind, vocab_size, lowercase)


def train_on_counts(
    counts: Counter[str], kind: TokenizerKind = "bpe", vocab_size: int | None = None, lowercase: bool = False
) -> Tokenizer:
    """The same, from how often each stretch between blanks occurs."""
    scale = max(1, sum(len(stretch) * count for stretch, count in counts.items()) / TRAINING_CHARACTERS)
    backend = _untrained(kind)
    backend.normalizer = normalizers.Lowercase() if lowercase else None
    backend.train_from_iterator(_repeat_stretches(counts, scale), _trainer(kind, vocab_size, scale))
    _finish(backend, lowercase)
    tokenizer = Tokenizer(backend)
    if vocab_size is not None and tokenizer.vocab_size < vocab_size:
        raise InputDataError(
            f"The text supports a vocabulary of {tokenizer.vocab_size:,} tokens, and {vocab_size:,} were asked for; "
            f"give more text, or --vocab-size {tokenizer.vocab_size} or less, or leave it out."
        )
    return tokenizer


def cut_middle(ids: list[int], max_seq_len: int) -> list[int]:
    """At most `max_seq_len` ids: the first quarter and the last three quarters of what fits, with [BOS] and [EOS]."""
    if len(ids) <= max_seq_len:
        return ids
    head = max(1, int(max_seq_len * HEAD_SHARE))
    return ids[:head] + ids[len(ids) - (max_seq_len - head) :]


def _repeat_stretches(counts: Counter[str], scale: float) -> Iterator[list[str]]:
    """Text in which every stretch occurs as often as counted, divided by `scale`.

    The library learns from text, not from counts, and its time goes by the length of the text. The remainder of the
    division is rounded up or down by a hash of the stretch, so that rare stretches count as much as they should in sum.
    """
    batch: list[str] = []
    for stretch in sorted(counts):
        repeats = int(counts[stretch] / scale + (crc32(stretch.encode()) / 2**32 if scale > 1 else 0))
        for start in range(0, repeats, 1000):
            batch.append(" ".join([stretch] * min(1000, repeats - start)))
        if len(batch) >= 1000:
            yield batch
            batch = []
    yield batch


def _untrained(kind: TokenizerKind) -> tokenizers.Tokenizer:
    if kind == "bpe":
        backend = tokenizers.Tokenizer(models.BPE())
        # The first word gets a blank too, so that a word is the same token wherever it stands.
        first_blank = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([first_blank, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    else:
        backend = tokenizers.Tokenizer(models.WordLevel(unk_token=UNK))
        backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(_WORD), behavior="removed", invert=True)
    return backend


def _normalizer(lowercase: bool) -> Any:
    """What clean text has already, so that whoever uses the tokenizer alone gets the same ids: one blank for any white
    space, none at the end, line breaks of HTML as blanks, Unicode NFC."""
    steps = [
        normalizers.NFC(),
        normalizers.Replace(tokenizers.Regex(r"(?:\s|<br\s*/?>)+"), " "),
        normalizers.Replace(tokenizers.Regex(r"\s+$"), ""),
    ]
    return normalizers.Sequence([*steps, normalizers.Lowercase()] if lowercase else steps)


def _lowercase_of(backend: tokenizers.Tokenizer) -> Any:
    """The part of the normalizer that changes clean text."""
    is_lowercase = "Lowercase" in repr(backend.normalizer)
    return normalizers.Lowercase() if is_lowercase else None


def _trainer(kind: TokenizerKind, vocab_size: int | None, scale: float) -> Any:
    if kind == "bpe":
        return trainers.BpeTrainer(
            vocab_size=vocab_size or MAX_VOCAB_SIZE,
            min_frequency=max(2, round(MIN_PAIR_COUNT / scale)) if vocab_size is None else 2,
            special_tokens=[PAD, BOS, EOS, MASK],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            max_token_length=32,
            show_progress=False,
        )
    return trainers.WordLevelTrainer(
        vocab_size=vocab_size or MAX_VOCAB_SIZE,
        min_frequency=max(1, round(MIN_WORD_COUNT / scale)) if vocab_size is None else 1,
        special_tokens=[PAD, BOS, EOS, MASK, UNK],
        show_progress=False,
    )


def _finish(backend: tokenizers.Tokenizer, lowercase: bool) -> None:
    backend.normalizer = _normalizer(lowercase)
    # The blank before [MASK] belongs to it, so that "in the [MASK]." gives the pieces that hiding a word gives.
    backend.add_special_tokens([tokenizers.AddedToken(**_mask_token_fields())])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        pair=f"{BOS} $A {EOS} $B {EOS}",
        special_tokens=[(name, backend.token_to_id(name)) for name in (BOS, EOS)],
    )


def _mask_token_fields() -> dict[str, Any]:
    return {
        "content": MASK,
        "lstrip": True,
        "rstrip": False,
        "single_word": False,
        "special": True,
        "normalized": False,
    }


def _byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's table)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(256 + i) for i, b in enumerate(hidden)}}


def _to_encoded(encoding: Any) -> EncodedText:
    return EncodedText(ids=list(encoding.ids), offsets=list(encoding.offsets))
