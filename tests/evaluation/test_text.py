"""The loss of text: the one that transformers' logits give, however the text is cut into windows, and its intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError, ModelError, UsageError
from pretune.evaluation.text import evaluate_text, figures_of
from pretune.inference.load import load_generator
from pretune.inference.text_loss import TextLoss, check_windows, text_loss

TEXTS = ["The sun rises in the east.", "A wonderful film, warm and funny. " * 12, "Das Buch ist großartig."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]) -> Path:
    return save_language_model(tmp_path_factory.mktemp("causal") / "model", "causal")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return path


def loss_by_transformers(folder: Path, rows: list[list[int]], window: int, stride: int) -> tuple[float, int]:
    """The sum of losses and the number of tokens, as transformers' page on perplexity computes them."""
    transformers = pytest.importorskip("transformers")
    model = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    nats, tokens = 0.0, 0
    for row in rows:
        previous_end = 1
        for begin in range(0, len(row), stride):
            end = min(begin + window, len(row))
            target_len = end - previous_end
            input_ids = torch.tensor([row[begin:end]])
            labels = input_ids.clone()
            labels[:, :-target_len] = -100
            with torch.no_grad():
                nats += float(model(input_ids, labels=labels).loss) * target_len
            tokens, previous_end = tokens + target_len, end
            if end == len(row):
                break
    return nats, tokens


@pytest.mark.parametrize(("window", "stride"), [(None, None), (16, 4), (16, 15), (2, 1)])
def test_the_loss_is_that_of_transformers(folder: Path, file: Path, window: int | None, stride: int | None) -> None:
    tokenizer = load_generator(folder).tokenizer
    rows = [tokenizer.encode(" ".join(text.split()))[:-1] for text in TEXTS]  # without the end
    found = evaluate_text(folder, file, window=window, stride=stride)
    nats, tokens = loss_by_transformers(folder, rows, window or 64, stride or 32)
    assert (found["tokens"], found["documents"]) == (tokens, 3)
    assert found["bytes"] == sum(len(text.strip().encode()) for text in TEXTS)
    assert found["loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / found["bytes"], rel=1e-5)


def test_an_ordinary_token_with_id_0_is_scored(unpadded_model: Path, tmp_path: Path) -> None:
    """The tokenizer of Llama 3 has no token for padding, and its first one is "!"."""
    (tmp_path / "text.txt").write_text("Never! Never! Never!")
    tokenizer = load_generator(unpadded_model).tokenizer
    row = tokenizer.encode("Never! Never! Never!")
    assert row.count(0) == 3
    found = evaluate_text(unpadded_model, tmp_path / "text.txt")
    nats, tokens = loss_by_transformers(unpadded_model, [row], 64, 32)
    assert found["tokens"] == tokens == len(row) - 1
    assert found["loss"] == pytest.approx(nats / tokens, rel=1e-5)


def test_every_token_is_scored_once(folder: Path, file: Path) -> None:
    tokens = {evaluate_text(folder, file, window=w, stride=s)["tokens"] for w, s in [(64, 1), (10, 3), (7, 6)]}
    tokenizer = load_generator(folder).tokenizer
    assert tokens == {sum(len(tokenizer.encode(" ".join(text.split()))) - 2 for text in TEXTS)}


@pytest.mark.parametrize(("context", "window"), [(64, 64), (8192, 1024)])
def test_a_window_that_nobody_chose_fits_into_memory(
    context: int, window: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load_generator(folder)
    monkeypatch.setattr(type(generator), "max_seq_len", context)
    assert check_windows(generator, None, None) == (window, window // 2)
    assert check_windows(generator, context, None)[0] == context


def test_documents_give_the_interval_if_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(12), 3)
    tokens = rng.integers(5, 50, len(document))
    losses = rng.normal(3, 1, 12)[document]  # the windows of a document are alike

    def figures(kept: int) -> dict[str, Any]:
        is_kept = document < kept
        return figures_of(
            TextLoss(
                nats=(losses * tokens)[is_kept],
                tokens=tokens[is_kept],
                document=document[is_kept],
                num_bytes=4 * tokens[is_kept],
                num_unknown=0,
            )
        )

    many, few = figures(12), figures(9)
    assert (many["interval_over"], few["interval_over"]) == ("documents", "windows")
    low, high = many["loss_interval"]
    assert low < many["loss"] < high and high - low > 0.8  # as wide as twelve documents allow


def test_the_interval_of_bits_per_byte_is_their_own() -> None:
    """Documents of one loss per token whose tokens differ in bytes: bits per byte vary although the loss does not."""
    tokens, bytes_per_token = np.full(12, 100), np.arange(1, 13)
    figures = figures_of(
        TextLoss(
            nats=3.0 * tokens, tokens=tokens, num_bytes=bytes_per_token * tokens, document=np.arange(12), num_unknown=0
        )
    )
    assert figures["loss_interval"] == pytest.approx((3.0, 3.0))
    low, high = figures["bits_per_byte_interval"]
    assert figures["bits_per_byte"] == pytest.approx(3 / (6.5 * math.log(2)))
    assert low < figures["bits_per_byte"] < high and high - low > 0.1


@pytest.mark.parametrize(("window", "stride"), [(64, 32), (16, 4), (2, 1)])
def test_every_byte_is_of_one_window(folder: Path, window: int, stride: int) -> None:
    generator = load_generator(folder)
    found = text_loss(generator, TEXTS, window, stride)
    of_documents = np.bincount(found.document, found.num_bytes)
    assert of_documents.tolist() == [len(generator.clean(text).encode()) for text in TEXTS]
    assert (found.num_bytes >= 0).all()


def test_what_cannot_be_evaluated_is_refused(
    folder: Path, file: Path, tmp_path: Path, save_language_model: Callable[[Path, str], Path]
) -> None:
    for window, stride, found in (
        (1, None, "--window is 1; expected 2 to 64"),
        (8, 8, "--stride is 8; expected 1 to 7"),
    ):
        with pytest.raises(UsageError, match=found):
            evaluate_text(folder, file, window=window, stride=stride)
    with pytest.raises(InputDataError, match="does not exist"):
        evaluate_text(folder, tmp_path / "none.txt")
    with pytest.raises(ModelError, match="trained to fill in masked words"):
        evaluate_text(save_language_model(tmp_path / "masked", "masked"), file)


def test_the_verb_shows_the_figures(folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(folder), "--text", str(file)]
    assert run_command_line(words) == 0
    shown = capsys.readouterr().out
    assert run_command_line([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert f"perplexity     {figures['perplexity']:.4g}" in shown
    assert f"bits per byte  {figures['bits_per_byte']:.4g}" in shown
    assert f"{figures['tokens']} in 3 documents" in shown
    assert run_command_line(["evaluate", str(folder), "--labels", str(file), "--stride", "3"]) == 2
    assert run_command_line([*words, "--label-column", "x"]) == 2
    assert "--label-column is given with --text" in capsys.readouterr().err
    assert run_command_line([*words, "--no-stack"]) == 2
    assert "--no-stack is given with --text" in capsys.readouterr().err


def test_a_model_whose_training_diverged_is_refused(
    save_diverged: Callable[..., Path], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_diverged(tmp_path, "causal")
    assert run_command_line(["evaluate", str(model), "--text", str(file), "--quiet"]) == 4
    assert "its weights are damaged or its training diverged" in capsys.readouterr().err


def test_one_window_has_no_interval(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.txt").write_text("The sun rises.", encoding="utf-8")
    words = ["evaluate", str(folder), "--text", str(tmp_path / "short.txt"), "--quiet"]
    assert run_command_line([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["documents"], figures["windows"]) == (1, 1)
    assert math.isfinite(figures["loss"])
    for name in ("loss", "perplexity", "bits_per_byte"):
        assert figures[f"{name}_interval"] is None
    assert run_command_line(words) == 0
    shown = capsys.readouterr().out
    assert f"loss           {figures['loss']:.4g} nats per token\n" in shown
    assert "interval" not in shown
