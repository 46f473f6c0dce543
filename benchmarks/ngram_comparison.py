"""Bits per byte of a model that predicts the next token, beside those of a 5-gram model of the same training text.

    python benchmarks/ngram_comparison.py PREPROCESSED MODEL [--seen TOKENS] [--order 5] [--documents 2000] [--out FILE]

PREPROCESSED is the folder with which MODEL was pre-trained. The n-gram model is estimated on its training split, over
the same tokens, with interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999, "An empirical study of
smoothing techniques for language modeling", section 4): the method of KenLM's `lmplz`, written here with numpy. With
`--seen`, there is a second one of random training documents that have as many tokens as MODEL has read. All are
measured on the same validation documents: every token after [BOS], with [EOS], is predicted from what is before it in
its document.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from pretune.data.padding import group_by_length, pad_rows
from pretune.inference.load import find_model_folder
from pretune.model.folder import load_model_folder
from pretune.model.transformer import LanguageModel
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Order:
    """The n-grams of one length: their sorted keys (context * vocabulary + last token), and the smoothing of each."""

    keys: IntArray
    discounted: FloatArray  # (n-grams,): the discounted adjusted count, divided by the sum of its context
    backoff: FloatArray  # (contexts,): the probability mass that a context leaves to the next shorter one


class KneserNey:
    """An interpolated modified Kneser-Ney model of documents, one after another in `tokens`; each begins with `bos`."""

    def __init__(self, tokens: IntArray, offsets: IntArray, vocab_size: int, num_predictable: int, order: int) -> None:
        self.vocab_size, self.num_predictable = vocab_size, num_predictable
        place = places(offsets)
        context = np.zeros(len(tokens), dtype=np.int64)  # of one kind: the empty one
        grams: list[tuple[IntArray, IntArray, IntArray]] = []  # for each length: keys, raw counts, id at each position
        for length in range(1, order + 1):
            is_whole = place >= length - 1
            keys, ids = np.unique(context[is_whole] * vocab_size + tokens[is_whole], return_inverse=True)
            of_position = np.full(len(tokens), -1, dtype=np.int64)
            of_position[is_whole] = ids
            grams.append((keys, np.bincount(ids, minlength=len(keys)), of_position))
            context = np.concatenate([[-1], of_position[:-1]])
        self.orders = [self._smooth(grams, length, place) for length in range(1, order + 1)]

    def _smooth(self, grams: list[tuple[IntArray, IntArray, IntArray]], length: int, place: IntArray) -> Order:
        keys, counts, of_position = grams[length - 1]
        adjusted = counts.astype(np.float64)
        if length < len(grams):  # in how many contexts an n-gram occurs; the beginning of a document has none before it
            longer_keys, _, longer = grams[length]
            has_longer = longer >= 0
            suffix = np.zeros(len(longer_keys), dtype=np.int64)
            suffix[longer[has_longer]] = of_position[has_longer]
            adjusted = np.bincount(suffix, minlength=len(keys)).astype(np.float64)
            first = np.unique(of_position[place == length - 1])
            adjusted[first] = counts[first]
        if length == 1:
            adjusted[np.unique(of_position[place == 0])] = 0.0  # [BOS] is never predicted
        discount = discounts(adjusted)[np.minimum(adjusted, 3).astype(np.int64)]
        contexts = keys // self.vocab_size
        num_contexts = len(grams[length - 2][0]) if length > 1 else 1
        total = np.bincount(contexts, weights=adjusted, minlength=num_contexts)
        left = np.bincount(contexts, weights=discount, minlength=num_contexts)
        safe = np.maximum(total, 1.0)
        return Order(keys, (adjusted - discount) / safe[contexts], np.where(total > 0, left / safe, 1.0))

    def probabilities(self, tokens: IntArray, offsets: IntArray) -> FloatArray:
        """(T,): the probability of every token after those before it in its document."""
        place = places(offsets)
        found = np.full(len(tokens), 1 / self.num_predictable)
        context = np.zeros(len(tokens), dtype=np.int64)
        for length, order in enumerate(self.orders, 1):
            is_known = (context >= 0) & (place >= length - 1)
            wanted = context * self.vocab_size + tokens
            at = np.minimum(np.searchsorted(order.keys, wanted), len(order.keys) - 1)
            is_seen = is_known & (order.keys[at] == wanted)
            found[is_known] *= order.backoff[context[is_known]]
            found[is_seen] += order.discounted[at[is_seen]]
            ids = np.where(is_seen, at, -1)
            context = np.concatenate([[-1], ids[:-1]])
        return found


def places(offsets: IntArray) -> IntArray:
    """(T,): the place of every token in its document, from 0."""
    lengths = np.diff(offsets)
    return np.arange(offsets[-1] - offsets[0]) - np.repeat(offsets[:-1] - offsets[0], lengths)


def discounts(adjusted: FloatArray) -> FloatArray:
    """(4,): the discounts of the adjusted counts 0, 1, 2, and 3 or more, from the counts of these counts."""
    n = [float(np.count_nonzero(adjusted == count)) for count in range(5)]
    if min(n[1:]) == 0:
        return np.array([0.0, 0.5, 1.0, 1.5])  # too few n-grams to estimate them, as KenLM falls back
    y = n[1] / (n[1] + 2 * n[2])
    found = [0.0] + [count - (count + 1) * y * n[count + 1] / n[count] for count in (1, 2, 3)]
    return np.clip(found, 0.0, [0.0, 1.0, 2.0, 3.0])


def windows_of(ids: IntArray, size: int) -> list[tuple[IntArray, int]]:
    """A document in windows of at most `size` tokens that overlap by half, each with the first position that counts:
    every token after the first of the document is the next one of exactly one position."""
    found, done = [(ids[:size], 0)], size
    while done < len(ids):
        end = min(done + size // 2, len(ids))
        found.append((ids[end - size : end], done - 1 - (end - size)))
        done = end
    return found


@torch.inference_mode()
def model_nats(model: LanguageModel, documents: list[IntArray]) -> float:
    """The summed loss of every token after the first of its document."""
    windows = [window for ids in documents for window in windows_of(ids, model.config.max_seq_len)]
    total = 0.0
    for chosen in group_by_length([len(ids) for ids, _ in windows], BATCH_TOKENS):
        input_ids, document_ids = pad_rows([windows[i][0] for i in chosen], model.config.pad_token_id)
        is_causal = torch.ones(len(chosen), dtype=torch.bool)
        logits = model(input_ids, document_ids, is_causal=is_causal)[:, :-1].float()
        losses = F.cross_entropy(logits.flatten(0, 1), input_ids[:, 1:].flatten(), reduction="none")
        first = torch.tensor([windows[i][1] for i in chosen])
        is_counted = (document_ids[:, 1:] >= 0) & (torch.arange(input_ids.shape[1] - 1) >= first[:, None])
        total += float(losses.view(len(chosen), -1)[is_counted].double().sum())
    return total


def random_documents(shard: TokenShard, num_tokens: int) -> tuple[IntArray, IntArray]:
    """The tokens of random documents and their offsets: as many as have about `num_tokens` tokens, in their order."""
    lengths = np.diff(shard.offsets)
    order = np.random.default_rng(0).permutation(len(lengths))
    chosen = np.sort(order[: int(np.searchsorted(lengths[order].cumsum(), num_tokens, side="right"))])
    is_chosen = np.zeros(len(lengths), dtype=bool)
    is_chosen[chosen] = True
    tokens = np.asarray(shard.tokens)[np.repeat(is_chosen, lengths)].astype(np.int64)
    return tokens, np.concatenate([[0], lengths[chosen].cumsum()]).astype(np.int64)


def count_bytes(documents: list[IntArray], tokenizer: Tokenizer) -> int:
    """Bytes of the text of whole documents, without the blank that the tokenizer adds before each."""
    if tokenizer.kind != "bpe":
        raise SystemExit(f"The tokenizer is {tokenizer.kind}, which loses blanks; give a model with a bpe tokenizer.")
    lengths = np.array([len(token) for token in tokenizer.token_bytes])
    blanks = sum(bool(tokenizer.starts_word[ids[1]]) for ids in documents if len(ids) > 1)
    return int(sum(lengths[ids].sum() for ids in documents)) - blanks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--documents", type=int, default=2000, help="of the validation split, from its beginning")
    parser.add_argument("--seen", type=int, help="tokens that the model has read, if that was less than one pass")
    parser.add_argument("--chip", default="?")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    train, held_out = (TokenShard(arguments.preprocessed, split) for split in ("train", "validation"))
    tokenizer = load_tokenizer(arguments.preprocessed)
    model = load_model_folder(find_model_folder(arguments.model, "pretrain")).model
    if not isinstance(model, LanguageModel) or not model.config.can_generate:
        raise SystemExit(f"{arguments.model} does not predict the next token; pre-train it with --objective causal.")
    offsets = held_out.offsets[: arguments.documents + 1]
    tokens = held_out.tokens[: offsets[-1]].astype(np.int64)
    documents = [tokens[start:end] for start, end in pairwise(offsets)]
    num_bytes, num_predicted = count_bytes(documents, tokenizer), len(tokens) - len(documents)
    predictable = tokenizer.vocab_size - len(tokenizer.all_special_ids) + 1  # with [EOS]
    start = time.monotonic()

    def ngram_nats(tokens_seen: int) -> float:
        """The summed loss of an n-gram model of about as many training tokens."""
        chosen, chosen_offsets = random_documents(train, tokens_seen)
        ngrams = KneserNey(chosen, chosen_offsets, tokenizer.vocab_size, predictable, arguments.order)
        return -float(np.log(ngrams.probabilities(tokens, offsets)[places(offsets) > 0]).sum())

    whole_nats = ngram_nats(train.num_tokens)
    measured = time.monotonic()
    own_nats = model_nats(model.eval(), documents)
    result: dict[str, Any] = {
        "model": str(arguments.model),
        "chip": arguments.chip,
        "order": arguments.order,
        "train_tokens": train.num_tokens,
        "documents": len(documents),
        "predicted_tokens": num_predicted,
        "bytes": num_bytes,
        "model_bits_per_byte": own_nats / math.log(2) / num_bytes,
        "ngram_bits_per_byte": whole_nats / math.log(2) / num_bytes,
        "model_nats_per_token": own_nats / num_predicted,
        "ngram_nats_per_token": whole_nats / num_predicted,
        "ngram_seconds": measured - start,
        "model_seconds": time.monotonic() - measured,
    }
    if arguments.seen is not None:
        seen_nats = ngram_nats(arguments.seen)
        result["seen"] = {
            "train_tokens": arguments.seen,
            "ngram_bits_per_byte": seen_nats / math.log(2) / num_bytes,
            "ngram_nats_per_token": seen_nats / num_predicted,
        }
    written = json.dumps(result, indent=1)
    if arguments.out is not None:
        arguments.out.write_text(written + "\n", encoding="utf-8")
    sys.stdout.write(written + "\n")


if __name__ == "__main__":
    main()
