"""The number of documents and characters that are left after each step of cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretune.text.reading_report import Rule
from pretune.text.steps.select import LENGTHS


@dataclass
class Funnel:
    """The input: documents, and their characters as found and after the repair."""

    documents: int = 0
    found_characters: int = 0
    repaired_characters: int = 0

    def add(self, documents: int, found_characters: int, repaired_characters: int) -> None:
        """Count a shard of the corpus."""
        self.documents += documents
        self.found_characters += found_characters
        self.repaired_characters += repaired_characters

    def then_dropped(self, rules: Sequence[Rule]) -> list[dict[str, Any]]:
        """The steps: found, repaired, and what is left after each rule, in the order given."""
        documents, characters = self.documents, self.repaired_characters
        steps = [("found", documents, self.found_characters), ("repaired", documents, characters)]
        for rule in rules:
            documents, characters = documents - rule.count, characters - rule.characters
            steps.append((rule.name, documents, characters))
        return [{"step": name, "documents": left, "characters": length} for name, left, length in steps]


def name_lengths(counts: Sequence[int]) -> list[dict[str, Any]]:
    """A histogram of lengths in words, with the bounds of each group; the last group has no upper bound."""
    lasts = [first - 1 for first in LENGTHS[1:]]
    groups = [f"{first}-{last}" for first, last in zip(LENGTHS, lasts, strict=False)] + [f"{LENGTHS[-1]}-"]
    return [{"words": group, "documents": count} for group, count in zip(groups, counts, strict=True)]
