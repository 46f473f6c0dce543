"""The engine that the page carries agrees with Python: texts, token ids, probabilities, attributions, filled words.

The engine is bundled with esbuild and run in node. The tests are skipped where one is missing, since users need
neither; with PRETUNE_NODE=required, as in .ci/run, they fail instead.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.exporting.browser_model import pack_model
from pretune.inference.load import load_classifier, load_filler
from pretune.model.config import ModelConfig
from pretune.model.folder import save_model_folder
from pretune.model.transformer import LanguageModel, SequenceClassifier
from pretune.scoring.stack import Stack
from pretune.scoring.stacked_model import StackedModel, save_stacked
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.labelling import Labelling
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
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
    "🙂", "👩‍👩‍👧", "🇩🇪", "لا إله", "שלום", "電話は高い。", "สวัสดีครับ", "한국어", "नमस्ते", "é", "ﬁn", "Å",
    "Σίσυφος", "ΌΔΥΣΣΕΥΣ", "İstanbul", "ı", "ſ", "K", "[MASK]", "[BOS]", "[EOS]", "[PAD]", "[UNK]", "[mask]",
    "##ing", "<b>", "</b>", "<br />", "<a href='x'>", "<!-- hidden -->", "<script>alert(1)</script>", "<3", "a < b",
    "<somebody>", "&amp;", "&lt;b&gt;",
    "&amp;lt;br&amp;gt;", "&#8217;", "&#x1F600;", "&nbsp;", "&notit;", "&NotEqualTilde;", "&#150;", "&#0;", "&#xD800;",
    "&bogus;", "&amp", "AT&T", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u2028", "\u200b", "\ufeff", "\u200d",
    "\u202e", "\x00", "\x1b[31m", "\x7f", "\x85", "\x93", "\ud800", "\ufffe", "\U000e0041", "́", "...", "--", "_x_",
    "well-known", "o’clock", "a" * 40, "ab" * 70, "!?!?", "a\u0308", "\u1100\u1161\u11a8", "𝔘𝔫𝔦", "\U00016ebb",
    "⹃", "܀",
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
    # Halves of a surrogate pair next to each other are one character in JavaScript, which Python can tell apart.
    return [text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass") for text in texts]


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
        sentence = "node or web/node_modules is missing: the page's engine cannot be bundled (npm ci in web/)"
        (pytest.fail if os.environ.get("PRETUNE_NODE") == "required" else pytest.skip)(sentence)
    folder = tmp_path_factory.mktemp("engine")
    options = ["--bundle", "--platform=node", "--format=esm", "--target=es2022", "--log-level=error"]
    subprocess.run([ESBUILD, DRIVER, *options, f"--outfile={folder / 'driver.mjs'}"], check=True)
    return Engine(folder)


def save_models(run: Path, tokenizer_folder: Path, label_names: list[str]) -> Path:
    """Two models with random weights, of which two heads share keys and values."""
    config = ModelConfig(
        vocab_size=load_tokenizer(tokenizer_folder).vocab_size,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        intermediate_size=50,
        max_seq_len=40,
    )
    rng = torch.Generator().manual_seed(0)
    for stage, model, names in (
        ("pretrain", LanguageModel(config), None),
        ("finetune", SequenceClassifier(config, len(label_names)), label_names),
    ):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.15, generator=rng)
        save_model_folder(run / stage / "checkpoint", model, tokenizer_folder, names)
    return run


KINDS = [("bpe", False), ("bpe", True), ("wordpiece", True), ("words", False)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{'lower' if kind[1] else 'cased'}")
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    train_tokenizer: Callable[..., Tokenizer],
) -> Path:
    """A run's two models, for each kind of tokenizer; these know the sentences, but not all fragments."""
    kind, lowercase = request.param
    run = tmp_path_factory.mktemp("run")
    train_tokenizer(SENTENCES * 30, kind, 400 if kind == "bpe" else None, lowercase).save(run)
    return save_models(run, run, ["negative", "neutral", "positive"])


def check_texts(engine: Engine, run: Path, texts: list[str]) -> None:
    """Cleaned texts, ids and spans are equal, except where ftfy repaired a text; the engine names all of these."""
    tokenizer, model = load_tokenizer(run / "finetune" / "checkpoint"), pack_model(run)
    cleaned = [clean_text(text) for text in texts]
    answers = engine.answer(model, clean=texts, encode=cleaned, encodeForFill=cleaned)
    differing = [(a["text"], b) for a, b in zip(answers["clean"], cleaned, strict=True) if not a["isSuspect"]]
    assert [found for found, _ in differing] == [expected for _, expected in differing]
    num_suspect = len(texts) - len(differing)
    assert num_suspect < 0.2 * len(texts)
    for operation, encode in (("encode", tokenizer.encode_with_offsets), ("encodeForFill", tokenizer.encode_for_fill)):
        for text, found in zip(cleaned, answers[operation], strict=True):
            expected = encode(text)
            assert found["ids"] == expected.ids, ascii(text)
            assert list(zip(found["starts"], found["ends"], strict=True)) == expected.offsets, ascii(text)


def test_texts_are_cleaned_and_tokenized_as_in_python(engine: Engine, run: Path) -> None:
    check_texts(engine, run, make_strings(800, seed=1))


@pytest.mark.slow
def test_many_texts_and_all_characters_are_tokenized_as_in_python(engine: Engine, run: Path) -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = ["x".join(["", *characters[start : start + 50], ""]) for start in range(0, len(characters), 50)]
    check_texts(engine, run, [*make_strings(8000, seed=2), *texts])


@pytest.mark.slow
def test_real_texts_are_tokenized_as_in_python(engine: Engine, run: Path, real_data: Path) -> None:
    texts: list[str] = []
    for path in sorted(real_data.rglob("*")):
        if path.suffix in (".txt", ".csv", ".tsv", ".jsonl"):
            with path.open(encoding="utf-8", errors="replace") as file:
                texts += [line for line in itertools.islice(file, 300) if len(line) < 5000]
    assert len(texts) > 1000
    check_texts(engine, run, texts)


def test_probabilities_are_those_of_python(engine: Engine, run: Path) -> None:
    texts = [text for text in make_strings(100, seed=3) if clean_text(text)]
    expected = load_classifier(run).predict_outputs(texts)
    model = pack_model(run)
    answers = engine.answer(model, predict=texts, clean=texts)
    is_equal_text = [not each["isSuspect"] for each in answers["clean"]]
    found = np.array(answers["predict"])[is_equal_text]
    assert len(found) > 70
    np.testing.assert_allclose(found, expected[is_equal_text], atol=1e-3, rtol=0)
    exact = engine.answer(pack_model(run, precisions=["fp32"]), predict=texts)["predict"]
    np.testing.assert_allclose(np.array(exact)[is_equal_text], expected[is_equal_text], atol=1e-5, rtol=0)


TYPED = [
    "The film was warm and funny, but the hotel dreadful: cold soup!",
    "wonderful",
    "電話は dreadful。 [MASK] 🙂🙂 <b>bold</b>",
    "The phone was " * 30,  # is cut in the middle
    "?",
    "battery days and food, hotel book very wonderful dreadful phone was film and days",
]
MASKED = ["The [MASK] was warm.", "[MASK]", "A [MASK] film, [MASK] and funny.", "soup[MASK]rooms 電話[MASK]。"]
# Other orders are drawn in the browser, and the arithmetic of the head is exact there.
NOT_COMPARED = {
    "random_deletion", "random_orders", "row_sum_error", "contribution_error", "head_error", "prediction_error",
    "completeness_error",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, preprocessed_folder: Path, prepared_folder: Path
) -> Path:
    """A run with counted tokens and labelled rows, so that its traces have counts and probes."""
    run = tmp_path_factory.mktemp("whole-run")
    shutil.copytree(preprocessed_folder, run / "preprocess")
    shutil.copytree(prepared_folder, run / "prepare")
    return save_models(run, tokenizer_folder, ["bad", "good"])


def check_equal(found: Any, expected: Any, tolerance: float, path: str = "") -> None:
    """Two JSON values are equal, numbers up to a tolerance that grows with them; attention up to one byte."""
    name = path.rpartition("/")[2]
    if name in NOT_COMPARED:
        return
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key in expected:
            check_equal(found[key], expected[key], tolerance, f"{path}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            check_equal(one, other, tolerance, f"{path}/{place}")
    elif name == "weights":
        one, other = (np.frombuffer(base64.b64decode(each), np.uint8).astype(int) for each in (found, expected))
        assert len(one) == len(other) and np.abs(one - other).max() <= 1, path
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), path
    else:
        assert found == expected, path


def as_json(trace: PredictionTrace | FillTrace) -> Any:
    return json.loads(json.dumps(asdict(trace)))


@pytest.mark.slow
def test_traces_are_those_of_python(engine: Engine, whole_run: Path) -> None:
    classifier = load_classifier(whole_run)
    expected = [as_json(trace_prediction(classifier, text)) for text in TYPED]
    found = engine.answer(pack_model(whole_run, precisions=["fp32"]), trace=TYPED)["trace"]
    assert expected[0]["readouts"][0]["probe"] and expected[0]["tokens"][1]["count"] and expected[3]["was_cut"]
    assert sum(len(trace["reasons"]["words"]) for trace in expected) > 60
    for one, other in zip(found, expected, strict=True):
        check_equal(one, other, 2e-4)


@pytest.mark.slow
def test_attributions_sum_to_the_change_of_the_score(engine: Engine, whole_run: Path) -> None:
    found = engine.answer(pack_model(whole_run), trace=TYPED[:2])["trace"]
    for reasons in (trace["reasons"] for trace in found):
        change = reasons["score"] - reasons["masked_score"]
        total = sum(reasons["integrated_gradients"])
        assert total == pytest.approx(change + reasons["completeness_error"], abs=1e-9)
        assert reasons["is_converged"] and abs(reasons["completeness_error"]) <= max(0.02 * abs(change), 0.01)
        assert len(reasons["random_deletion"]) == len(reasons["deletion"])
        assert reasons["random_deletion"][-1] == pytest.approx(reasons["masked_score"], abs=1e-4)


def test_filled_words_are_those_of_python(engine: Engine, whole_run: Path) -> None:
    filler = load_filler(whole_run)
    expected = [as_json(trace_fill(filler, text)) for text in MASKED]
    found = engine.answer(pack_model(whole_run, precisions=["fp32"]), fill=MASKED)["fill"]
    for one, other in zip(found, expected, strict=True):
        check_equal(one, other, 1e-4)


@pytest.mark.slow
def test_eight_bits_change_probabilities_by_little(engine: Engine, whole_run: Path) -> None:
    expected = load_classifier(whole_run).predict_outputs(TYPED)
    answers = engine.answer(pack_model(whole_run, precisions=["int8"]), predict=TYPED)
    difference = np.abs(np.array(answers["predict"]) - expected).max()
    assert 1e-5 < difference < 0.05


def test_the_page_says_how_far_its_own_examples_differ(engine: Engine, whole_run: Path) -> None:
    classifier = load_classifier(whole_run)
    examples = [as_json(trace_prediction(classifier, text)) for text in TYPED[:2]]
    wrong = json.loads(json.dumps(examples))
    wrong[1]["decision"]["probabilities"][0] += 0.25
    documents = [{"is_redacted": False, "predictions": each} for each in (examples, wrong, [])]
    documents.append({"is_redacted": True, "predictions": wrong})
    found = engine.answer(pack_model(whole_run), parity=[json.dumps(each) for each in documents])["parity"]
    assert [each["n"] for each in found] == [2, 2, 0, 0]
    assert 0 < found[0]["largest"] < 1e-3
    assert found[1]["largest"] == pytest.approx(0.25, abs=1e-3)
    assert found[2]["largest"] == found[3]["largest"] == 0


def test_texts_that_cannot_be_answered_get_a_sentence(engine: Engine, whole_run: Path) -> None:
    texts = ["", "<b></b>", "[MASK] " * 100, "<a href='[MASK]'>film</a>", "The film was warm."]
    answers = engine.answer(pack_model(whole_run), refusal=texts, caution=["cafÃ© film", "café film"])
    blank, empty, long, hidden, fine = answers["refusal"]
    assert "no text to trace" in blank and "no text to trace" in empty
    assert "102 tokens; expected at most 40" in long
    assert "inside markup" in hidden
    assert fine is None
    assert "ftfy" in answers["caution"][0] and answers["caution"][1] is None


def test_a_model_that_pretune_reads_otherwise_says_so(engine: Engine, whole_run: Path, tmp_path: Path) -> None:
    classifier = load_classifier(whole_run)
    labelling = Labelling(names=classifier.label_names, reads_windows=True)
    stacked = StackedModel(partners=(), stack=Stack(np.ones(1), np.zeros(2)))
    for name, write_more in (("windows", None), ("stack", lambda folder: save_stacked(folder, stacked))):
        folder = tmp_path / name / "finetune" / "checkpoint"
        save_model_folder(folder, classifier.model, classifier.path, labelling, write_more=write_more)
    texts = ["The film was warm.", "The film was [MASK].", "The phone was " * 30]
    examples = [as_json(trace_prediction(classifier, text)) for text in (texts[0], texts[2])]
    document = json.dumps({"is_redacted": False, "predictions": examples})
    found = engine.answer(pack_model(tmp_path / "windows"), caution=texts, parity=[document])
    assert found["caution"][:2] == [None, None] and "reads it in windows" in found["caution"][2]
    assert found["parity"][0]["n"] == 1
    short, masked, long = engine.answer(pack_model(tmp_path / "stack"), caution=texts)["caution"]
    assert "the network alone" in short and "in windows" not in short
    assert masked is None
    assert "the network alone" in long and "in windows" in long
