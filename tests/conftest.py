"""What every test shares: the folder of real data, where there is one, and quiet libraries."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.text.tokenizer.tokenizer import Tokenizer

# A shell starts a job in the background with Ctrl-C ignored, and the processes of the tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("RUST_BACKTRACE", "0")  # the tokenizers library prints traces of its own
os.environ.setdefault("NO_COLOR", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing that transformers loads is fetched
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models in tests are too small to gain by threads
for _name in ("no_proxy", "NO_PROXY"):  # a proxy does not find the servers of tests, which are on this machine
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1")))

settings.register_profile("pretune", deadline=None)  # a busy machine is no failure
settings.load_profile("pretune")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their place: an archive made for a test holds the time it was made, and the processes that
    share the tests must each find the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses real data."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("realdata")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real corpora that the variable PRETUNE_DATA names; the test skips where it is not set."""
    folder = os.environ.get("PRETUNE_DATA")
    if not folder:
        pytest.skip("PRETUNE_DATA is not set: real data is not part of the repository")
    return Path(folder)


SENTENCES = [
    "The sun rises in the east.",
    "A wonderful film, warm and funny.",
    "The hotel was dreadful: cold soup, noisy rooms.",
    "Das Buch ist großartig, aber der Schluss enttäuscht.",
    "I bought this phone in May; the battery lasts two days!",
    "We never liked the food, and the waiter was rude.",
]


SMALL: dict[str, Any] = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "head_dim": 16, "intermediate_size": 96}


UNSEEN = ["The waiter was warm and the food was cold.", "We bought the hotel in May.", "The film was rude and noisy."]


@pytest.fixture(scope="session")
def train_tokenizer() -> Callable[..., Tokenizer]:
    """A function that trains on clean texts, with the settings of `train_on_counts`."""
    from pretune.text.arrays.counted_words import count_in_bytes
    from pretune.text.tokenizer.training import train_on_counts

    def train(texts: Iterable[str], *settings: Any, **more: Any) -> Tokenizer:
        return train_on_counts(count_in_bytes(" ".join(" ".join(texts).split()).encode()), *settings, **more).tokenizer

    return train


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, train_tokenizer: Callable[..., Tokenizer]) -> Path:
    """A byte-level BPE of some 400 tokens, trained on a few sentences."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(SENTENCES * 30, vocab_size=400).save(folder)
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A run's two models with random weights, 2 layers of 64: pretrain/checkpoint and finetune/checkpoint."""
    import torch

    from pretune.model.config import ModelConfig
    from pretune.model.folder import save_model_folder
    from pretune.model.transformer import LanguageModel, SequenceClassifier
    from pretune.text.tokenizer.tokenizer import load_tokenizer

    config = ModelConfig(vocab_size=load_tokenizer(tokenizer_folder).vocab_size, num_kv_heads=4, **SMALL)
    run = tmp_path_factory.mktemp("run")
    rng = torch.Generator().manual_seed(0)
    for stage, model, names in (
        ("pretrain", LanguageModel(config), None),
        ("finetune", SequenceClassifier(config, 3), ["negative", "neutral", "positive"]),
    ):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=rng)
        save_model_folder(run / stage / "checkpoint", model, tokenizer_folder, names)
    return run


@pytest.fixture(scope="session")
def save_language_model(tokenizer_folder: Path) -> Callable[[Path, str], Path]:
    """A function that writes a language model of an objective (masked, causal, hybrid) with random weights: 2 layers of
    64, and a context of 64 tokens."""

    def save(folder: Path, objective: Literal["masked", "causal", "hybrid"]) -> Path:
        import torch

        from pretune.model.config import ModelConfig
        from pretune.model.folder import save_model_folder
        from pretune.model.transformer import LanguageModel
        from pretune.text.tokenizer.tokenizer import load_tokenizer

        size = load_tokenizer(tokenizer_folder).vocab_size
        config = ModelConfig(vocab_size=size, num_kv_heads=2, max_seq_len=64, objective=objective, **SMALL)
        model, rng = LanguageModel(config), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=rng)
        save_model_folder(folder, model, tokenizer_folder)
        return folder

    return save


@pytest.fixture(scope="session")
def save_adapter() -> Callable[[Path, Path], Path]:
    """A function that writes an adapter with random corrections for the language model in a folder."""

    def save(folder: Path, base: Path) -> Path:
        import torch

        from pretune.model.adapter_folder import hash_weights, save_adapter_folder
        from pretune.model.folder import load_model_folder
        from pretune.model.lora import LoraConfig, add_lora, lora_layers
        from pretune.model.transformer import LanguageModel

        model, lora = load_model_folder(base).model, LoraConfig(rank=2, alpha=4.0)
        assert isinstance(model, LanguageModel)
        base_hash, rng = hash_weights(model), torch.Generator().manual_seed(0)
        add_lora(model, lora, seed=0)
        with torch.no_grad():
            for layer in lora_layers(model).values():
                layer.lora_b.normal_(0.0, 0.1, generator=rng)
        save_adapter_folder(folder, model, base, lora, base=base, base_hash=base_hash)
        return folder

    return save


@pytest.fixture(scope="session")
def preprocessed_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A finished preprocess folder of some 5,000 tokens: documents of one to four sentences, in no order."""
    import zstandard

    from pretune.runtime.stage_folder import open_stage
    from pretune.text.token_shards import ShardWriter
    from pretune.text.tokenizer.tokenizer import load_tokenizer

    folder, tokenizer, draw = tmp_path_factory.mktemp("preprocess"), load_tokenizer(tokenizer_folder), random.Random(0)
    stage = open_stage(folder, "preprocess", config={}, inputs={})
    tokenizer.save(folder)
    rows, count_seen = [], 0
    for split, count in (("train", 130), ("validation", 30)):
        with ShardWriter(folder, split, tokenizer.vocab_size) as writer:
            for _ in range(count):
                text = " ".join(draw.choices(SENTENCES, k=draw.randint(1, 4)))
                if split == "validation":  # a sentence to watch, which training does not see
                    text += f" {UNSEEN[count_seen % len(UNSEEN)]}"
                    count_seen += 1
                writer.add(tokenizer.encode(text))
                rows.append(json.dumps({"text": text, "source": "test", "split": split}) + "\n")
    (folder / "documents-00000.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress("".join(rows).encode()))
    stage.finish(synthetic=False, example={"text": SENTENCES[0]})
    return folder


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A finished prepare folder of 240 short texts with two labels that one word tells apart."""
    from pretune.stages.prepare import prepare

    folder, draw = tmp_path_factory.mktemp("task"), random.Random(0)
    rows = []
    for number in range(240):
        words = draw.choices("the film food hotel phone book was and very battery days".split(), k=draw.randint(3, 12))
        words.insert(draw.randrange(len(words)), ("dreadful", "wonderful")[number % 2])
        rows.append(json.dumps({"text": " ".join([*words, str(number)]), "label": ("bad", "good")[number % 2]}) + "\n")
    (folder / "labels.jsonl").write_text("".join(rows), encoding="utf-8")
    prepare(folder / "labels.jsonl", folder / "prepare", base=tokenizer_folder)
    return folder / "prepare"


SMALL_RUN = (
    "--tokens 60000 --tokens-per-step 1024 --size tiny --compile off --checkpoint-minutes 0.01 --evaluations 5 "
    "--finetune-epochs 1 --finetune-learning-rates 1e-3 --seeds 1"
)


def pretune_process(*words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    """The command line in a process of its own, with one thread, so that neighbours do not slow it down."""
    return subprocess.Popen(
        [sys.executable, "-m", "pretune", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@contextmanager
def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes which share the tests have in common, and whether it is new; one at a time."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = root / f"{name}.done"
        is_new = not done.exists()
        (root / name).mkdir(exist_ok=True)
        yield root / name, is_new
        done.touch()


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.txt, labelled.csv and held-out.csv, small enough for a run of seconds, to read only."""
    from pretune.builtin_world import world

    with shared_folder(tmp_path_factory, "world") as (folder, is_new):
        if is_new:
            text = "\n".join(world.iter_documents(1500, seed=1)) + "\n"
            (folder / "reviews.txt").write_text(text, encoding="utf-8")
            for name, rows in (
                ("labelled", world.labeled_rows(300, seed=1)),
                ("held-out", world.test_rows(60, seed=1)),
            ):
                with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows([("text", "label"), *((row.text, row.label) for row in rows)])
    return folder


@pytest.fixture(scope="session")
def small_run_words(small_world: Path) -> list[str]:
    """What is typed for a run on the small world, all but --out."""
    given = ["--corpus", str(small_world / "reviews.txt"), "--labels", str(small_world / "labelled.csv")]
    return ["run", *given, *SMALL_RUN.split()]


@pytest.fixture(scope="session")
def start_pretune() -> Callable[..., subprocess.Popen[str]]:
    """Start the command line in a process of its own."""
    return pretune_process


@pytest.fixture(scope="session")
def wait_until_ended() -> Callable[[int], None]:
    """A function that waits for the end of a process that is not a child of this one."""

    def wait(pid: int) -> None:
        has_states = Path("/proc/self/stat").is_file()
        for _ in range(1200):
            try:
                os.kill(pid, 0)
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace") if has_states else ") R"
            except (ProcessLookupError, FileNotFoundError):
                return
            if stat.rpartition(")")[2].split()[0] == "Z":  # it has ended, and nobody has asked for its status
                return
            time.sleep(0.05)
        raise AssertionError(f"process {pid} has not ended within a minute")

    return wait


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_world: Path, small_run_words: list[str]) -> Path:
    """A whole run of all stages, made by the command line: too short to be good, real in every other way. It is made
    once for all tests, which only read it."""
    out = small_world / "runs" / "reviews"
    with shared_folder(tmp_path_factory, "small-run") as (_, is_new):
        if is_new:
            process = pretune_process(*small_run_words, "--out", str(out))
            shown, told = process.communicate(timeout=250)
            assert process.returncode == 0, told
            (small_world / "shown.txt").write_text(shown, encoding="utf-8")
            (small_world / "told.txt").write_text(told, encoding="utf-8")
    return out


def _plain_varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Tensor:
    """What torch's kernel for variable-length attention computes, span by span; refuses what the kernel would."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    assert cu_seq_q.dtype == torch.int32 and cu_seq_q.is_contiguous() and cu_seq_q is cu_seq_k
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    assert query.shape[1] == key.shape[1] or enable_gqa
    assert window_size in {(-1, -1), (-1, 0)}
    edges = cu_seq_q.tolist()
    assert (edges[0], edges[-1]) == (0, len(query))
    assert max(end - start for start, end in pairwise(edges)) <= min(max_q, max_k)
    parts = []
    for start, end in pairwise(edges):
        q, k, v = (heads[None, start:end].transpose(1, 2) for heads in (query, key, value))
        mixed = scaled_dot_product_attention(q, k, v, is_causal=window_size == (-1, 0), enable_gqa=enable_gqa)
        parts.append(mixed.transpose(1, 2)[0])
    return torch.cat(parts)


@pytest.fixture
def plain_varlen_attn() -> Callable[..., Tensor]:
    """A stand-in for torch's kernel where there is no GPU."""
    return _plain_varlen_attn


@pytest.fixture
def with_plain_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the path for GPUs run here, with plain products in place of the kernel."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", _plain_varlen_attn)
    monkeypatch.setattr("pretune.model.transformer.can_attend", lambda device, dtype, head_dim: True)


@pytest.fixture(scope="session")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small causal model with random weights whose tokenizer, like that of GPT-2, puts nothing around a text, and
    names <|endoftext|> as what ends one."""
    backend = _byte_level_bpe(["<|endoftext|>", "<|other|>"])
    settings = {"eos_token": {"content": "<|endoftext|>"}}
    return _save_causal_model(tmp_path_factory, backend, settings, pad=0, bos=0, eos=0, mask=-1)


@pytest.fixture(scope="session")
def unpadded_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One like Llama 3: no token pads, the first one is the ordinary "!", and the special ones come last."""
    import tokenizers as tk

    backend = _byte_level_bpe([])
    names = ["<|begin_of_text|>", "<|end_of_text|>"]
    backend.add_special_tokens(names)
    bos, eos = map(backend.token_to_id, names)
    backend.post_processor = tk.processors.TemplateProcessing(
        single=f"{names[0]} $A", pair=f"{names[0]} $A {names[0]} $B:1", special_tokens=[(names[0], bos)]
    )
    return _save_causal_model(tmp_path_factory, backend, {"eos_token": names[1]}, pad=eos, bos=bos, eos=eos, mask=-1)


def _byte_level_bpe(names: list[str]) -> Any:
    """A trained tokenizer like GPT-2's, whose first tokens are special ones."""
    import tokenizers as tk

    backend = tk.Tokenizer(tk.models.BPE())
    backend.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tk.decoders.ByteLevel()
    alphabet = tk.pre_tokenizers.ByteLevel.alphabet()
    trainer = tk.trainers.BpeTrainer(
        vocab_size=380, special_tokens=names, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES * 20, trainer)
    return backend


def _save_causal_model(factory: pytest.TempPathFactory, backend: Any, settings: dict[str, Any], **ids: int) -> Path:
    from pretune.model.config import ModelConfig, with_special_tokens
    from pretune.model.folder import save_model_folder
    from pretune.model.transformer import LanguageModel, initialize

    folder, source = factory.mktemp("causal") / "model", factory.mktemp("tokenizer")
    backend.save(str(source / "tokenizer.json"))
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    shape = ModelConfig(vocab_size=backend.get_vocab_size(), num_kv_heads=4, objective="causal", **SMALL)
    initialize(model := LanguageModel(with_special_tokens(shape, **ids)), 0)
    save_model_folder(folder, model, source)
    return folder


def _foreign_tokenizer(kind: str) -> Any:
    """A small tokenizer as public models have them: WordPiece, byte-level BPE or Unigram, with special tokens."""
    import tokenizers as tk

    if kind == "wordpiece":
        names, frame = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], ("[CLS]", "[SEP]")
        backend = tk.Tokenizer(tk.models.WordPiece(unk_token="[UNK]"))
        backend.normalizer = tk.normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = tk.pre_tokenizers.BertPreTokenizer()
        backend.decoder = tk.decoders.WordPiece()
        trainer: Any = tk.trainers.WordPieceTrainer(vocab_size=220, special_tokens=names, show_progress=False)
    elif kind == "bpe":
        names, frame = ["<s>", "<pad>", "</s>", "<unk>"], ("<s>", "</s>")
        backend = _byte_level_bpe(names)
    else:
        names, frame = ["<s>", "<pad>", "</s>", "<unk>"], ("<s>", "</s>")
        backend = tk.Tokenizer(tk.models.Unigram())
        backend.normalizer = tk.normalizers.NFKC()
        backend.pre_tokenizer = tk.pre_tokenizers.Metaspace()
        backend.decoder = tk.decoders.Metaspace()
        trainer = tk.trainers.UnigramTrainer(
            vocab_size=200, special_tokens=names, unk_token="<unk>", show_progress=False
        )
    if kind != "bpe":
        backend.train_from_iterator(SENTENCES * 20, trainer)
    if kind != "wordpiece":  # after all ordinary tokens, as RoBERTa has it
        backend.add_special_tokens([tk.AddedToken("<mask>", lstrip=True)])
    first, last = frame
    backend.post_processor = tk.processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(name, backend.token_to_id(name)) for name in frame],
    )
    backend.enable_truncation(10)  # some public tokenizers cut and pad every text, which must not happen
    backend.enable_padding(length=10)
    return backend


_TOKENIZER_OF = {"roberta": "bpe", "modernbert": "bpe", "xlm-roberta": "unigram", "deberta-v2": "unigram"}


@pytest.fixture(scope="session")
def public_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a small model with random weights, and its tokenizer, as transformers publishes them.

    `head` is the part of a class name after AutoModel, such as ForMaskedLM; `save` are options of `save_pretrained`,
    and all others those of the config.
    """
    transformers = pytest.importorskip("transformers")
    import torch

    transformers.utils.logging.disable_progress_bar()

    def write(kind: str, head: str = "", save: dict[str, Any] | None = None, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        backend = _foreign_tokenizer(_TOKENIZER_OF.get(kind, "wordpiece"))
        given: dict[str, Any] = {
            "vocab_size": backend.get_vocab_size(),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 40,
            "initializer_range": 0.2,  # so that every part matters
        }
        for role, names in (("pad", ("[PAD]", "<pad>")), ("bos", ("[CLS]", "<s>")), ("eos", ("[SEP]", "</s>"))):
            found = [backend.token_to_id(name) for name in names if backend.token_to_id(name) is not None]
            given[f"{role}_token_id"] = found[0]
        config = transformers.AutoConfig.for_model(kind, **{**given, **options})
        torch.manual_seed(0)
        model = getattr(transformers, f"AutoModel{head}").from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(folder, **(save or {}))
        backend.save(str(folder / "tokenizer.json"))
        pad, mask = (
            next(n for n in names if backend.token_to_id(n) is not None)
            for names in (("[PAD]", "<pad>"), ("[MASK]", "<mask>"))
        )
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad, "mask_token": mask}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder

    return write
