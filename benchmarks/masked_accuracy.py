"""Model folders go in, the fraction of hidden tokens that each predicts right comes out: one evaluator for all.

Every model sees the same rows with the same tokens hidden. A row is a document of the validation split, or a part of
one that is as long as a row may be, alone in its row: so it makes no difference whether a model learned to read several
documents in a row, or only the one. Weights are in fp32 for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretune.data.masking import draw_masked_positions
from pretune.data.padding import group_by_length, pad_rows
from pretune.data.special_ids import special_ids
from pretune.model.folder import load_model_folder
from pretune.model.transformer import LanguageModel
from pretune.runtime.randomness import permutation
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer

IntArray = npt.NDArray[np.int64]
MASK_PROB = 0.15  # as the example of Hugging Face trains by default
_SEED = 17
_BATCH_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class HiddenRows:
    """A batch: ids with [MASK] (B, T), documents (B, T) with -1 for padding, and what is hidden where (M,)."""

    input_ids: Tensor
    document_ids: Tensor
    positions: Tensor  # in the flattened batch
    labels: Tensor


Logits = Callable[[HiddenRows], Tensor]  # (M, V)


def make_rows(folder: Path, row_tokens: int, most_tokens: int) -> list[HiddenRows]:
    """Rows of at most `row_tokens` tokens from the validation split of a preprocess folder, `most_tokens` in all."""
    shard, tokenizer = TokenShard(folder, "validation"), load_tokenizer(folder)
    special = special_ids(tokenizer)
    rows = [
        document[start : start + row_tokens].astype(np.int64)
        for document in (shard.doc(i) for i in range(len(shard)))
        for start in range(0, len(document), row_tokens)
    ]
    chosen, total = [], 0
    for row in permutation(len(rows), _SEED, 0):
        if total + len(rows[row]) > most_tokens and chosen:
            break
        chosen.append(rows[row])
        total += len(rows[row])
    batches = []
    for index, group in enumerate(group_by_length([len(row) for row in chosen], _BATCH_TOKENS)):
        input_ids, document_ids = pad_rows([chosen[i] for i in group], special.pad)
        is_ordinary = special.are_ordinary(input_ids.numpy()) & (document_ids.numpy() >= 0)
        count = round(MASK_PROB * int(is_ordinary.sum()))
        positions = torch.from_numpy(draw_masked_positions(is_ordinary, count, _SEED, "hidden", row_tokens, index))
        flat = input_ids.view(-1)
        labels = flat[positions].clone()
        flat[positions] = special.mask
        batches.append(HiddenRows(input_ids=input_ids, document_ids=document_ids, positions=positions, labels=labels))
    return batches


def accuracy(logits_of: Logits, batches: list[HiddenRows]) -> float:
    """The fraction of the hidden tokens that are the most probable ones at their places."""
    correct, total = 0, 0
    with torch.inference_mode():
        for batch in batches:
            correct += int((logits_of(batch).argmax(-1) == batch.labels).sum())
            total += len(batch.labels)
    return correct / max(1, total)


def our_logits(folder: Path) -> Logits:
    """A model folder of pretune, in pretune's own code."""
    model = load_model_folder(folder).model
    assert isinstance(model, LanguageModel)
    model.eval()
    return lambda rows: model(rows.input_ids, rows.document_ids, rows.positions)


def their_logits(folder: Path) -> Logits:
    """A model folder of transformers, in transformers' own code."""
    from transformers import AutoModelForMaskedLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True).float().eval()

    def logits_of(rows: HiddenRows) -> Tensor:
        attention_mask = (rows.document_ids >= 0).long()
        found: Tensor = model(input_ids=rows.input_ids, attention_mask=attention_mask).logits
        return found.flatten(0, 1)[rows.positions]

    return logits_of
