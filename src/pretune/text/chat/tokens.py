"""The two marks of the chat template in a tokenizer, and the files from which transformers loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from pretune.errors import CorruptModelError
from pretune.runtime.atomic import write_json, write_text
from pretune.runtime.json_text import parse_json
from pretune.text.tokenizer.files import (
    CHAT_TEMPLATE_NAME,
    SETTINGS_FILES,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    read_template_file,
)
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
MARKS = (TURN_START, TURN_END)


def has_chat_tokens(tokenizer: Tokenizer) -> bool:
    """Whether the marks are special tokens of a tokenizer."""
    return all(tokenizer.backend.token_to_id(mark) in tokenizer.all_special_ids for mark in MARKS)


def add_chat_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the marks as special tokens; they get the next free ids if its vocabulary lacks them.

    All other ids stay the same. The given tokenizer is not changed.
    """
    if has_chat_tokens(tokenizer):
        return tokenizer
    return Tokenizer(_with_marks(tokenizer.backend), tokenizer.foreign)


def turn_start_id(tokenizer: Tokenizer) -> int:
    """The id of the mark in front of a message. Raises CorruptModelError if the tokenizer lacks it."""
    return _id_of(tokenizer, TURN_START)


def turn_end_id(tokenizer: Tokenizer) -> int:
    """The id of the mark after a message, with which a reply ends. Raises CorruptModelError if there is none."""
    return _id_of(tokenizer, TURN_END)


def only_adds_chat_tokens(tokenizer: Tokenizer, base: Tokenizer) -> bool:
    """Whether a tokenizer is that of a base with nothing but the marks added, if the base lacks them."""
    return _vocabulary(add_chat_tokens(base)) == _vocabulary(tokenizer)


def save_chat_tokenizer(base: Path, folder: Path, template: str) -> Tokenizer:
    """Write the tokenizer of a base with the marks, and the template, into a folder; returns it as loaded from there.

    A template that the base brings is replaced. Raises the errors of `load_tokenizer`.
    """
    load_tokenizer(base)  # for its errors
    folder.mkdir(parents=True, exist_ok=True)
    # From the file, because a loaded tokenizer may have been changed for the sake of typed special tokens.
    backend = tokenizers.Tokenizer.from_file(str(base / TOKENIZER_NAME))
    write_text(folder / TOKENIZER_NAME, _with_marks(backend).to_str(pretty=True) + "\n")
    for name in SETTINGS_FILES:
        if (base / name).is_file():
            write_json(folder / name, _read_settings(base / name))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if (base / TOKENIZER_CONFIG_NAME).is_file():
        settings = _read_settings(base / TOKENIZER_CONFIG_NAME)
    settings.pop("added_tokens_decoder", None)  # tokenizer.json has them all, and this list lacks the new ones
    write_json(folder / TOKENIZER_CONFIG_NAME, settings | {"chat_template": template})
    return load_tokenizer(folder)


def read_template(base: Path) -> str | None:
    """The chat template that a folder brings, as text; pretune runs none of them."""
    template = read_template_file(base)
    if template is not None:
        return template
    if not (base / TOKENIZER_CONFIG_NAME).is_file():
        return None
    found = _read_settings(base / TOKENIZER_CONFIG_NAME).get("chat_template")
    return found if isinstance(found, str) or found is None else json.dumps(found)


def describe_other_template(folder: Path, ours: str) -> str | None:
    """A sentence on the template that a folder brings, if it is not ours: it is not run, and what that means."""
    theirs = read_template(folder)
    if theirs is None or theirs == ours:
        return None
    what = (
        "it is ChatML too, but a default system message or tools that it may add are left out"
        if TURN_START in theirs
        else "its marks are others than those of ChatML, so what the model has learned of conversations counts less"
    )
    return f"{folder} brings a chat template of its own, which pretune does not run; it writes ChatML: {what}."


def describe_missing_template(folder: Path) -> str:
    """A sentence on a folder that brings no template, although its vocabulary has the marks: it may be a base, or may
    have lost its template."""
    return (
        f"{folder} has no chat template, although its vocabulary has the marks of ChatML, so the model reads this "
        "conversation as a transcript, which it continues. If it was tuned on ChatML, copy the publisher's "
        f"{CHAT_TEMPLATE_NAME} into the folder, or the field chat_template into its {TOKENIZER_CONFIG_NAME}."
    )


def _vocabulary(tokenizer: Tokenizer) -> list[Any]:
    fields = json.loads(tokenizer.backend.to_str())
    return [fields[name] for name in ("model", "added_tokens", "pre_tokenizer", "post_processor")]


def _with_marks(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A copy in which the marks are special tokens."""
    extended = tokenizers.Tokenizer.from_str(backend.to_str())
    extended.add_special_tokens([tokenizers.AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return extended


def _id_of(tokenizer: Tokenizer, mark: str) -> int:
    found = tokenizer.backend.token_to_id(mark)
    if found is None:
        raise CorruptModelError(
            f"The tokenizer has no token {mark}, which begins or ends a message; expected that of a model that "
            "`pretune finetune` made from conversations."
        )
    return int(found)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        fields = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptModelError(f"{path} is damaged ({str(error)[:120]}); restore it from a copy.") from error
    if not isinstance(fields, dict):
        raise CorruptModelError(f"{path} is not a JSON object; restore it from a copy.")
    return fields
