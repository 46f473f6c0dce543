"""From a prompt to its continuation, token by token, with a cache of keys and values; one prompt or a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pretune.compute.cpu_threads import single_thread
from pretune.data.padding import group_by_length
from pretune.errors import UsageError
from pretune.inference.prefix_cache import PrefixCache
from pretune.inference.sampling import Sampler
from pretune.model.key_value_cache import KeyValueCache
from pretune.model.transformer import LanguageModel
from pretune.settings import Sampling as Sampling
from pretune.text.chat.tokens import has_chat_tokens, read_template
from pretune.text.clean.normalize import clean_text
from pretune.text.readers.records import replace_surrogates
from pretune.text.tokenizer.stream_decoder import StreamDecoder
from pretune.text.tokenizer.tokenizer import Tokenizer

POSITIONS_AT_ONCE = 512  # of a prompt, which bounds the memory that its attention takes
TOKENS_PER_BATCH = 4096  # prompts, padding and continuations
# With a few million weights and one position, a second thread costs more than it computes: 1.2 times slower at 5M.
PRODUCTS_OF_ONE_THREAD = 20_000_000  # weights times positions

Ending = Literal["end of text", "max_tokens", "context"]


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """How a prompt goes on: `prompt + text` reads as one text. `ending` is why it ends: the model ended it, the tokens
    asked for were reached, or the context of the model was full."""

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    num_prompt_tokens: int
    ending: Ending


class TextGenerator:
    """A causal or hybrid language model with its tokenizer."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        stop_ids: frozenset[int] = frozenset(),
        path: Path | None = None,
        tokenizer_path: Path | None = None,
    ) -> None:
        """`stop_ids` are tokens that end a text, besides those that the tokenizer and the configuration name.

        `path` is the folder of the model, and `tokenizer_path`, if it is another one, that of the tokenizer.
        """
        self.model, self.tokenizer, self.path = model.eval(), tokenizer, path
        self.tokenizer_path = path if tokenizer_path is None else tokenizer_path
        own = {tokenizer.end_id, model.config.eos_token_id}
        self._num_weights = sum(p.numel() for p in model.parameters())
        self.stop_ids = frozenset(i for i in stop_ids | own if 0 <= i < model.config.vocab_size)

    @cached_property
    def has_chat_template(self) -> bool:
        """Whether it reads a conversation in the chat template: its vocabulary has the two marks, and the folder of its
        tokenizer a template. A base may have the marks without having learned what they mean. A generator that is in no
        folder reads the template if it has the marks."""
        folder = self.tokenizer_path
        return has_chat_tokens(self.tokenizer) and (folder is None or read_template(folder) is not None)

    @property
    def max_seq_len(self) -> int:
        """The context: prompt and continuation together, in tokens."""
        return self.model.config.max_seq_len

    def clean(self, prompt: str) -> str:
        """The prompt as the model was trained to see text; for a public model, as it is."""
        return clean_text(prompt) if self.tokenizer.is_own else replace_surrogates(prompt)

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt, begun like a document but not ended. Raises UsageError if it is empty or too long."""
        text = self.clean(prompt)
        if not text.strip():
            raise UsageError('The prompt is empty; give the beginning of a text, such as "The sun rises in".')
        ids = self.tokenizer.encode(text)
        if ids and ids[-1] == self.tokenizer.eos_id:
            del ids[-1]
        self._check_length(ids)
        return ids

    def continue_ids(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        stop_ids: frozenset[int] | None = None,
        prefix: PrefixCache | None = None,
    ) -> Iterator[int]:
        """The tokens after some tokens, one by one, without the token that stops it.

        It stops at a token in `stop_ids` (without it, at the end of a text), after `sampling.max_tokens`, or where the
        context is full. Other special tokens are never taken. `prefix` is what the model has read before, and keeps
        what it reads now. Raises UsageError if there are no ids or too many.
        """
        ids, stop_ids = list(ids), self.stop_ids if stop_ids is None else stop_ids
        if not ids:
            raise UsageError("There are no tokens to continue; expected at least one.")
        self._check_length(ids)
        return self._continue(ids, sampling, stop_ids, prefix or PrefixCache(self.model.transformer))

    def stream(self, prompt: str, sampling: Sampling | None = None) -> Iterator[str]:
        """The continuation of a prompt as it comes, in strings of whole characters. Raises UsageError as `encode`."""
        ids = self.encode(prompt)
        return self._decoded(ids, self.continue_ids(ids, sampling or Sampling()))

    def generate(self, prompts: Sequence[str], sampling: Sampling | None = None) -> list[Continuation]:
        """The continuation of each prompt, in order; prompts of similar length are computed together.

        A prompt gets the text that it would get alone (but for rounding), except that each has random numbers of its
        own, so that the same prompt twice has two continuations. Raises UsageError as `encode` does, also for a single
        string.
        """
        if isinstance(prompts, str):
            raise UsageError(f"{prompts!r:.80} is a single prompt; expected a list: put it in [ ].")
        sampling = sampling or Sampling()
        rows = [self.encode(prompt) for prompt in prompts]
        taken: list[list[int]] = [[] for _ in rows]
        for batch in group_by_length([len(ids) + sampling.max_tokens for ids in rows], TOKENS_PER_BATCH):
            for step in self._steps([rows[row] for row in batch], batch, sampling, self.stop_ids):
                for row, token in zip(batch, step, strict=True):
                    if token is not None:
                        taken[row].append(token)
        return [
            Continuation(
                prompt=self.clean(prompt),
                text="".join(self._decoded(ids, iter(new))),
                token_ids=tuple(new),
                num_prompt_tokens=len(ids),
                ending=self._ending(len(ids), len(new), sampling),
            )
            for prompt, ids, new in zip(prompts, rows, taken, strict=True)
        ]

    @torch.inference_mode()
    def loss_of(self, text: str) -> float:
        """The mean loss of the tokens of a text, each predicted from those before it, in nats."""
        ids = torch.tensor([self.encode(text)], device=self.model.lm_head.weight.device)
        is_causal = torch.ones(1, dtype=torch.bool, device=ids.device)
        logits = self.model(ids, torch.zeros_like(ids), is_causal=is_causal)
        return float(F.cross_entropy(logits[0, :-1], ids[0, 1:]))

    def _continue(
        self, ids: list[int], sampling: Sampling, stop_ids: frozenset[int], prefix: PrefixCache
    ) -> Iterator[int]:
        for [token] in self._steps([ids], [0], sampling, stop_ids, prefix):
            if token is not None:
                prefix.add(token)
                yield token

    def _decoded(self, ids: Sequence[int], new: Iterator[int]) -> Iterator[str]:
        decoder = StreamDecoder(self.tokenizer, ids)
        for token in new:
            if text := decoder.add(token):
                yield text
        if text := decoder.finish():
            yield text

    def _ending(self, num_prompt: int, num_new: int, sampling: Sampling) -> Ending:
        if num_new == sampling.max_tokens:
            return "max_tokens"
        return "context" if num_prompt + num_new == self.max_seq_len else "end of text"

    def _check_length(self, ids: Sequence[int]) -> None:
        if len(ids) >= self.max_seq_len:
            raise UsageError(
                f"The prompt has {len(ids):,} tokens, and the model reads {self.max_seq_len:,}, the continuation "
                "included; shorten the prompt."
            )

    def _steps(
        self,
        rows: Sequence[list[int]],
        numbers: Sequence[int],
        sampling: Sampling,
        stop_ids: frozenset[int],
        prefix: PrefixCache | None = None,
    ) -> Iterator[list[int | None]]:
        """At each step the next token of each row, None from its end on; `numbers` choose the rows' random numbers.

        With a `prefix`, there is one row.
        """
        device = self.model.lm_head.weight.device
        longest = max(map(len, rows))
        most = min(sampling.max_tokens, self.max_seq_len - min(map(len, rows)))
        padding = [longest - len(ids) for ids in rows]
        room = longest + most
        cache = prefix.open(rows[0], room) if prefix else self.model.transformer.new_cache(room, padding)
        never = self._never(stop_ids).to(device)
        samplers = [Sampler(sampling, ids, n, never) for ids, n in zip(rows, numbers, strict=True)]
        pad_id = max(self.tokenizer.pad_id, 0)
        input_ids = torch.tensor([[pad_id] * p + ids for p, ids in zip(padding, rows, strict=True)], device=device)
        for first in range(cache.length, longest, POSITIONS_AT_ONCE):
            logits = self._next_logits(input_ids[:, first : first + POSITIONS_AT_ONCE], cache)
        is_open = [True] * len(rows)
        for number in range(1, most + 1):
            step: list[int | None] = []
            for row, sampler in enumerate(samplers):
                token = sampler.take(logits[row]) if is_open[row] else None
                step.append(None if token in stop_ids else token)
                is_open[row] = step[row] is not None and len(rows[row]) + number < self.max_seq_len
            yield step
            if number == most or not any(is_open):
                return
            following = [[pad_id if token is None else token] for token in step]
            logits = self._next_logits(torch.tensor(following, device=device), cache)

    @torch.inference_mode()  # not around a whole generator: it would hold for the caller between two tokens
    def _next_logits(self, input_ids: Tensor, cache: KeyValueCache) -> Tensor:
        with single_thread(input_ids.numel() * self._num_weights <= PRODUCTS_OF_ONE_THREAD):
            return self.model.next_logits(input_ids, cache)

    def _never(self, stop_ids: frozenset[int]) -> Tensor:
        """Tokens that stand for no text and stop nothing, and rows of the embedding that are no token."""
        special = self.tokenizer.all_special_ids - stop_ids
        unused = set(range(self.tokenizer.vocab_size, self.model.config.vocab_size)) - stop_ids
        return torch.tensor(sorted(special | unused), dtype=torch.long)
