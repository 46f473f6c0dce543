"""What `trace.json` contains, type by type: the one value that the terminal, the live page and the report read.

The JSON Schema (docs/guide/trace.schema.json) and the types of the page (web/src/trace.ts) are generated from it.
Losses are in nats, fractions and probabilities between 0 and 1, sizes in bytes, times in seconds. A value that is not a
finite number is None. Pointers are JSON pointers (RFC 6901) into the same document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

SCHEMA_VERSION = "trace/1.1"  # readers accept every document of the same major version

# Text of the user, or made of it: `--redact` replaces every value of this type, and no other type may hold such text.
# Numbers from which texts follow, such as the ids of tokens, are left out, too (see run_trace.redact).
UserText = Annotated[str, "text of the user"]
Pointer = Annotated[str, "JSON pointer into this document"]
Json = Any

Status = Literal["finished", "running", "missing"]
Level = Literal["easy", "medium", "hard"]
TaskName = Literal["classification", "multilabel", "regression", "tokens"]
# A task has one main metric, and `score` is its value: accuracy, micro_f1, pearson (-1 to 1), entity_f1.
Metric = Annotated[str, "accuracy, micro_f1, pearson or entity_f1: what `score` is"]


# ---- the run


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What pre-training ran on, as its log says; None where no model has been trained yet."""

    chip: str
    device: str
    threads: int | None
    precision: str | None
    is_compiled: bool | None
    processes: int | None


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """The run in one screen."""

    id: Annotated[str, "from the fingerprints of the stages"]
    name: Annotated[str, "of the run's folder, without its path"]
    started: Annotated[str, "ISO 8601, UTC"] | None
    status: Status
    seed: int | None
    is_synthetic: bool
    task: TaskName | None
    has_pairs: Annotated[bool, "whether each row has two texts"] = False
    headline: Annotated[str, "the verdict of the run in one sentence"]
    headline_figure: Annotated[str, "the part of the headline to set off, such as '+13.4 points'"] | None
    detail: Annotated[str, "the sentence below: interval, test rows, seeds"]
    command: Annotated[str, "repeats the run; empty for a folder without a recipe"]
    versions: dict[str, str]
    hardware: Hardware | None
    seconds: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """An invariant of the document, tested when it was written; in_browser: the page tests it again."""

    id: Annotated[str, "I01, I02, ..."]
    name: str
    sentence: Annotated[str, "what was measured, or what fails"]
    is_ok: bool
    value: float | None
    tolerance: float | None
    in_browser: bool
    pointers: list[Pointer]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A section that this run cannot show, why, and the command that would add it."""

    section: Annotated[str, "id of a section of the page: flow, training, help, prediction, errors, quiz, insight"]
    sentence: str
    command: str | None


# ---- data flow


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A named count or shape, such as documents 60,000."""

    name: str
    value: int | float | str | list[int]


@dataclass(frozen=True, kw_only=True)
class Dropped:
    rule: str
    count: int
    reason: str
    examples: list[UserText]


@dataclass(frozen=True, kw_only=True)
class Message:
    kind: Literal["detected", "notice", "warning"]
    sentence: UserText
    count: int | None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage as a step of the flow; `number` is None beside the line (split, scratch, compare)."""

    name: str
    number: int | None
    title: str
    status: Status
    reached: Annotated[str, "of an unfinished stage: how far it came, and what to do"] | None
    seconds: float | None
    peak_memory_bytes: int | None
    shape_in: list[Quantity]
    shape_out: list[Quantity]
    dropped: list[Dropped]
    messages: list[Message]


@dataclass(frozen=True, kw_only=True)
class WordGuess:
    word: UserText
    probability: float


@dataclass(frozen=True, kw_only=True)
class MaskedExample:
    masked_text: UserText
    true_word: UserText
    probability: float | None
    rank: int | None
    predictions: list[WordGuess]


@dataclass(frozen=True, kw_only=True)
class Example:
    """The one text that is carried from raw text to prediction; a field is None where its stage has not run."""

    text: UserText | None
    source: UserText | None
    clean_text: UserText | None
    tokens: list[UserText]
    ids: list[int]
    masked: MaskedExample | None
    label: UserText | None
    split: str | None
    num_tokens: int | None
    predicted: UserText | None
    probability: float | None


@dataclass(frozen=True, kw_only=True)
class FunnelStep:
    step: str
    documents: int
    characters: int | None


@dataclass(frozen=True, kw_only=True)
class LengthBin:
    words: Annotated[str, "a range, such as 5-9"]
    documents: int


@dataclass(frozen=True, kw_only=True)
class Funnel:
    steps: list[FunnelStep]
    lengths: list[LengthBin]
    languages: dict[str, int]
    languages_of: Annotated[int, "documents whose language was found; None for all"] | None
    personal_data: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class TokenView:
    name: str
    shape: list[int]
    padding_fraction: float


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    kind: str
    vocab_size: int
    tokens_per_word: float | None
    characters_per_token: float | None
    unknown_fraction: float | None
    round_trip_fraction: float | None
    longest_tokens: list[UserText]
    size_rule: str | None
    trainer: str | None
    encoders: list[str]
    views: list[TokenView]


# ---- training


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A line of a chart: the level that a simple guess reaches."""

    id: Annotated[str, "uniform, unigram, base, prior, most_frequent, majority"]
    name: Annotated[str, "such as ln V"]
    value: float
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    steps: int
    tokens_per_step: int | None
    warmup_steps: int | None
    decay_start_step: int | None
    long_start_step: int | None
    tokens: int | None


@dataclass(frozen=True, kw_only=True)
class StepSeries:
    """Figures of single updates, as parallel lists. Above a limit only the smallest and the largest loss of each
    stretch are kept: `kept` of `logged` points. Tokens per second are those since the point logged before."""

    kept: int
    logged: int
    step: list[int]
    epoch: list[float | None]
    loss: list[float | None]
    accuracy: list[float | None]
    learning_rate: list[float | None]
    grad_norm: list[float | None]
    tokens_per_second: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A rule's finding. Each number has an expression (see run_trace.expression) that computes it from this document;
    the pointers name what the finding was read from."""

    rule: str
    sentence: str
    numbers: dict[str, float]
    derivations: dict[str, Json]
    pointers: list[Pointer]


@dataclass(frozen=True, kw_only=True)
class NextTokens:
    """How well a causal or hybrid model predicts the next token of the validation text."""

    loss: Annotated[float, "nats for each predicted token"]
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    n: Annotated[int, "predicted tokens"] | None
    bits_per_byte: Annotated[float, "of the text that these tokens spell, in UTF-8"] | None
    loss_error: Annotated[float, "standard error of the loss over the validation rows"] | None
    loss_change_error: Annotated[float, "of its change since the evaluation before, paired row by row"] | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One row of the training trace."""

    step: int
    epoch: float
    tokens: int | None
    train_loss: float | None
    train_accuracy: float | None
    loss: float
    score: Annotated[float, "of the phase's metric"]
    score_low: float | None
    score_high: float | None
    score_noise: Annotated[float, "half of the 95 % interval"]
    accuracy: Annotated[float, "the score, if the metric is accuracy"] | None
    accuracy_low: float | None
    accuracy_high: float | None
    accuracy_noise: float | None
    n: int | None
    macro_f1: float | None
    loss_error: Annotated[float, "standard error of the loss over the validation rows"] | None
    loss_change_error: Annotated[float, "of its change since the evaluation before, paired row by row"] | None
    accuracy_change_error: Annotated[float, "the same of the accuracy"] | None
    weighted_loss: (
        Annotated[float, "weighted as in training: by class, or by objective; None where nothing is weighted"] | None
    )
    weighted_train_loss: float | None
    elapsed_seconds: float | None
    is_best: bool
    summary: Annotated[str, "the first observations, as the table shows them"]
    observations: list[Observation]
    next_tokens: Annotated[NextTokens, "of a causal or hybrid pre-training; of a causal one, it is the loss"] | None = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    trial: int
    learning_rate: float | None
    seed: int | None
    epochs: float | None
    rows: int | None
    is_search: bool
    best_epoch: float | None
    best_step: int | None
    validation_accuracy: float | None
    validation_score: Annotated[float, "of the phase's metric"] | None
    validation_loss: float | None
    stopped: str | None
    metric: Annotated[str, "by what the best epoch was chosen: the phase's metric, or macro_f1"] | None
    elapsed_seconds: float | None
    is_student: Annotated[bool, "learned from sentences of the corpus that the model labelled, too"] = False


@dataclass(frozen=True, kw_only=True)
class SliceResult:
    name: UserText
    n: int
    score: Annotated[float, "of the metric of the phase or of the comparison, as low and high are"]
    accuracy: float | None
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class TestResult:
    seed: int | None
    n: int
    score: Annotated[float, "of the phase's metric, as low and high are"]
    accuracy: float | None
    low: float
    high: float
    macro_f1: float | None
    loss: float | None
    slices: list[SliceResult]
    figures: Annotated[dict[str, float], "the other figures of the task, by name"] = field(default_factory=dict)
    is_student: Annotated[bool, "of the network that learned from the corpus, which has no seed here"] = False


@dataclass(frozen=True, kw_only=True)
class SkippedUpdate:
    step: int
    reason: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class HeldOutReplies:
    """How well a model that was tuned on conversations predicts the replies of held-out ones, before and after it."""

    measured_on: Literal["test", "validation"]
    loss: Annotated[float, "nats for each reply token"]
    loss_low: Annotated[float, "of the 95 % interval over conversations"] | None
    loss_high: float | None
    perplexity: float
    accuracy: Annotated[float, "of the reply tokens"]
    n: Annotated[int, "reply tokens"]
    conversations: int
    base_loss: Annotated[float, "before the first update"]
    base_perplexity: float
    base_accuracy: float
    change_low: Annotated[float, "of the 95 % interval of the change of the loss, paired by conversation"] | None
    change_high: float | None


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Pre-training, fine-tuning or the control from scratch. The evaluations are those of the trial that is shown."""

    stage: Literal["pretrain", "finetune", "scratch"]
    unit: Literal["masked tokens", "next tokens", "reply tokens", "texts", "rows"]
    objective: (
        Annotated[Literal["masked", "causal", "hybrid", "replies"], "of pre-training; of conversations, replies"] | None
    ) = None
    metric: Metric = "accuracy"
    parameters: int | None
    size: str | None
    tokens_per_second: float | None
    loss_references: list[Reference]
    accuracy_references: list[Reference]
    plan: Plan | None
    steps: StepSeries
    evaluations: list[Evaluation]
    trials: list[Trial]
    shown_trial: int | None
    averaged_trials: Annotated[list[int], "if the mean of their weights is delivered; its test has no seed"] = field(
        default_factory=list
    )
    is_self_trained: Annotated[bool, "whether a student is delivered, whose test has no seed"] = False
    wants_student: Annotated[bool, "whether a student was asked for, which may have been left out"] = False
    chosen: str | None
    skipped: list[SkippedUpdate]
    test: list[TestResult]
    replies: Annotated[HeldOutReplies, "of tuning on conversations, once it is finished"] | None = None


@dataclass(frozen=True, kw_only=True)
class Phases:
    pretrain: Phase | None
    finetune: Phase | None
    scratch: Phase | None


@dataclass(frozen=True, kw_only=True)
class WatchedMoment:
    step: int
    probability: float | None
    rank: int | None
    predictions: list[WordGuess]


@dataclass(frozen=True, kw_only=True)
class WatchedSentence:
    """A held-out sentence with a masked word, predicted at every evaluation of pre-training."""

    masked_text: UserText
    true_word: UserText
    is_in_training: bool
    moments: list[WatchedMoment]


@dataclass(frozen=True, kw_only=True)
class ContinuedMoment:
    step: int
    text: Annotated[UserText, "what follows the prompt, always the most probable next token"]


@dataclass(frozen=True, kw_only=True)
class ContinuedPrompt:
    """The beginning of a sentence, continued at every evaluation of a causal or hybrid pre-training."""

    prompt: UserText
    moments: list[ContinuedMoment]


# ---- did pre-training help


# The kinds of a delivered model that is not one seed: the network with linear models, a student of the corpus, or the
# mean of the weights. The first that is there is delivered.
DELIVERED = ("stack", "student", "averaged")


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    name: str
    kind: Annotated[str, "scratch, pretrained, or a baseline: majority, tfidf, ..."]
    n: int
    score: Annotated[float, "of the comparison's metric, mean over the seeds; low and high are its interval"]
    accuracy: float | None
    low: float
    high: float
    macro_f1: float | None
    brier_score: float | None
    calibration_error: float | None
    seeds: list[float]
    slices: list[SliceResult]
    figures: Annotated[dict[str, float], "the other figures of the task, by name"] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A paired comparison of two models on the same test rows; the difference is a fraction (0.134 is 13.4 points), or
    for reply_loss the nats per token by which the first one's loss is lower."""

    between: list[str]
    metric: Annotated[str, "what is compared: accuracy, macro_f1, micro_f1, pearson, entity_f1 or reply_loss"]
    slice: UserText | None
    outcome: Literal["better", "worse", "no clear difference"]
    difference: float
    low: float
    high: float
    p_value: float | None
    sentence: UserText


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Test rows by who is right, the pre-trained model (its first seed) or the other."""

    other: str
    slice: UserText | None
    both_right: int
    only_pretrained_right: int
    only_other_right: int
    both_wrong: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    metric: Metric = "accuracy"
    models: list[ComparedModel]
    verdicts: list[Verdict]
    coverage: Annotated[str, "what the intervals cover"]
    disagreements: list[Disagreement]


# ---- four ways to a chatbot


@dataclass(frozen=True, kw_only=True)
class HeldOutConversations:
    """Conversations that no strategy was trained on; the first ones are like those of the training."""

    name: UserText
    conversations: int
    tokens: Annotated[int, "of the replies, without the marks that end them"]


@dataclass(frozen=True, kw_only=True)
class ReplyLoss:
    """The loss of the held-out replies in nats per token; the interval covers conversations and seeds."""

    loss: float
    low: float
    high: float
    perplexity: float
    seeds: list[float]


@dataclass(frozen=True, kw_only=True)
class ReplyStyle:
    """How some replies are written, and how much of them is copied from the training replies; fractions are 0 to 1."""

    n: int
    mean_words: float
    empty_fraction: float
    distinct_1: float
    distinct_2: float
    distinct_3: float
    repeated_fraction: Annotated[float, "4-grams that repeat an earlier one of the same reply"]
    copied_fraction: Annotated[float, "replies that share 13 words or more in a row with a training reply, or are one"]
    longest_shared_words: int


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to a chatbot: as it is, from scratch, fine-tuned, or pre-trained further and then fine-tuned."""

    kind: Annotated[str, "as_is, scratch, finetuned or further"]
    name: str
    training: Annotated[str, "a sentence: what it was trained on, and for how long"]
    minutes: Annotated[float, "of training, mean over its seeds"]
    losses: Annotated[list[ReplyLoss], "one for each of the held-out conversations"]
    style: ReplyStyle | None


@dataclass(frozen=True, kw_only=True)
class GivenReply:
    kind: Annotated[str, "of the strategy; reference: as it stands in the held-out conversation"]
    text: UserText


@dataclass(frozen=True, kw_only=True)
class AnsweredQuestion:
    question: UserText
    replies: list[GivenReply]


@dataclass(frozen=True, kw_only=True)
class Strategies:
    """The strategies on the same held-out conversations, the verdicts by pairs, and one conclusion by rule."""

    budget: str
    base: Annotated[UserText, "what the base is, and what its own pre-training has cost"]
    held_out: list[HeldOutConversations]
    strategies: list[Strategy]
    reference_style: Annotated[ReplyStyle, "of the replies in the held-out conversations"] | None
    verdicts: list[Verdict]
    conclusion: str
    reason: Annotated[str, "what was measured that may explain it"]
    coverage: Annotated[str, "what the intervals cover"]
    answers: list[AnsweredQuestion]
    notice: Annotated[str, "such as: no medical advice"] | None


# ---- one prediction in five layers


@dataclass(frozen=True, kw_only=True)
class Token:
    position: int
    id: Annotated[int, "None where texts are left out, as start, end and count are"] | None
    surface: UserText
    start: Annotated[int, "in code points"] | None
    end: int | None
    is_special: bool
    word: Annotated[int, "index of the word that the token is part of"] | None
    count: Annotated[int, "times in the training text"] | None
    in_pair: Annotated[bool, "of the second text of a pair"] = False


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest rows of the embedding table to a token, by cosine after standardising each dimension."""

    position: int
    words: Annotated[list[WordGuess], "each with its cosine as the probability"]


@dataclass(frozen=True, kw_only=True)
class PcaPoint:
    surface: UserText
    x: float
    y: float
    position: Annotated[int, "of the token in the text; None for one of the frequent tokens around it"] | None


@dataclass(frozen=True, kw_only=True)
class Pca:
    points: list[PcaPoint]
    variance: Annotated[list[float], "fraction of the variance that each of the two components has"]
    fitted_on: str


@dataclass(frozen=True, kw_only=True)
class Embedding:
    norms: list[float]
    neighbours: list[Neighbours]
    pca: Pca | None


@dataclass(frozen=True, kw_only=True)
class LayerProbe:
    """A linear probe on the pooled state after a layer, trained on training rows, beside its two controls
    (Hewitt and Liang, 2019): shuffled labels, and the same layer of a network with random weights."""

    probabilities: list[float]
    validation_accuracy: float
    shuffled_accuracy: float
    random_weights_accuracy: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What the head would say if the model ended after this layer (0 is the embedding)."""

    layer: int
    logits: list[float]
    probabilities: list[float]
    label: UserText
    probe: LayerProbe | None


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one component adds to each logit; all together sum to the logits."""

    name: Annotated[str, "embedding, attention_1, feed_forward_1, ..., bias"]
    logits: list[float]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Attention weights as bytes, 255 being 1: layers x heads x tokens x tokens in base64."""

    shape: list[int]
    weights: str
    special_fraction: Annotated[list[list[float]], "by layer and head: the weight that goes to special tokens"]
    row_sum_error: float


@dataclass(frozen=True, kw_only=True)
class Head:
    pooled: list[float]
    weight: list[list[float]]
    bias: list[float]
    logits: list[float]


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Hiding these words, and no smaller set that was tried, changes the label."""

    words: Annotated[list[int], "indexes into reasons.words"]
    label: UserText
    probability: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    probabilities: list[float]
    label: UserText
    index: int
    probability: float
    margin: Annotated[
        float,
        "lead over the second class, as a difference of probabilities; with several labels, the smallest distance of a "
        "probability from its threshold; of a number, 0",
    ]
    flip: Flip | None
    labels: Annotated[list[UserText], "with several labels: those that are predicted"] = field(default_factory=list)
    thresholds: Annotated[list[float], "with several labels: of each label"] = field(default_factory=list)
    score: Annotated[float, "of a regression: the predicted number; logit * deviation + mean"] | None = None
    mean: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reasons:
    """Two attributions of the score, which is the logit of the label minus that of the runner-up. Without a runner-up
    it is the logit of the label minus that of its threshold, or the number that a regression predicts.

    Integrated gradients (Sundararajan et al., 2017) from a text whose words are all masked; occlusion masks one word
    at a time. By word; a word's subwords are added up.
    """

    label: UserText
    runner_up: UserText | None
    score: float
    masked_score: Annotated[float, "of the text with every word masked"]
    words: list[UserText]
    integrated_gradients: list[float]
    steps: int
    completeness_error: Annotated[float, "sum of the attributions minus (score - masked_score)"]
    is_converged: bool
    occlusion: list[float]
    rank_correlation: Annotated[float, "Spearman's, between the two"] | None
    is_top_word_equal: bool
    deletion: Annotated[
        list[float], "score after masking the 0, 1, 2, ... words with the largest gradients; at most 24"
    ]
    random_deletion: Annotated[list[float], "the mean of the same over random orders"]
    random_orders: int


@dataclass(frozen=True, kw_only=True)
class NgramShare:
    """What a word, a pair of words, or the overlap of a pair of texts adds to each logit of a stack."""

    ngram: UserText
    logits: list[float]
    part: Annotated[str, "whose part of the sum it belongs to: NB-SVM, TF-IDF, words and overlap"] = "NB-SVM"


@dataclass(frozen=True, kw_only=True)
class StackedDecision:
    """The decision of the network combined with linear models; `parts` sum to the logits: of classes up to the same
    number for all, of several labels to their log-odds, of a number to the number itself, in the units of the file."""

    probabilities: list[float]
    label: UserText
    index: Annotated[int, "of the label; with several labels, of the one that is furthest above its threshold"]
    probability: float
    parts: list[Contribution]
    ngrams: Annotated[list[NgramShare], "those that add most to the lead of the label, or take most from it"]
    thresholds: Annotated[list[float], "with several labels: of each label"] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A stretch of a text, in code points, the end exclusive; both are 0 where texts are left out."""

    start: int
    end: int
    type: UserText


@dataclass(frozen=True, kw_only=True)
class WordLabel:
    """A word, and its label: O, or B- or I- and a type."""

    start: int
    end: int
    position: Annotated[int, "of its first token, which the model labels"]
    label: UserText


@dataclass(frozen=True, kw_only=True)
class PredictionTrace:
    """One text, or pair of texts, through tokenization, embedding, transformer layers, head and decision.

    The offsets of a token of the second text of a pair count from the start of that text.

    With several labels, probabilities are sigmoids. A model of numbers has one output and no probabilities. A model of
    entities labels each word; `word` is the one whose first token the read-outs, contributions and head belong to.
    """

    id: str
    why: Annotated[str, "typical, borderline, wrong, example or typed"]
    task: TaskName = "classification"
    text: UserText
    text_pair: UserText | None = None
    word: Annotated[WordLabel, "of a model of entities: the word that is shown"] | None = None
    entities: Annotated[list[Entity], "predicted"] = field(default_factory=list)
    read_position: (
        Annotated[int, "of the token that the head reads; None if it reads the mean over the text"] | None
    ) = None
    true_label: UserText | None
    row: Annotated[int, "of a test row: its number in its file, from 0"] | None
    slice: UserText | None
    label_names: list[UserText]
    tokens: list[Token]
    was_cut: bool
    embedding: Embedding
    readouts: list[Readout]
    contributions: list[Contribution]
    contributions_note: Annotated[str, "why there are no contributions"] | None = None
    attention: Attention | None
    head: Head
    decision: Decision
    reasons: Reasons | None
    contribution_error: float
    head_error: float
    prediction_error: float
    stack: Annotated[
        StackedDecision | None,
        "with linear models stacked on the network; all else but the entities is the network's",
    ] = None


@dataclass(frozen=True, kw_only=True)
class FillReadout:
    """The five likeliest words for the mask after a layer."""

    layer: int
    predictions: list[WordGuess]
    probability: float | None
    rank: int | None


@dataclass(frozen=True, kw_only=True)
class FillTrace:
    """A masked word through the layers of the pre-trained model."""

    id: str
    masked_text: UserText
    true_word: UserText | None
    tokens: list[Token]
    mask_position: int
    predictions: list[WordGuess]
    readouts: list[FillReadout]
    words: list[UserText]
    occlusion: Annotated[list[float], "fall of the log-probability of the first guess when the word is masked, too"]


# ---- errors and calibration


@dataclass(frozen=True, kw_only=True)
class TestRow:
    row: int
    text: UserText
    label: int
    predicted: int
    probability: float
    slice: UserText | None
    text_pair: UserText | None = None


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Rows whose probability lies in [low, high), in the last bin [low, high]: how many are right, and the band in
    which the fraction of right ones lies 95 times in 100 if the probabilities are right."""

    low: float
    high: float
    n: int
    right: int
    mean_probability: float
    chance_low: float
    chance_high: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    model: str
    bins: list[CalibrationBin]
    error: Annotated[float, "expected calibration error"]
    error_by_chance: Annotated[float, "95th percentile for a perfectly calibrated model with these rows"]
    brier_score: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class SliceError:
    slice: UserText
    n: int
    wrong: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """How well one label, or one type of entity, is found."""

    label: UserText
    support: Annotated[int, "rows or entities that have it"]
    predicted: int
    hits: int
    precision: float
    recall: float
    f1: float
    threshold: Annotated[float, "of its probability, chosen on validation"] | None = None


@dataclass(frozen=True, kw_only=True)
class LabelSetRow:
    row: int
    text: UserText
    text_pair: UserText | None
    label: list[int]
    predicted: list[int]
    slice: UserText | None


@dataclass(frozen=True, kw_only=True)
class LabelConfusion:
    """Rows that lack `missed`, which they have, and have `invented`, which they lack."""

    missed: int
    invented: int
    count: int


@dataclass(frozen=True, kw_only=True)
class LabelSetErrors:
    """Errors where a row has several labels, or none."""

    labels: list[LabelFigures]
    confusions: Annotated[list[LabelConfusion], "the most frequent first"]
    exact: Annotated[int, "rows with all labels right"]
    micro_f1: float
    examples: Annotated[list[LabelSetRow], "rows with the most wrong labels first"]


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    row: int
    text: UserText
    text_pair: UserText | None
    label: float
    predicted: float
    slice: UserText | None


@dataclass(frozen=True, kw_only=True)
class ScoreErrors:
    """Errors of predicted numbers, in the units of the file. `label` and `predicted` hold at most 2,000 rows."""

    pearson: float
    spearman: float
    mean_absolute_error: float
    baseline_error: Annotated[float, "mean absolute error of always predicting the mean of these rows"]
    quantiles: Annotated[list[float], "of predicted minus true: 5, 25, 50, 75 and 95 %"]
    label: list[float]
    predicted: list[float]
    examples: Annotated[list[ScoreRow], "the largest errors first"]


@dataclass(frozen=True, kw_only=True)
class EntityRow:
    row: int
    text: UserText
    label: list[Entity]
    predicted: list[Entity]
    slice: UserText | None


@dataclass(frozen=True, kw_only=True)
class EntityErrors:
    """Errors of entities: found with another type, with other borders, not at all, or where none is."""

    types: list[LabelFigures]
    entity_f1: float
    right: int
    wrong_type: int
    wrong_borders: int
    wrong_type_and_borders: int
    missed: int
    invented: int
    examples: Annotated[list[EntityRow], "rows with the most errors first"]


@dataclass(frozen=True, kw_only=True)
class TestErrors:
    """The test rows as the delivered network predicts them, without linear models that may be stacked on it; `seed` is
    null if it is the mean of the weights of several seeds. Of a task beyond one class for a text, one of the last three
    fields has them, and the confusion matrix is empty."""

    n: int
    seed: int | None
    labels: list[UserText]
    confusion: Annotated[list[list[int]], "rows: the label; columns: the prediction"]
    calibration: list[Calibration]
    slices: list[SliceError]
    positive_probability: Annotated[
        list[float],
        "two classes and at most 20,000 rows, else empty: probability of the second class, row by row, beside `label`",
    ]
    label: list[int]
    examples: Annotated[list[TestRow], "some rows of each cell of the confusion matrix, the surest mistakes first"]
    label_sets: LabelSetErrors | None = None
    scores: ScoreErrors | None = None
    entities: EntityErrors | None = None


# ---- quiz and insight


@dataclass(frozen=True, kw_only=True)
class Option:
    """A choice; or, of a question for a number, a wrong answer that is often given, with its `value`."""

    text: UserText
    value: float | None
    is_right: bool
    why: UserText
    misconception: str | None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question whose answer is computed from this document by `expression`, in prefix form; see run_trace.expression.

    A choice has options; a number has an answer with a tolerance, in percent if the unit is "%". Without an expression
    it is a question about concepts.
    """

    id: str
    template: str
    level: Level
    concept: str
    kind: Literal["choice", "number"]
    prompt: UserText
    options: list[Option]
    answer: float | None
    tolerance: float | None
    unit: str | None
    expression: Json
    pointers: list[Pointer]
    hints: list[UserText]
    solution: list[UserText]
    mistakes: Annotated[list[str], "common mistakes"]
    section: Annotated[str, "where on the page to look"]


@dataclass(frozen=True, kw_only=True)
class Quiz:
    quiz: list[Question]
    practice: list[Question]
    test: list[Question]
    command: Annotated[str, "asks the questions of the test in a terminal"] | None = None


@dataclass(frozen=True, kw_only=True)
class Insight:
    """A sentence on the whole run; its numbers have expressions, like those of an observation."""

    rule: str
    sentence: UserText
    numbers: dict[str, float]
    derivations: dict[str, Json]
    pointers: list[Pointer]


@dataclass(frozen=True, kw_only=True)
class NextStep:
    sentence: str
    command: str


# ---- the whole


@dataclass(frozen=True, kw_only=True)
class RunTrace:
    """One run, from raw text to the quiz."""

    schema: str = SCHEMA_VERSION
    run: RunCard
    is_redacted: bool = False
    excerpts: Annotated[int, "texts of the user in this document"] = 0
    checks: list[Check] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    stages: list[Stage]
    example: Example | None = None
    funnel: Funnel | None = None
    tokenizer: TokenizerReport | None = None
    phases: Phases
    watched: list[WatchedSentence] = field(default_factory=list)
    continued: list[ContinuedPrompt] = field(default_factory=list)
    comparison: Comparison | None = None
    strategies: Strategies | None = None
    predictions: list[PredictionTrace] = field(default_factory=list)
    fills: list[FillTrace] = field(default_factory=list)
    errors: TestErrors | None = None
    quiz: Quiz | None = None
    insights: list[Insight] = field(default_factory=list)
    next_step: NextStep | None = None
    fingerprint: Annotated[str, "of the fine-tuned model, or without labels of the pre-trained one"] | None = None
