"""Token ids to text while they come: what is returned consists of whole characters, and adds up to the whole text."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.text.tokenizer.tokenizer import Tokenizer

_BEFORE = 8  # tokens before the first one: whether a blank is due depends on the last of them
_MOST_BYTES = 4  # of a character in UTF-8, which are as many tokens at most
_UNFINISHED = "\ufffd"


class StreamDecoder:
    """The text of tokens that follow others, one token after another.

    A character that several tokens make up is returned with the last of them.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        """`before` are the tokens in front of the first, whose own text is not returned."""
        self._tokenizer = tokenizer
        self._done = [i for i in before[-_BEFORE:] if i not in tokenizer.all_special_ids]
        self._done_text = tokenizer.decode(self._done)
        self._new: list[int] = []

    def add(self, token_id: int) -> str:
        """The characters that are complete with this token; "" if there is none, and for a special token."""
        if token_id in self._tokenizer.all_special_ids:
            return ""
        self._new.append(token_id)
        text = self._tokenizer.decode([*self._done, *self._new])
        if text.endswith(_UNFINISHED) and len(self._new) < _MOST_BYTES:
            return ""
        return self._take(text)

    def finish(self) -> str:
        """The rest, without the bytes of an unfinished character."""
        return self._take(self._tokenizer.decode([*self._done, *self._new]).rstrip(_UNFINISHED)) if self._new else ""

    def _take(self, text: str) -> str:
        found = text[len(self._done_text) :]
        self._done, self._new = self._new, []
        self._done_text = self._tokenizer.decode(self._done)
        return found
