"""Worker: Hugging Face's Trainer on the same work, in turns. Started by contenders.py with one argument, a JSON object.

A callback stops at the end of a turn, so that one call of `train` goes through the whole benchmark: what is timed are
its steps, without its start.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import Turns
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from workload import MASK_PROB, blocks_of, model_config

from pretune.model.folder import save_model_folder
from pretune.model.transformer import LanguageModel, SequenceClassifier, initialize
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer

_WARMUP_STEPS = 3
_ENDLESS = 10**9


class InTurns(TrainerCallback):
    """Counts steps, and holds the training up between turns."""

    def __init__(self, fed: list[dict[str, int]], each: dict[str, int], **fields: Any) -> None:
        self.turns, self.fed, self.each, self.fields = Turns(), fed, each, fields
        self.started = time.perf_counter()

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        step = state.global_step
        if step == 1:
            self.fields["first_step_seconds"] = time.perf_counter() - self.started
        going = True
        if step == _WARMUP_STEPS:
            going = self.turns.ready(**self.fields)
        elif step > _WARMUP_STEPS:
            # What a loader's process collates is noted there, not here; in pre-training every batch holds `each`.
            going = self.turns.count(steps=1, **(self.fed[step - 1] if self.fed else self.each))
        control.should_training_stop = not going
        return control


class Counted:
    """A collator that notes what every batch holds, in the order in which batches are made."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate
        self.fed: list[dict[str, int]] = []

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = self.collate(rows)
        self.fed.append({"tokens": sum(len(row["input_ids"]) for row in rows), "rows": len(rows)})
        return batch


def pretrain(spec: dict[str, Any]) -> None:
    """run_mlm: all text one after another in rows of one length, random masking in the collator, AdamW."""
    folder = Path(spec["folder"])
    rows = [{"input_ids": row} for row in blocks_of(folder, spec["row_tokens"]).tolist()]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    collator = Counted(DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASK_PROB))
    ours = LanguageModel(model_config(spec["size"], load_tokenizer(folder)))
    initialize(ours, 0)
    with torch.no_grad():  # layers start as the identity, in which a difference would not show
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    with tempfile.TemporaryDirectory() as scratch:
        save_model_folder(Path(scratch) / "model", ours, folder)
        model = AutoModelForMaskedLM.from_pretrained(
            Path(scratch) / "model", attn_implementation=spec.get("attention", "sdpa")
        )
        difference = _loss_difference(ours, model, np.array([row["input_ids"] for row in rows[:16]]))
        tokens = TokenShard(folder, "train").num_tokens
        parameters = sum(p.numel() for p in model.parameters())
        config = ours.config
        blocks = parameters - config.vocab_size * config.hidden_size - config.hidden_size
        attention = 12 * config.num_layers * config.num_heads * config.head_dim * spec["row_tokens"]
        _train(
            spec,
            scratch,
            model,
            rows,
            collator,
            tokenizer,
            parameters=parameters,
            text_tokens=tokens,
            loss_difference=difference,
            flops_per_token=6 * (blocks + config.vocab_size * config.hidden_size) + attention,
        )


def _loss_difference(ours: LanguageModel, theirs: Any, ids: np.ndarray) -> float:
    """Between the losses of both models, which hold the same weights, on the same rows with the same masks."""
    input_ids = torch.from_numpy(ids)
    positions = torch.arange(0, input_ids.numel(), 5)
    labels = torch.full_like(input_ids, -100).flatten()
    labels[positions] = input_ids.flatten()[positions]
    hidden = input_ids.flatten().clone()
    hidden[positions] = ours.config.mask_token_id
    hidden = hidden.view_as(input_ids)
    with torch.no_grad():
        logits = ours(hidden, torch.zeros_like(hidden), positions)
        own = torch.nn.functional.cross_entropy(logits, labels[positions])
        given = theirs(input_ids=hidden, attention_mask=torch.ones_like(hidden), labels=labels.view_as(hidden)).loss
    return abs(float(own) - float(given))


def finetune(spec: dict[str, Any]) -> None:
    """run_glue: texts padded to 128 tokens as the example does by default, or to the longest of their batch."""
    folder = Path(spec["folder"])
    shard, labels = TokenShard(folder, "task"), np.load(folder / "labels.npy")
    rows = [{"input_ids": shard.doc(i).tolist(), "label": int(label)} for i, label in enumerate(labels)]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padding: dict[str, Any] = {"pad_to_multiple_of": spec.get("pad_to_multiple_of")}
    if spec.get("pad_to_max"):
        padding = {"padding": "max_length", "max_length": spec["max_seq_len"]}
    collator = Counted(DataCollatorWithPadding(tokenizer, **padding))
    ours = SequenceClassifier(model_config(spec["size"], load_tokenizer(folder)), int(labels.max()) + 1)
    initialize(ours, 0)
    with tempfile.TemporaryDirectory() as scratch:
        save_model_folder(Path(scratch) / "model", ours, folder, [str(i) for i in range(int(labels.max()) + 1)])
        model = AutoModelForSequenceClassification.from_pretrained(Path(scratch) / "model")
        parameters = sum(p.numel() for p in model.parameters())
        _train(spec, scratch, model, rows, collator, tokenizer, parameters=parameters)


def _train(
    spec: dict[str, Any], scratch: str, model: Any, rows: Any, collator: Counted, tokenizer: Any, **fields: Any
) -> None:
    if spec.get("threads"):
        torch.set_num_threads(spec["threads"])
    arguments = TrainingArguments(
        output_dir=scratch,
        max_steps=_ENDLESS,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),  # without a GPU bf16 is refused unless the CPU is asked for by name
        **spec.get("arguments", {}),
    )
    rows_per_step = arguments.per_device_train_batch_size
    each = {"tokens": rows_per_step * len(rows[0]["input_ids"]), "rows": rows_per_step}
    callback = InTurns(collator.fed, each, threads=torch.get_num_threads(), **fields)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=collator,
        processing_class=tokenizer,
        callbacks=[callback],
    )
    trainer.train()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    {"pretrain": pretrain, "finetune": finetune}[given["task"]](given)
