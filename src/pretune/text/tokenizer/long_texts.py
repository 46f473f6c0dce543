"""How the rows of a labelled file that are longer than the model reads are read, and that in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pretune.text.tokenizer.windows import MOST_WINDOWS, WindowRule

LONG_FRACTION = 0.1  # of the rows; if more of them are too long, they are read in windows


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How rows of more than `max_seq_len` tokens are read; `lengths` are those of all rows, uncut."""

    rule: WindowRule | None  # None: their middle is cut out
    max_seq_len: int
    lengths: Sequence[int]
    num_read: int  # tokens of all rows

    @property
    def is_cut(self) -> bool:
        return self.rule is None

    @property
    def num_long(self) -> int:
        """The number of rows that are too long."""
        return sum(length > self.max_seq_len for length in self.lengths)

    def describe(self) -> str:
        """What is read of the long rows, in words."""
        fraction, limit = self.num_long / len(self.lengths), self.max_seq_len
        percent = f"{fraction:.1%}" if fraction >= 0.001 else "< 0.1%"
        are = f"1 row ({percent}) is" if self.num_long == 1 else f"{self.num_long:,} rows ({percent}) are"
        longer = f"{are} longer than {limit} tokens"
        read = f"In all, {self.num_read:,} of {sum(self.lengths):,} tokens are read."
        if self.rule is None:
            return f"{longer}; only their beginning and end are read. {read}"
        capped = sum(self.rule.would_exceed(length) for length in self.lengths)
        beyond = (
            f" {capped:,} of them have more than {MOST_WINDOWS} windows; {MOST_WINDOWS}, spread evenly over the text, "
            "are read."
        )
        return (
            f"{longer}. Each of them is read in several windows of at most {limit} tokens, and the mean of the vectors "
            f"over all its windows is classified.{beyond if capped else ''} {read} Training reads one window of a long "
            "row in each epoch, drawn at random. To read beginning and end only, give --long-texts cut."
        )
