"""What a fine-tuning says before it starts: of its base, its method, its weights, and what validation rows choose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pretune.model.folder import LoadedModel
from pretune.scoring.stacked_model import join_with_and
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.stacking import LEAST_ROWS, can_stack
from pretune.training.few_labels import LEAST_PICKING_ROWS
from pretune.training.trial_plan import PlannedTrial


def starting_notices(
    loaded: LoadedModel, data: PreparedRows, config: FinetuneConfig, trials: Sequence[PlannedTrial]
) -> Iterator[str]:
    """The sentences, in order."""
    if loaded.notice is not None:
        yield loaded.notice
    if not loaded.config.can_fill and not config.from_scratch:
        yield (
            "The base was trained to predict the next token from those before it. The new model reads every text in "
            "both directions, so it may need more rows than a masked base would; --objective hybrid trains a base for "
            "both."
        )
    if data.weighs_classes:
        yield (
            "The classes are imbalanced, so rows of rare classes have larger weights in training. The training loss is "
            "therefore on a different scale than the validation loss, and they are not shown on one axis."
        )
    if data.method.sentence is not None:
        yield data.method.sentence
    if not data.is_picking:
        num_rows = len(data.rows["validation"])
        yield describe_few_rows(
            num_rows,
            num_rates=sum(trial.is_search for trial in trials),
            may_average=sum(not trial.is_search for trial in trials) > 1 and not config.from_scratch,
            has_thresholds=data.task.link == "sigmoid",
            may_stack=can_stack(config) and num_rows >= LEAST_ROWS,
        )
    elif data.metric == "macro_f1":
        yield "Early stopping uses macro-F1 on validation, which gives every class the same weight."


def describe_few_rows(
    num_rows: int, *, num_rates: int, may_average: bool, has_thresholds: bool, may_stack: bool
) -> str:
    """Sentences for so few validation rows that neither the epoch nor the seed is chosen on them, and on what is: of
    several learning rates that the user gives, the best is taken."""
    few = f"There are {num_rows:,} validation rows, fewer than {LEAST_PICKING_ROWS}, so"
    if num_rates:
        sentence = (
            f"{few} neither the epoch nor the seed is chosen on them. The learning rate is: the best of the "
            f"{num_rates} given is used, which may be luck. Give a single rate to avoid this."
        )
    else:
        sentence = f"{few} neither the learning rate, nor the epoch, nor the seed is chosen on them."
    decided = ["whether the mean of the seeds' weights is delivered"] if may_average else []
    decided += ["the thresholds of the labels"] if has_thresholds else []
    decided += ["the weights of linear models that are combined with the network"] if may_stack else []
    return f"{sentence} They still decide on {join_with_and(decided)}." if decided else sentence
