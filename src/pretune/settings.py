"""The settings of all stages, from which the command line and the recipe file are made; nothing here imports torch.

Each field becomes an option with its help text. The defaults suit two cores and English text.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from pretune.errors import UsageError
from pretune.runtime.workers import parse_engine
from pretune.setting_kinds import check_kinds, expect, is_positive

ObjectiveSetting = Literal["auto", "masked", "causal", "hybrid"]
Size = Literal["auto", "tiny", "micro", "mini", "small", "medium", "large"]
Format = Literal[
    "auto", "txt", "md", "html", "xml", "csv", "tsv", "jsonl", "json", "parquet", "pdf", "docx", "mbox", "eml"
]  # fmt: skip

_ENGINE = "how to run the work in parallel: auto, threads, processes, dask[://ADDRESS] or ray[://ADDRESS]"
_WORKERS = "number of parallel workers (default: all cores; with --engine auto, one below 20 million characters)"
LEAST_SENTENCES = 200  # of a corpus, from which a student can learn
T = TypeVar("T")


def _setting(default: T, help: str) -> T:
    """A field with its default and the help text of its option."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Stage 1: read text in any supported format, with its source."""

    text_column: str | None = _setting(None, "column or key that contains the text (default: detected and shown)")
    text_unit: Literal["auto", "line", "paragraph", "file"] = _setting(
        "auto", "what counts as one document in a txt or md file"
    )
    encoding: str | None = _setting(
        None, "encoding of text without a byte order mark, e.g. cp1252 (default: detected and shown)"
    )
    format: Format = _setting(
        "auto", "format of all files except archives; auto: detected from content and name, and shown"
    )
    html_text: Literal["visible", "main"] = _setting(
        "visible", "text to take from web pages; main: without menus and footers, needs pretune[html]"
    )
    markdown: Literal["plain", "keep"] = _setting("plain", "plain: without markup and front matter")
    mail_quotes: Literal["drop", "keep"] = _setting("drop", "drop: without quoted replies and signatures")
    builtin_documents: int = _setting(200_000, "number of documents in the built-in corpus, used when no path is given")
    seed: int = _setting(0, "seed of the built-in corpus")
    engine: str = _setting("auto", _ENGINE)
    workers: int | None = _setting(None, _WORKERS)

    def __post_init__(self) -> None:
        check_kinds(self)
        expect(self, lambda value: value >= 1, "at least 1", "builtin_documents", "workers")
        parse_engine(self.engine)
        if self.encoding is not None:
            from pretune.text.raw.charset import check_encoding

            check_encoding(self.encoding)


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Stage 2: repair, filter, deduplicate, split; train the tokenizer; write token shards."""

    tokenizer: Literal["bpe", "wordpiece", "words"] = _setting(
        "bpe", "bpe: byte-level BPE; wordpiece: WordPiece as in BERT; words: whole words"
    )
    vocab_size: int | None = _setting(
        None, "vocabulary size (default: chosen from the corpus, at most 8192; the reason is shown)"
    )
    lowercase: bool | None = _setting(
        None,
        "make the tokenizer convert text to lower case (default: only if the labelled texts have next to no capital "
        "letters and the corpus has some)",
    )
    quality_profile: Literal["auto", "short", "long"] = _setting(
        "auto", "quality rules: short for samples, long for pages; auto: by the length of each document"
    )
    min_words: int = _setting(1, "drop documents with fewer words")
    max_symbol_ratio: float = _setting(
        0.5, "drop documents with a larger fraction of characters other than letters and digits"
    )
    disabled_rules: tuple[str, ...] = _setting((), "names of quality rules to switch off")
    language: str | None = _setting(None, "drop documents in other languages, e.g. en or de; needs pretune[language]")
    personal_data: Literal["keep", "replace"] = _setting(
        "keep", "replace: mask e-mail and IP addresses, card and phone numbers in the corpus, not in labelled rows"
    )
    decontaminate: Literal["drop", "report", "off"] = _setting(
        "drop", "what to do with documents that share text with held-out or protected rows"
    )
    near_duplicates: bool = _setting(True, "drop documents that nearly repeat an earlier one")
    near_duplicate_threshold: float = _setting(
        0.8, "Jaccard similarity of word n-grams at which a document counts as a near duplicate, 0.7 to 1"
    )
    dropped_listed: int = _setting(10_000, "dropped documents to list for each rule, in dropped-RULE.jsonl.zst")
    validation_fraction: float = _setting(
        0.02, "fraction of the documents held out for validation, chosen by a hash of the text"
    )
    engine: str = _setting("auto", _ENGINE)
    workers: int | None = _setting(None, _WORKERS)

    def __post_init__(self) -> None:
        check_kinds(self, endless="max_symbol_ratio")  # inf switches the rule off, as in earlier runs
        expect(self, lambda value: value >= 1, "at least 1", "vocab_size", "workers")
        parse_engine(self.engine)
        expect(self, lambda value: value >= 0, "at least 0", "dropped_listed", "max_symbol_ratio")
        expect(self, lambda value: 0.7 <= value <= 1, "a fraction from 0.7 to 1", "near_duplicate_threshold")
        expect(self, lambda value: 0 <= value < 1, "a fraction from 0 to below 1", "validation_fraction")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Stage 3: a transformer learns to predict missing words, the next token, or both."""

    objective: ObjectiveSetting = _setting(
        "auto",
        "masked: predict hidden words, to classify and fill in; causal: predict the next token, to generate; hybrid: "
        "both with the same weights; auto: masked, or that of the base",
    )
    causal_share: float | None = _setting(
        None, "hybrid: fraction of the rows that are causal, and their part of the loss (default: 0.25)"
    )
    size: Size = _setting(
        "auto",
        "model size, layers x width: tiny (2x128), micro (2x256), mini (4x256), small (8x384), medium (8x512), large "
        "(12x768); auto: by the budget and the device",
    )
    minutes: float | None = _setting(
        None, "budget in minutes, calibration and compiling included (default: 10, if no other budget is given)"
    )
    tokens: int | None = _setting(None, "budget in training tokens")
    epochs: float | None = _setting(None, "budget in passes over the corpus")
    seed: int = _setting(0, "seed of initial weights, order and masks")
    optimizer: Literal["muon", "adamw"] = _setting(
        "muon", "muon: Muon for matrices and AdamW for the rest; adamw: AdamW for all weights"
    )
    learning_rate: float | None = _setting(
        None, "peak learning rate of the matrices (default: depends on the optimizer)"
    )
    initial_embedding: Literal["vectors", "random"] = _setting(
        "vectors", "vectors: computed from the tokens that occur together in the corpus"
    )
    mask_prob: float = _setting(0.3, "fraction of the ordinary tokens to hide and predict")
    mask_weights: Literal["frequency", "uniform"] = _setting(
        "frequency",
        "frequency: hide frequent tokens less often, by the inverse root of their frequency; uniform: all alike",
    )
    neighbour_weight: float | None = _setting(
        None,
        "weight of a second loss, for better classifiers: predict the words around a row in its document from the mean "
        "of its vectors (default: 0.1 if a masked model is trained from random weights, else 0: off)",
    )
    row_tokens: int = _setting(64, "length of a training row in tokens")
    tokens_per_step: int = _setting(4096, "tokens per optimizer update")
    long_row_tokens: int = _setting(
        512, "row length in the last part of the budget, if documents are longer than --row-tokens"
    )
    long_fraction: float = _setting(
        0.1, "fraction of the updates with long rows, at most --decay-fraction; 0 switches them off"
    )
    warmup_fraction: float = _setting(0.02, "fraction of the updates during which the learning rate rises")
    decay_fraction: float = _setting(0.4, "fraction of the updates during which the learning rate falls to zero")
    evaluations: int = _setting(15, "number of evaluations; each is a row of the training trace")
    checkpoint_minutes: float = _setting(
        5.0, "approximate minutes between checkpoints; converted to a number of updates"
    )
    compile: Literal["auto", "on", "off"] = _setting(
        "auto", "auto: compile on a GPU or a chip with bf16, if the budget is long enough"
    )
    precision: Literal["auto", "bf16", "fp32"] = _setting("auto", "auto: bf16 if the chip supports it")
    threads: int | None = _setting(None, "CPU threads (default: all cores)")
    hang_seconds: float = _setting(
        60.0, "with torchrun: seconds without progress after which a process is reported as hung"
    )

    def __post_init__(self) -> None:
        check_kinds(self)
        if sum(budget is not None for budget in (self.minutes, self.tokens, self.epochs)) > 1:
            raise UsageError("More than one of --minutes, --tokens and --epochs is given; give one budget.")
        expect(self, is_positive, "a number above zero", "minutes", "tokens", "epochs", "learning_rate", "hang_seconds")
        expect(self, lambda value: value >= 8, "at least 8", "row_tokens", "long_row_tokens")
        expect(self, lambda value: value >= 0, "at least 0", "checkpoint_minutes")
        expect(self, lambda value: value >= 1, "at least 1", "tokens_per_step", "evaluations", "threads")
        expect(self, lambda value: 0 < value < 1, "a fraction between 0 and 1", "mask_prob", "causal_share")
        if self.causal_share is not None and self.objective in ("masked", "causal"):
            raise UsageError(
                f"--causal-share is given, but the objective is {self.objective}, which has rows of one kind only; "
                "leave it out, or give --objective hybrid."
            )
        expect(self, lambda value: 0 <= value <= 1, "0 to 1", "long_fraction", "warmup_fraction", "decay_fraction")
        if self.warmup_fraction + self.decay_fraction > 1 + 1e-9:  # the sum of two fractions is rounded
            raise UsageError(
                f"--warmup-fraction {self.warmup_fraction:g} and --decay-fraction {self.decay_fraction:g} overlap: the "
                "learning rate would have to rise and fall at once; give fractions whose sum is at most 1."
            )
        expect(self, lambda value: 0 <= value <= 1, "0 to 1", "neighbour_weight")
        if self.neighbour_weight and self.objective in ("causal", "hybrid"):
            raise UsageError(
                f"--neighbour-weight is given, but the objective is {self.objective}, which has rows that are read "
                "word by word; leave it out, or give --objective masked."
            )


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """The split, before stage 1: read and check labelled examples, and hold some of them out."""

    task: Literal["auto", "classification", "multilabel", "pairs", "regression", "tokens", "chat"] = _setting(
        "auto",
        "classification: a class for each text; multilabel: several labels; pairs: a class or score for two texts; "
        "regression: a score; tokens: entities; chat (prepare only): conversations; auto: any but chat, detected and "
        "shown",
    )
    text_column: str | None = _setting(
        None, "column that contains the text; for chat, the question or the messages (default: detected and shown)"
    )
    response_column: str | None = _setting(None, "for chat: column that contains the reply to the text")
    text_pair_column: str | None = _setting(None, "column that contains the second text of pairs")
    label_column: str | None = _setting(None, "column that contains the label (default: detected and shown)")
    label_separator: str | None = _setting(
        None, "sign between several labels in one cell, as in red|green (default: detected and shown)"
    )
    label_names: tuple[str, ...] = _setting((), "names for the labels in the file, e.g. 0=negative,1=positive")
    validation_fraction: float = _setting(
        0.1, "fraction of the rows held out for validation, chosen by a hash of the text"
    )
    test_fraction: float = _setting(0.1, "fraction of the rows held out for the test, unless a test file is given")

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.task != "chat" and self.response_column is not None:
            raise UsageError("--response-column is for conversations; give --task chat with it.")
        if self.task in ("multilabel", "tokens") and self.text_pair_column is not None:
            raise UsageError(
                f"--text-pair-column is given, but --task {self.task} reads a single text a row; leave it out, or give "
                "--task pairs."
            )
        of_labels = ("text_pair_column", "label_column", "label_separator", "label_names")
        given = [f"--{name.replace('_', '-')}" for name in of_labels if getattr(self, name)]
        if self.task == "chat" and given:
            raise UsageError(f"{', '.join(given)} has no effect with --task chat: conversations have no labels.")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Stage 4: encode labelled examples with the model's tokenizer."""

    max_seq_len: int | None = _setting(
        None,
        "maximum tokens that the model reads at once (default: up to 512; for conversations up to 1,024); for longer "
        "texts see --long-texts",
    )
    long_texts: Literal["auto", "windows", "cut"] = _setting(
        "auto",
        "windows: read a longer text in several windows, with the mean of their vectors; cut: read its beginning and "
        "end; auto: windows if more than a tenth of the texts are longer",
    )
    notice: str | None = _setting(
        None,
        "for chat: a sentence to show with the model's replies; blank: none (default: for English medical "
        "conversations, that replies are no medical advice; for others, the base's sentence)",
    )

    def __post_init__(self) -> None:
        check_kinds(self)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Stage 5: further training on the task."""

    epochs: int | None = _setting(
        None,
        "maximum number of epochs; with labels, three times as many from scratch (default: 2 to 5, by the amount of "
        "text; 3 for conversations)",
    )
    updates: int | None = _setting(
        None,
        "number of updates instead of epochs; with labels, three times as many from scratch (default: by the epochs; "
        "with labels at least 40, and at least 4 times the square root of the number of rows)",
    )
    method: Literal["auto", "head", "cloze"] = _setting(
        "auto", "head: a linear layer on the mean vector; cloze: label words at a [MASK]; auto: by the number of rows"
    )
    pattern: str | None = _setting(
        None, 'cloze: the text with a [MASK], as in "{text} It was [MASK]." (default: suggested and shown)'
    )
    label_words: tuple[str, ...] = _setting(
        (), "cloze: words for the labels, e.g. positive=great/good,negative=bad (default: chosen and shown)"
    )
    patience: int = _setting(2, "epochs without a better score before training stops (needs 200 validation rows)")
    batch_size: int = _setting(
        32, "texts, or conversations in whole rows, per update; a large model without a GPU takes 8 conversations"
    )
    learning_rates: tuple[float, ...] | None = _setting(
        None,
        "peak learning rates to try on some of the rows; the best on validation is used (default: 5e-4,1.5e-3; for a "
        "public encoder: 3e-4,1e-4; for any base with more than 512 hidden units: 3e-5,1e-4)",
    )
    search_rows: int = _setting(
        3000,
        "training rows used to try the learning rates, for two epochs and at least 40 updates (from scratch, three "
        "times as many)",
    )
    seeds: int | None = _setting(
        None,
        "number of runs with different seeds; the mean of their weights is kept, unless one is better on validation; "
        "from scratch, the best one "
        "(default: 3; 1 above two million training tokens)",
    )
    seed: int = _setting(0, "first seed")
    weight_decay: float = _setting(0.05, "weight decay of the matrices")
    mask_augment: float = _setting(0.1, "fraction of the tokens of a training text to hide, as regularisation")
    class_weights: Literal["auto", "none", "balanced"] = _setting(
        "auto",
        "balanced: weight rows by the rarity of their class, or words by that of their tag; auto: weight rows if the "
        "ratio of classes is 4:1 or more",
    )
    stack: bool = _setting(
        True,
        "also use linear models, saved in a small file beside the network, if that is better on validation",
    )
    self_train: bool = _setting(
        False,
        "classes of single texts: let the model label sentences of the corpus, train one more network on them and on "
        "the labelled rows, and deliver it unless it is worse on validation",
    )
    self_train_sentences: int = _setting(60_000, "how many sentences of the corpus to label, at most")
    from_scratch: bool = _setting(
        False, "start from random weights: the control that shows whether pre-training helped"
    )
    precision: Literal["auto", "bf16", "fp32"] = _setting("auto", "auto: bf16 if the chip supports it")
    threads: int | None = _setting(None, "CPU threads (default: all cores)")

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.learning_rates is not None and not self.learning_rates:
            raise UsageError("--learning-rates is empty; expected at least one rate, as in 5e-4,1e-3.")
        expect(self, is_positive, "numbers above zero", "learning_rates")
        counts = ("epochs", "updates", "patience", "batch_size", "search_rows", "seeds", "threads")
        expect(self, lambda value: value >= 1, "at least 1", *counts)
        expect(self, lambda value: value >= LEAST_SENTENCES, f"at least {LEAST_SENTENCES}", "self_train_sentences")
        expect(self, lambda value: value >= 0, "at least 0", "weight_decay")
        expect(self, lambda value: 0 <= value < 1, "a fraction from 0 to below 1", "mask_augment")
        if self.epochs is not None and self.updates is not None:
            raise UsageError("Both --epochs and --updates are given; give one of them.")
        if self.from_scratch and self.self_train:
            raise UsageError("--from-scratch is a control without other text; leave --self-train out.")
        if self.method == "head" and (self.pattern is not None or self.label_words):
            raise UsageError("--method head is given with --pattern or --label-words, which are for cloze; omit them.")


@dataclass(frozen=True, kw_only=True)
class ChatTuningConfig:
    """Stage 5 for conversations: a language model learns to reply."""

    epochs: int | None = _setting(None, "passes over the conversations (default: 3)")
    minutes: float | None = _setting(None, "budget in minutes instead of epochs, calibration included")
    tokens: int | None = _setting(None, "budget in training tokens instead of epochs")
    updates: int | None = _setting(None, "number of updates instead of epochs")
    batch_size: int | None = _setting(
        None, "conversations, in whole rows, per optimizer update (default: 32; 8 for a large model without a GPU)"
    )
    learning_rate: float | None = _setting(
        None, "peak learning rate (default: by the width of the model, and higher with LoRA; shown)"
    )
    adapter: Literal["none", "lora"] = _setting(
        "none", "none: train all weights; lora: leave them as they are and train a small correction of each matrix"
    )
    rank: int | None = _setting(None, "with --adapter lora: rank of the corrections (default: 16)")
    lora_alpha: float | None = _setting(
        None,
        "with --adapter lora: strength of the corrections, which are multiplied by it over the rank (default: "
        "twice the rank)",
    )
    lora_targets: tuple[str, ...] = _setting(
        (), "with --adapter lora: matrices to correct, e.g. q_proj,v_proj (default: all of every layer)"
    )
    freeze: int = _setting(0, "leave the embedding and this number of the lowest layers as they are")
    evaluations: int = _setting(8, "number of evaluations; each is a row of the training trace")
    checkpoint_minutes: float = _setting(
        5.0, "approximate minutes between checkpoints; converted to a number of updates"
    )
    seed: int = _setting(0, "seed of the order, of random weights and of LoRA's first values")
    from_scratch: bool = _setting(False, "start from random weights: the control that shows whether the base helped")
    precision: Literal["auto", "bf16", "fp32"] = _setting("auto", "auto: bf16 if the chip supports it")
    threads: int | None = _setting(None, "CPU threads (default: all cores)")
    hang_seconds: float = _setting(
        60.0, "with torchrun: seconds without progress after which a process is reported as hung"
    )

    def __post_init__(self) -> None:
        check_kinds(self)
        if sum(budget is not None for budget in (self.minutes, self.tokens, self.updates, self.epochs)) > 1:
            raise UsageError("More than one of --epochs, --minutes, --tokens and --updates is given; give one budget.")
        expect(self, is_positive, "a number above zero", "minutes", "learning_rate", "lora_alpha", "hang_seconds")
        expect(
            self,
            lambda value: value >= 1,
            "at least 1",
            "epochs",
            "tokens",
            "updates",
            "batch_size",
            "rank",
            "evaluations",
            "threads",
        )
        expect(self, lambda value: value >= 0, "at least 0", "freeze", "checkpoint_minutes")
        if self.adapter == "lora" and (self.freeze or self.from_scratch):
            other = "--freeze" if self.freeze else "--from-scratch"
            raise UsageError(
                f"--adapter lora leaves all weights as they are, so it does not go with {other}; give one of them."
            )
        if self.adapter == "none" and (self.lora_targets or self.rank is not None or self.lora_alpha is not None):
            raise UsageError("--rank, --lora-alpha and --lora-targets are for --adapter lora; add it, or omit them.")
        if self.freeze and self.from_scratch:
            raise UsageError("--freeze would keep random weights with --from-scratch; give one of them.")


@dataclass(frozen=True, kw_only=True)
class StrategiesConfig:
    """`compare --strategies`: four ways to a chatbot, each with the same budget."""

    minutes: float | None = _setting(None, "budget of each strategy in minutes of training, calibration included")
    tokens: int | None = _setting(None, "budget of each strategy in training tokens, instead of minutes")
    domain_fraction: float = _setting(
        0.5, "fraction of the fourth strategy's budget that is spent on further pre-training"
    )
    adapter: Literal["none", "lora"] = _setting("none", "how the base is fine-tuned, as in `finetune`")
    seed: int = _setting(0, "first seed")
    seeds: int = _setting(1, "number of runs of each strategy with different seeds")
    conversations: int = _setting(300, "held-out conversations to measure the loss on, at most")
    questions: int = _setting(12, "held-out questions to answer, the same for all strategies")
    reply_tokens: int = _setting(100, "maximum tokens in a reply")
    threads: int | None = _setting(None, "CPU threads (default: all cores)")

    def __post_init__(self) -> None:
        check_kinds(self)
        if (self.minutes is None) == (self.tokens is None):
            raise UsageError("Give the budget of each strategy: either --minutes X or --tokens N.")
        expect(self, is_positive, "a number above zero", "minutes", "tokens")
        expect(self, lambda value: 0 < value < 1, "a fraction between 0 and 1", "domain_fraction")
        expect(self, lambda value: value >= 1, "at least 1", "seeds", "reply_tokens", "threads")
        expect(self, lambda value: value >= 2, "at least 2", "conversations")
        expect(self, lambda value: value >= 0, "at least 0", "questions")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a text is continued; the same seed gives the same text. Raises UsageError for a number that is out of range.

    In this order: the penalty (arXiv:1909.05858) is applied, the temperature divides the scores, `top_k` and `top_p`
    (arXiv:1904.09751) leave out the less probable tokens, and one of the others is drawn.
    """

    max_tokens: int = _setting(100, "maximum tokens in the continuation; in a chat, in each reply")
    temperature: float = _setting(
        0.8, "how far to stray from the most probable tokens; 0: always the most probable one"
    )
    top_k: int = _setting(50, "draw one of the N most probable tokens; 0: of all")
    top_p: float = _setting(
        1.0, "draw from the smallest set of most probable tokens whose probabilities reach this sum"
    )
    repetition_penalty: float = _setting(
        1.0, "make tokens that have already occurred less probable: 1 changes nothing, more is stronger"
    )
    seed: int = _setting(0, "another seed draws another text")

    def __post_init__(self) -> None:
        check_kinds(self)
        expect(self, lambda value: value >= 1, "at least 1", "max_tokens")
        expect(self, lambda value: 0 <= value < float("inf"), "a number from 0", "temperature")
        expect(self, lambda value: value >= 0, "at least 1, or 0 for all tokens", "top_k")
        expect(self, lambda value: 0 < value <= 1, "a probability above 0 and up to 1", "top_p")
        expect(self, is_positive, "a number above zero", "repetition_penalty")


# Settings that affect speed but not results; changing them does not invalidate a folder.
SPEED_ONLY = ("engine", "workers", "hang_seconds", "threads")
# Settings of a fine-tuning that act after all of its training, so that an unfinished folder may be resumed with others.
LATE = ("stack",)


def to_identity(config: Any) -> dict[str, Any]:
    """The settings that determine the result of a stage."""
    without_effect = () if getattr(config, "self_train", True) else ("self_train_sentences",)
    return {name: value for name, value in to_dict(config).items() if name not in (*SPEED_ONLY, *without_effect)}


def to_dict(config: Any) -> dict[str, Any]:
    """A config as JSON values, as in manifests and recipes."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
