"""The engine that the page carries agrees with Python: texts, token ids, probabilities, attributions, filled words.

The engine is bundled with esbuild and run in node; the tests are skipped where one is missing. Users need neither.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import ModelNotFoundError, ModelTooLargeError
from pretune.inference.load import load_classifier, load_filler
from pretune.page.model_payload import pack_model
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.tokenizer import TokenizerKind, load_tokenizer
from pretune.text.tokenizer.training import train_tokenizer
from pretune.trace_schema import FillTrace, PredictionTrace
from pretune.tracing.fill import trace_fill
from pretune.tracing.prediction import trace_prediction

ROOT = Path(__file__).parents[2]
ESBUILD = ROOT / "web" / "node_modules" / ".bin" / "esbuild"
DRIVER = Path(__file__).with_name("engine_driver.ts")

SENTENCES = [
    "The sun rises in the east.",
    "A wonderful film, warm and funny.",
    "The hotel was dreadful: cold soup, noisy rooms.",
    "Das Buch ist großartig, aber der Schluss enttäuscht.",
    "I bought this phone in May; the battery lasts two days!",
    "We never liked the food, and the waiter was rude.",
    "Ο Σίσυφος ΌΔΥΣΣΕΥΣ говорит: 電話は高い。 İstanbul'da don't we'll 3.14 ½",
]
FRAGMENTS = [
    "sun", "The", "film,", "dreadful", "großartig", "don't", "WE'LL", "it's", "3.14", "1,000", "½", "Ⅷ", "x²",
    "🙂", "👩‍👩‍👧", "🇩🇪", "لا إله", "שלום", "電話は高い。", "สวัสดีครับ", "한국어", "नमस्ते", "é", "ﬁn", "Å", "Σίσυφος", "ΌΔΥΣΣΕΥΣ",
    "İstanbul", "ı", "ſ", "K", "[MASK]", "[BOS]", "[EOS]", "[PAD]", "[UNK]", "[mask]", "##ing", "<b>", "</b>", "<br />",
    "<a href='x'>", "<!-- hidden -->", "<script>alert(1)</script>", "<3", "a < b", "<somebody>", "&amp;", "&lt;b&gt;",
    "&amp;lt;br&amp;gt;", "&#8217;", "&#x1F600;", "&nbsp;", "&notit;", "&NotEqualTilde;", "&#150;", "&#0;", "&#xD800;",
    "&bogus;", "&amp", "AT&T", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u2028", "\u200b", "\ufeff", "\u200d",
    "\u202e", "\x00", "\x1b[31m", "\x7f", "\x85", "\x93", "\ud800", "\ufffe", "\U000e0041", "́", "...", "--", "_x_",
    "well-known", "o’clock", "a" * 40, "ab" * 70, "!?!?", "a\u0308", "\u1100\u1161\u11a8", "𝔘𝔫𝔦", "\U00016ebb", "⹃", "܀",
]  # fmt: skip


def make_strings(count: int, seed: int) -> list[str]:
    """Texts of fragments with and without blanks between them, and of characters from all of Unicode."""
    draw = random.Random(seed)
    texts = ["", " ", "[MASK]", "a" * 5000, "🙂" * 600, "word " * 700]
    while len(texts) < count:
        words = draw.choices(FRAGMENTS, k=draw.randint(1, 12))
        for place in range(len(words)):
            if draw.random() < 0.15:
                length = draw.randint(1, 8)
                highest = draw.choice([0x7F, 0x17F, 0x3000, 0xFFFF, 0x10FFFF])
                words[place] = "".join(chr(draw.randint(0, highest)) for _ in range(length))
        texts.append(draw.choice([" ", " ", " ", "", "  "]).join(words))
    return texts


@dataclass(frozen=True)
class Engine:
    """The page's engine in node."""

    folder: Path

    def answer(self, model: bytes, **requests: list[str]) -> dict[str, list[Any]]:
        """The answers to lists of texts, by the name of the operation."""
        (self.folder / "model").write_bytes(model)
        (self.folder / "requests.json").write_text(json.dumps(requests))
        command = ["node", "driver.mjs", "model", "requests.json", "answers.json"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers: dict[str, list[Any]] = json.loads((self.folder / "answers.json").read_text())
        return answers


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if shutil.which("node") is None or not ESBUILD.exists():
        pytest.skip("node or web/node_modules is missing: the page's engine cannot be bundled (npm ci in web/)")
    folder = tmp_path_factory.mktemp("engine")
    options = ["--bundle", "--platform=node", "--format=esm", "--target=es2022", "--log-level=error"]
    subprocess.run([ESBUILD, DRIVER, *options, f"--outfile={folder / 'driver.mjs'}"], check=True)
    return Engine(folder)
