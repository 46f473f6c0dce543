"""Worker: transformers' text-classification pipeline over the lines of a file, at one or several batch sizes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import pipeline
from transformers.utils import logging


def main() -> None:
    spec: dict[str, Any] = json.loads(sys.argv[1])
    logging.set_verbosity_error()
    texts = Path(spec["file"]).read_text(encoding="utf-8").splitlines()
    dtype = torch.bfloat16 if spec["bf16"] else torch.float32
    classify = pipeline("text-classification", model=spec["model"], dtype=dtype)
    seconds = {}
    for batch_size in spec["batch_sizes"]:
        started = time.perf_counter()
        labels = classify(texts, batch_size=batch_size, truncation=True, max_length=512)
        seconds[str(batch_size)] = time.perf_counter() - started
        if len(labels) != len(texts):
            raise RuntimeError(f"{len(labels)} labels for {len(texts)} texts")
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
