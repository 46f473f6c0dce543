"""Which tokens of a foreign tokenizer pad, begin and end a text, hide a word, and stand for the unknown.

What a text is put between is what the tokenizer's post-processor adds ([CLS] ... [SEP], <s> ... </s>, or nothing); the
other roles are read from the settings that transformers keeps beside the tokenizer, and then guessed from usual names.
Many tokenizers of models that write add no end, but name one: their documents were joined with it in pre-training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import normalizers

from pretune.errors import CorruptModelError
from pretune.runtime.json_text import parse_json
from pretune.text.tokenizer.files import SETTINGS_FILES

NONE = -1  # the id of a role that no token has
_END = "eos"  # as transformers calls the token that ends a text
_USUAL_NAMES = {
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|padding|>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
    "unk": ("[UNK]", "<unk>", "<|unk|>"),
}


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Ids by role, NONE for a role without a token, and all ids that stand for no text.

    `bos` and `eos` are what the tokenizer puts around a text. `end` is what ends a document: `eos`, or else the token
    that the settings name as the end of a text.
    """

    pad: int
    bos: int
    eos: int
    end: int
    mask: int
    unk: int
    all: frozenset[int]


def find_special_tokens(backend: tokenizers.Tokenizer, folder: Path) -> SpecialTokens:
    """The special tokens of the tokenizer in a folder; without one for padding, that of the end, or else id 0.

    Raises CorruptModelError if the settings beside the tokenizer are damaged.
    """
    names = _read_names(folder)
    named_end = _find(backend, [names.get(_END)])
    ids = {role: _find(backend, [names.get(role), *usual]) for role, usual in _USUAL_NAMES.items()}
    before, after = _around_text(backend)
    special = {token_id for token_id, token in backend.get_added_tokens_decoder().items() if token.special}
    bos, eos = before[0] if before else NONE, after[-1] if after else NONE
    pad = next(found for found in (ids["pad"], eos, 0) if found != NONE)
    everything = special | {*before, *after, *ids.values()} - {NONE}
    return SpecialTokens(
        pad=pad,
        bos=bos,
        eos=eos,
        end=named_end if eos == NONE else eos,
        mask=ids["mask"],
        unk=ids["unk"],
        all=frozenset(everything | ({pad} - {0})),
    )


def keep_as_text(backend: tokenizers.Tokenizer) -> None:
    """Make a tokenizer read "</s>" and its like in a text as characters, also if its vocabulary lists them as subwords,
    as that of a Unigram model does: its normalizer first puts a blank after their first character."""
    names = sorted(token.content for token in backend.get_added_tokens_decoder().values() if token.special)
    steps = [normalizers.Replace(name, f"{name[0]} {name[1:]}") for name in names if len(name) > 1]
    backend.normalizer = normalizers.Sequence([*steps, *([] if backend.normalizer is None else [backend.normalizer])])


def _around_text(backend: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the post-processor puts before and after a text."""
    plain, whole = backend.encode("a", add_special_tokens=False).ids, backend.encode("a").ids
    for place in range(len(whole) - len(plain) + 1):
        if plain and whole[place : place + len(plain)] == plain:
            return whole[:place], whole[place + len(plain) :]
    return [], []


def _find(backend: tokenizers.Tokenizer, names: list[str | None]) -> int:
    found = (backend.token_to_id(name) for name in names if name is not None)
    return next((int(token_id) for token_id in found if token_id is not None), NONE)


def _read_names(folder: Path) -> dict[str, str]:
    """The names of the special tokens by role, as far as the settings have them."""
    names: dict[str, str] = {}
    for file in (folder / name for name in reversed(SETTINGS_FILES)):
        if not file.is_file():
            continue
        try:
            fields = parse_json(file.read_text(encoding="utf-8"))
            names |= {
                role: name
                for role in (*_USUAL_NAMES, _END)
                if (name := _name_of(fields.get(f"{role}_token"))) is not None
            }
        except (ValueError, AttributeError) as error:
            raise CorruptModelError(f"{file} is damaged ({str(error)[:120]}); restore it from a copy.") from error
    return names


def _name_of(value: Any) -> str | None:
    """A token is written as its name, or as an object with it."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None
