"""The sentence that is shown with what a chat model writes: of medical conversations, that it is no medical advice.

The rule is plain: conversations are medical if at least a quarter of them have two different words of `MEDICAL_WORDS`.
(Of MedQuAD 92 % have them, of ChatDoctor 96 %, of consultations about COVID 71 %; of AG News and DBpedia under 1 %.)
The sentence is kept in the settings of the tokenizer, which go wherever the model goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pretune.errors import CorruptModelError
from pretune.runtime.atomic import write_json
from pretune.runtime.json_text import parse_json
from pretune.text.chat.conversations import Conversation
from pretune.text.tokenizer.files import TOKENIZER_CONFIG_NAME

MEDICAL_NOTICE = (
    "This model learned from medical conversations. What it writes may be wrong or dangerous and is no medical advice: "
    "ask a doctor."
)
MEDICAL_FRACTION = 0.25  # of the conversations
_WORDS_NEEDED = 2
MEDICAL_WORDS = frozenset(
    "antibiotic antibiotics blood cancer chronic clinic clinical diagnose diagnosed diagnosing diagnosis disease "
    "diseases disorder disorders doctor doctors dosage dose fever hospital infection infections medical medication "
    "medications medicine medicines mg nurse pain patient patients physician pills prescribed prescription surgery "
    "surgical symptom symptoms syndrome tablet tablets therapy treated treatment treatments tumor tumour vaccine "
    "virus".split()
)
_KEY = "pretune_notice"
_WORD = re.compile(r"\w+")


def choose_notice(
    conversations: Iterable[Conversation], given: str | None, *, of_base: str | None = None
) -> str | None:
    """The sentence to show with a model of these conversations: the given one (none for a blank one), that of medical
    conversations if they are, or else that of the base, if it has one."""
    if given is not None:
        return " ".join(given.split()) or None
    return MEDICAL_NOTICE if are_medical(conversations) else of_base


def are_medical(conversations: Iterable[Conversation]) -> bool:
    """Whether conversations are medical, by the rule above."""
    found = [_is_medical(conversation) for conversation in conversations]
    return bool(found) and sum(found) >= MEDICAL_FRACTION * len(found)


def _is_medical(conversation: Conversation) -> bool:
    words = {word for message in conversation.messages for word in _WORD.findall(message.content.casefold())}
    return len(words & MEDICAL_WORDS) >= _WORDS_NEEDED


def write_notice(folder: Path, sentence: str | None) -> None:
    """Keep the sentence in a folder with a chat tokenizer; without one, none is left there, not even the base's."""
    path = folder / TOKENIZER_CONFIG_NAME
    settings = parse_json(path.read_text(encoding="utf-8"))
    before = settings.pop(_KEY, None)
    if sentence != before:
        write_json(path, settings | ({} if sentence is None else {_KEY: sentence}))


def read_notice(folder: Path) -> str | None:
    """The sentence that a model or prepare folder has; None if it has none. Raises CorruptModelError if its file is
    damaged."""
    path = folder / TOKENIZER_CONFIG_NAME
    if not path.is_file():
        return None
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptModelError(f"{path} is damaged ({str(error)[:120]}); restore it from a copy.") from error
    sentence = found.get(_KEY) if isinstance(found, dict) else None
    return sentence if isinstance(sentence, str) else None
