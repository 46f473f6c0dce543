"""A chat session without a model: it says back what it is asked, one word after another. Run it in a terminal."""

from __future__ import annotations

import fcntl
import sys
import termios
import time
from collections.abc import Generator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pretune.cli.chat_commands import ChatLoop
from pretune.cli.message_reader import reader_of_stdin
from pretune.errors import UsageError


@dataclass(frozen=True)
class FakeSampling:
    """The one field that the loop changes."""

    seed: int = 0


class Parrot:
    """A session, as the loop uses it."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.system: str | None = None
        self.num_left_out, self.was_cut, self.num_resets = 0, False, 0
        self.asked: list[str] = []
        self.saved: list[str] = []
        self.seeds: list[int] = []
        self.closed: list[str] = []
        self.generator = SimpleNamespace(max_seq_len=64)

    def reset(self) -> None:
        self.num_resets += 1

    def save(self, path: str) -> str:
        self.saved.append(path)
        return path

    def reply(self, text: str, sampling: Any) -> Generator[str, None, None]:
        if text == "too long":
            raise UsageError("The message has 99 tokens.")
        self.num_left_out = 2 if text == "much later" else 0
        self.was_cut = text == "cut"
        self.asked.append(text)
        self.seeds.append(sampling.seed)
        return self._words(text)

    def _words(self, text: str) -> Generator[str, None, None]:
        try:
            for word in [] if text == "nothing" else text.split():
                yield f"{word} "
                time.sleep(self.pause)
        finally:
            self.closed.append(text)


if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C in the terminal reaches this process
    loop = ChatLoop(Parrot(pause=0.05), reader_of_stdin(is_prompt_on_stderr=False), FakeSampling())  # type: ignore[arg-type]
    code = loop.run()
    sys.stdout.write(f"LEFT WITH {code}\n")
