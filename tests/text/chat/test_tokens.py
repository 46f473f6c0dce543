"""The marks in a tokenizer: added once, at the end, as special tokens; and the files for transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.errors import CorruptModelError
from pretune.text.chat.tokens import (
    MARKS,
    add_chat_tokens,
    describe_other_template,
    has_chat_tokens,
    only_adds_chat_tokens,
    read_template,
    save_chat_tokenizer,
    turn_end_id,
)
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer


def test_marks_get_the_next_ids_and_all_others_stay(tokenizer_folder: Path) -> None:
    base = load_tokenizer(tokenizer_folder)
    extended = add_chat_tokens(base)
    assert (has_chat_tokens(base), has_chat_tokens(extended)) == (False, True)
    assert extended.vocab_size == base.vocab_size + 2
    assert [extended.backend.token_to_id(mark) for mark in MARKS] == [base.vocab_size, base.vocab_size + 1]
    assert extended.first_ordinary_id == base.first_ordinary_id
    assert {base.vocab_size, base.vocab_size + 1} <= extended.all_special_ids
    text = "The sun rises <|im_end|> in the east."
    assert extended.encode(text) == base.encode(text)
    assert extended.token_bytes == [*base.token_bytes, b"", b""]
    assert extended.decode([*base.encode("The sun"), turn_end_id(extended)]) == "The sun"
    assert add_chat_tokens(extended) is extended


def test_marks_that_are_there_are_used(chat_folder: Callable[[str], Path], tmp_path: Path) -> None:
    source = chat_folder("byte level")
    before = load_tokenizer(source)
    after = save_chat_tokenizer(source, tmp_path, "template")
    assert after.backend.to_str() == before.backend.to_str()
    assert read_template(tmp_path) == "template"


def test_a_tokenizer_knows_its_base(tokenizer: Tokenizer, tokenizer_folder: Path) -> None:
    base = load_tokenizer(tokenizer_folder)
    assert only_adds_chat_tokens(add_chat_tokens(base), base)
    assert not only_adds_chat_tokens(tokenizer, base)
    assert only_adds_chat_tokens(tokenizer, tokenizer)


def test_a_tokenizer_without_marks_cannot_end_a_turn(tokenizer_folder: Path) -> None:
    with pytest.raises(CorruptModelError, match=r"no token <\|im_end\|>"):
        turn_end_id(load_tokenizer(tokenizer_folder))


def test_the_folder_replaces_a_foreign_template(foreign_folder: Callable[[str], Path], tmp_path: Path) -> None:
    base = foreign_folder("byte level")
    (base / "chat_template.jinja").write_text("{{ messages }} [INST]")
    assert read_template(base) == "{{ messages }} [INST]"
    save_chat_tokenizer(base, tmp_path / "out", "ours")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["chat_template"] == "ours"


def test_a_template_that_is_not_run_is_told(tmp_path: Path) -> None:
    assert describe_other_template(tmp_path, "ours") is None
    for theirs, what in (
        ("ours", None),
        ("{{ messages }} [INST]", "its marks are others"),
        ("<|im_start|>system\nYou are kind.<|im_end|>{{ messages }}", "a default system message"),
    ):
        (tmp_path / "chat_template.jinja").write_text(theirs)
        found = describe_other_template(tmp_path, "ours")
        assert (found is None) if what is None else (found is not None and what in found)


def test_no_template_is_none(tokenizer_folder: Path, tmp_path: Path) -> None:
    assert read_template(tokenizer_folder) is None
    assert read_template(tmp_path) is None


def test_damaged_settings_are_named(foreign_folder: Callable[[str], Path], tmp_path: Path) -> None:
    base = foreign_folder("byte level")
    for content in ("{", "[]"):
        (base / "tokenizer_config.json").write_text(content)
        with pytest.raises(CorruptModelError, match=r"tokenizer_config\.json"):
            save_chat_tokenizer(base, tmp_path / "out", "ours")
