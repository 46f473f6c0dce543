"""Which conversations are medical, on made and on real ones, and that the sentence goes where the model goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.notice import MEDICAL_NOTICE, are_medical, choose_notice, read_notice, write_notice
from pretune.text.chat.reader import read_chat_file
from pretune.text.tokenizer.tokenizer import load_tokenizer


def talk(question: str, reply: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", reply)))


MEDICAL = talk("What are the Symptoms of the flu?", "Fever and cough; see a doctor if they last.")
OTHER = talk("How was the film?", "Warm and funny, with a doctor in it.")


def test_a_quarter_is_enough_and_one_word_is_not() -> None:
    assert are_medical([MEDICAL, OTHER, OTHER, OTHER])
    assert not are_medical([MEDICAL, OTHER, OTHER, OTHER, OTHER])
    assert not are_medical([OTHER])
    assert not are_medical([])


def test_a_given_sentence_wins_and_a_blank_one_switches_it_off() -> None:
    assert choose_notice([MEDICAL], None) == MEDICAL_NOTICE
    assert choose_notice([OTHER], None) is None
    assert choose_notice([OTHER], " No legal\nadvice. ") == "No legal advice."
    assert choose_notice([MEDICAL], "") is None


def test_the_sentence_of_the_base_is_handed_on_unless_another_one_is_chosen() -> None:
    assert choose_notice([OTHER], None, of_base="No legal advice.") == "No legal advice."
    assert choose_notice([MEDICAL], None, of_base="No legal advice.") == MEDICAL_NOTICE
    assert choose_notice([OTHER], "None at all.", of_base="No legal advice.") == "None at all."
    assert choose_notice([OTHER], " ", of_base="No legal advice.") is None


def test_the_sentence_is_kept_beside_the_template(chat_folder: Callable[[str], Path]) -> None:
    folder = chat_folder("bpe")
    before = load_tokenizer(folder).backend.to_str()
    assert read_notice(folder) is None
    write_notice(folder, None)
    assert read_notice(folder) is None
    write_notice(folder, MEDICAL_NOTICE)
    assert read_notice(folder) == MEDICAL_NOTICE
    assert load_tokenizer(folder).backend.to_str() == before
    assert read_notice(folder / "nowhere") is None
    write_notice(folder, None)
    assert read_notice(folder) is None


@pytest.mark.parametrize("name", ["medquad_qa", "chatdoctor5k", "covid_dialogue_en"])
def test_real_consultations_are_medical(real_data: Path, name: str) -> None:
    rows = read_chat_file(real_data / "medical" / f"{name}.jsonl.zst").rows
    assert are_medical(Conversation(tuple(row.messages)) for row in rows if row.messages)
