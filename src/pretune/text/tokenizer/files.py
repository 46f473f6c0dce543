"""The files of a tokenizer in transformers' format; light to import, since settings are checked with these names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_NAME = "special_tokens_map.json"  # of older foreign tokenizers
CHAT_TEMPLATE_NAME = "chat_template.jinja"  # in which transformers keeps a template since its version 5
SETTINGS_FILES = (TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_NAME)
TOKENIZER_FILES = (TOKENIZER_NAME, *SETTINGS_FILES, CHAT_TEMPLATE_NAME)  # a foreign one may have only the first


def conversion_command(folder: Path, class_name: str) -> str:
    """What to type in a shell so that transformers writes what it finds in a folder again, in today's formats."""
    # A literal of Python, too, whose double quotes need no escape in the shell's; an emoji stays one character.
    name = json.dumps(str(folder), ensure_ascii=False).encode(errors="backslashreplace").decode()
    program = f"import transformers as t; t.{class_name}.from_pretrained({name}).save_pretrained({name})"
    return f"python -c {shlex.quote(program)}"


def read_template_file(folder: Path) -> str | None:
    """The chat template in a file of its own, which goes before the one in the settings, as in transformers; None if
    there is no such file. Bytes that are invalid become U+FFFD, since pretune keeps the template but never runs it."""
    file = folder / CHAT_TEMPLATE_NAME
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
