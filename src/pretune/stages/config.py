"""Every setting of the five stages, without importing torch: the command line and the recipe file are made from these.

A comment after a field is its `--help` text. Defaults are what a user with two cores and English text wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pretune.errors import UsageError
from pretune.runtime.engines import parse_engine

Size = Literal["auto", "tiny", "micro", "mini", "small"]
Format = Literal[
    "auto", "txt", "md", "html", "xml", "csv", "tsv", "jsonl", "json", "parquet", "pdf", "docx", "mbox", "eml"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Stage 1: read text as it is found, with its source."""

    text_column: str | None = None  # the column or key that holds the text; detected and shown when not given
    text_unit: Literal["auto", "line", "paragraph", "file"] = "auto"  # what one document is in a txt or md file
    encoding: str | None = None  # of text without a byte order mark, as in cp1252; detected and shown when not given
    format: Format = "auto"  # of every file, archives apart; detected by content and name, and shown, when not given
    html_text: Literal["visible", "main"] = "visible"  # main: without menus and footers, by pretune[html]
    markdown: Literal["plain", "keep"] = "plain"  # plain: without markup and front matter
    mail_quotes: Literal["drop", "keep"] = "drop"  # drop: without quoted replies and signatures
    builtin_documents: int = 200_000  # how many documents the built-in world writes, when no path is given
    seed: int = 0  # of the built-in world only
    engine: str = "auto"  # who does the work: auto, threads, processes, dask[://ADDRESS] or ray[://ADDRESS]
    workers: int | None = None  # how many at once; the cores of this machine when not given

    def __post_init__(self) -> None:
        _expect(self, lambda value: value >= 1, "at least 1", "builtin_documents", "workers")
        parse_engine(self.engine)
        if self.encoding is not None:
            from pretune.text.charset import check_encoding

            check_encoding(self.encoding)


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Stage 2: repair, filter, deduplicate, split; train the tokenizer; write token shards."""

    tokenizer: Literal["bpe", "wordpiece", "words"] = "bpe"  # byte-level BPE, WordPiece as in BERT, or whole words
    vocab_size: int | None = None  # tokens in the vocabulary; chosen from the text, at most 8192, and told why
    lowercase: bool = False  # fold upper to lower case inside the tokenizer
    quality_profile: Literal["auto", "short", "long"] = "auto"  # rules for samples, for pages, or by each text's length
    min_words: int = 1  # drop documents with fewer words
    max_symbol_ratio: float = 0.5  # drop documents in which more of the characters than this are not letters or digits
    disabled_rules: tuple[str, ...] = ()  # quality rules to switch off, by name
    language: str | None = None  # drop documents in another language, such as en or de; extra `language`
    personal_data: Literal["keep", "replace"] = "keep"  # replace e-mail and IP addresses, card and phone numbers
    decontaminate: Literal["drop", "report", "off"] = "drop"  # documents with words of a held-out or protected text
    near_duplicates: bool = True  # drop documents that nearly repeat an earlier one
    near_duplicate_threshold: float = 0.8  # from this Jaccard index of their word n-grams on, 0.7 to 1
    dropped_listed: int = 10_000  # dropped documents of each rule to list in dropped-RULE.jsonl.zst; 0: none
    validation_fraction: float = 0.02  # of the documents, chosen by a hash of the text
    engine: str = "auto"  # who does the work: auto, threads, processes, dask[://ADDRESS] or ray[://ADDRESS]
    workers: int | None = None  # how many at once; the cores of this machine when not given

    def __post_init__(self) -> None:
        _expect(self, lambda value: value >= 1, "at least 1", "vocab_size", "workers")
        parse_engine(self.engine)
        _expect(self, lambda value: value >= 0, "at least 0", "dropped_listed")
        _expect(self, lambda value: 0.7 <= value <= 1, "a share from 0.7 to 1", "near_duplicate_threshold")
        _expect(self, lambda value: 0 <= value < 1, "a share from 0 to below 1", "validation_fraction")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Stage 3: a transformer learns to predict missing words."""

    size: Size = "auto"  # tiny (2x128), micro (2x256), mini (4x256), small (8x384); auto: by the budget
    minutes: float | None = None  # budget in wall time, calibration and compiling included
    tokens: int | None = None  # budget in tokens seen
    epochs: float | None = None  # budget in passes over the text
    seed: int = 0  # initial weights, order and masks
    optimizer: Literal["muon", "adamw"] = "muon"  # muon: Muon for matrices, AdamW for the rest
    learning_rate: float | None = None  # peak, of the matrices; chosen for the optimizer when not given
    initial_embedding: Literal["vectors", "random"] = "vectors"  # vectors: from which tokens of the text occur together
    mask_prob: float = 0.3  # share of the ordinary tokens to hide and predict
    row_tokens: int = 64  # length of a training row
    tokens_per_step: int = 4096  # tokens in one optimizer update
    long_row_tokens: int = 512  # rows of the last part of the budget, where documents are longer than row_tokens
    long_fraction: float = 0.1  # share of the tokens trained on long rows; 0 switches them off
    warmup_fraction: float = 0.02  # share of the steps in which the rate rises
    decay_fraction: float = 0.4  # share of the steps in which the rate falls to zero
    evaluations: int = 15  # rows of the training trace
    checkpoint_minutes: float = 5.0  # about this often a checkpoint, besides those of the plan; counted in steps
    compile: Literal["auto", "on", "off"] = "auto"  # auto: on a GPU or a chip with bf16, if the budget is worth it
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where the chip computes in it
    threads: int | None = None  # of the processor; all of its cores when not given
    hang_seconds: float = 60.0  # with torchrun: after how long a process that the others wait for counts as hanging

    def __post_init__(self) -> None:
        if sum(budget is not None for budget in (self.minutes, self.tokens, self.epochs)) > 1:
            raise UsageError("More than one of --minutes, --tokens and --epochs is given; give one budget.")
        _expect(
            self, _is_positive, "a number above zero", "minutes", "tokens", "epochs", "learning_rate", "hang_seconds"
        )
        _expect(self, lambda value: value >= 8, "at least 8", "row_tokens", "long_row_tokens")
        _expect(self, lambda value: value >= 0, "at least 0", "checkpoint_minutes")
        _expect(self, lambda value: value >= 1, "at least 1", "tokens_per_step", "evaluations", "threads")
        _expect(self, lambda value: 0 < value < 1, "a share between 0 and 1", "mask_prob")
        _expect(self, lambda value: 0 <= value <= 1, "0 to 1", "long_fraction", "warmup_fraction", "decay_fraction")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """The split, which comes before all else: read and check labelled examples, and hold some of them out."""

    text_column: str | None = None  # detected and shown when not given
    label_column: str | None = None  # detected and shown when not given
    label_names: tuple[str, ...] = ()  # 0=negative,1=positive: names for the labels found in the file
    validation_fraction: float = 0.1  # share of the rows held out for validation, chosen by a hash of the text
    test_fraction: float = 0.1  # share of the rows held out for the test, unless a test file is given


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Stage 4: encode labelled examples with the model's tokenizer."""

    max_seq_len: int | None = None  # longest text in tokens; longer ones lose their middle; at most 512 when not given


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Stage 5: further training on the task."""

    epochs: int | None = None  # at most, and three times as many from scratch; 2 to 5, by the text, when not given
    patience: int = 2  # epochs without a better validation score before stopping
    batch_size: int = 32  # texts in one optimizer update
    learning_rates: tuple[float, ...] = (5e-4, 1.5e-3)  # tried on some of the rows; the best on validation is used
    search_rows: int = 3000  # training rows on which the rates are tried, for two epochs (six from scratch)
    seeds: int | None = None  # runs from different seeds; the best on validation is kept; 1 or 3 when not given
    seed: int = 0  # the first of them
    weight_decay: float = 0.05  # of the matrices
    mask_augment: float = 0.1  # share of the tokens of a training text that is hidden, as regularisation
    class_weights: Literal["auto", "none", "balanced"] = "auto"  # auto: balanced where the classes are 1:4 or worse
    from_scratch: bool = False  # start from random weights: the control of "did pre-training help?"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int | None = None  # of the processor; all of its cores when not given

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise UsageError("--learning-rates is empty; expected at least one rate, as in 5e-4,1e-3.")
        _expect(self, _is_positive, "numbers above zero", "learning_rates")
        _expect(
            self,
            lambda value: value >= 1,
            "at least 1",
            "epochs",
            "patience",
            "batch_size",
            "search_rows",
            "seeds",
            "threads",
        )
        _expect(self, lambda value: 0 <= value < 1, "a share from 0 to below 1", "mask_augment")


def _expect(config: Any, is_fine: Callable[[Any], bool], expected: str, *names: str) -> None:
    """Refuse values with which a stage cannot work; a setting that is not given is fine."""
    for name in names:
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if not all(each is None or is_fine(each) for each in values):
            shown = ",".join(map(str, values))
            raise UsageError(f"--{name.replace('_', '-')} is {shown}; expected {expected}.")


def _is_positive(value: float) -> bool:
    return 0 < value < float("inf")


# Settings of how the work is done: what comes out is the same, so a folder made with others is not another one.
HOW = ("engine", "workers", "hang_seconds", "threads")


def to_identity(config: Any) -> dict[str, Any]:
    """The settings that decide what comes out of a stage."""
    return {name: value for name, value in to_dict(config).items() if name not in HOW}


def to_dict(config: Any) -> dict[str, Any]:
    """A config as JSON values, as manifests and recipes hold it."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
