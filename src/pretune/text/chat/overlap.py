"""Which conversations are not new to a model: it was trained on their question, or on one of their long replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pretune.text.chat.conversations import Conversation
from pretune.text.clean.rule_measures import num_words
from pretune.text.splits import normalise_for_hash

# Words; shorter replies are equal by chance. The search for copied text has this length, too, but counts a stretch
# between two punctuation marks as one word in scripts without blanks.
LONG_REPLY = 13


def telling_texts(conversation: Conversation) -> list[str]:
    """The texts by which a conversation is known again: its first question, and its replies of 13 words or more.

    In scripts without blanks, such as Chinese, two characters count as a word.
    """
    return [conversation.question, *(reply for reply in conversation.replies if _is_long(reply))]


def _is_long(reply: str) -> bool:
    return num_words(" ".join(reply.split())) >= LONG_REPLY


def leave_out_trained(conversations: Sequence[Conversation], training: Iterable[Conversation]) -> list[Conversation]:
    """The conversations that share neither their question nor a long reply with those of the training."""
    known = {normalise_for_hash(text) for each in training for text in telling_texts(each)}
    return [each for each in conversations if known.isdisjoint(map(normalise_for_hash, telling_texts(each)))]
