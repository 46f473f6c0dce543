"""Worker: Hugging Face's Trainer for a number of seconds. Started by time_to_quality.py with one argument, JSON.

It does what transformers' example `run_mlm.py` does with `--config_name`: a model with the random weights that
transformers gives it, texts one after another in rows of one length, masks drawn by its collator, and AdamW with a
linear decay. The schedule follows the clock instead of a number of updates, so that it ends when the time is over
without a calibration. It saves nothing on the way and evaluates nothing, and its clock starts when training does, after
the texts are loaded. CPU seconds are those of the same time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import cpu_seconds
from torch.optim.lr_scheduler import LambdaLR
from trainer_settings import TrainerSettings, default_row_tokens, rate_at
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    EuroBertConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from workload import blocks_of, model_config

from pretune.data.special_ids import SpecialIds, special_ids
from pretune.model.native_config import config_to_fields
from pretune.text.tokenizer.tokenizer import load_tokenizer

_ENDLESS = 10**9


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows of tokens with the mask of their special ones, as `run_mlm.py` prepares them."""

    def __init__(self, folder: Path, row_tokens: int, special: SpecialIds) -> None:
        self.blocks, self.special = blocks_of(folder, row_tokens), special

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.blocks[index]
        is_special = ~self.special.are_ordinary(row)
        return {"input_ids": row.tolist(), "special_tokens_mask": is_special.astype(int).tolist()}


class Clock(TrainerCallback):
    """Ends the training when the time is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start = time.monotonic()

    def fraction(self) -> float:
        """How much of the time is over, from 0 to 1."""
        return min(1.0, (time.monotonic() - self.start) / self.seconds)

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        control.should_training_stop = self.fraction() >= 1
        return control


class ClockedTrainer(Trainer):
    """Trainer with a learning rate that follows a clock."""

    def __init__(self, clock: Clock, warmup_fraction: float, **given: Any) -> None:
        super().__init__(callbacks=[clock], **given)
        self.clock, self.warmup_fraction = clock, warmup_fraction

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:  # noqa: ARG002
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer, lambda _step: rate_at(self.clock.fraction(), self.warmup_fraction)
            )
        return self.lr_scheduler


def main(spec: dict[str, Any]) -> None:
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    folder, settings = Path(spec["folder"]), TrainerSettings(**spec["settings"])
    own_tokenizer, tokenizer = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    config = EuroBertConfig(**config_to_fields(model_config(spec["size"], own_tokenizer)))
    limits = (tokenizer.model_max_length, config.max_position_embeddings)
    row_tokens = settings.row_tokens or default_row_tokens(limits)
    rows = Rows(folder, row_tokens, special_ids(own_tokenizer))
    set_seed(spec["seed"])
    more = {} if settings.attention is None else {"attn_implementation": settings.attention}
    model = AutoModelForMaskedLM.from_config(config, **more)
    arguments = TrainingArguments(
        output_dir=spec["out"],
        max_steps=_ENDLESS,
        seed=spec["seed"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),  # without a GPU bf16 is refused unless the CPU is asked for by name
        **settings.training_arguments(),
    )
    clock = Clock(spec["seconds"])
    trainer = ClockedTrainer(
        clock,
        settings.warmup_fraction,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=settings.mask_prob),
        processing_class=tokenizer,
    )
    cpu_before, clock.start = cpu_seconds(), time.monotonic()
    trainer.train()
    seconds, cpu, steps = time.monotonic() - clock.start, cpu_seconds() - cpu_before, trainer.state.global_step
    model.save_pretrained(spec["out"])
    found = {
        "train_seconds": seconds,
        "train_cpu_seconds": cpu,
        "steps": steps,
        "tokens": steps * arguments.per_device_train_batch_size * row_tokens,
        "row_tokens": row_tokens,
        "parameters": sum(each.numel() for each in model.parameters()),
        "threads": torch.get_num_threads(),
    }
    (Path(spec["out"]) / "found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
