"""Read the texts of files that are to be protected: pre-training must not see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pretune.errors import InputDataError
from pretune.text.collect.documents import Reading, iter_documents
from pretune.text.reading_report import Findings
from pretune.text.sources.files import find_files


def protected_texts(paths: Sequence[str | Path], findings: Findings) -> list[str]:
    """Every document of some files or folders, read as in stage 1, but from every text column of a table.

    Raises InputDataError if any of them cannot be read, even one in a folder; what else is not read, and so not
    protected, is in the findings.
    """
    if not paths:
        return []
    reading = Reading(every_text_column=True)
    texts = [document.text for document in iter_documents(find_files(paths, findings), findings, reading)]
    for rule in findings.unreadable.rules.values():  # unread text would not be protected
        raise InputDataError(rule.reason)
    return texts
