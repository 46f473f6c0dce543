"""Which texts of one file recur in another, and whether stage 2 takes them out: by default those of IMDB's parts.

    python benchmarks/decontamination.py DATA/imdb/unsup.jsonl.zst DATA/imdb/train.jsonl.zst --name decontamination-imdb

The first file is the corpus, the second is protected (`preprocess --protect`). What recurs is worked out apart from the
search: texts that are equal but for case, punctuation, tags and white space.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pretune.runtime.events import read_events
from pretune.settings import PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.text.document_store import iter_corpus
from pretune.version import VERSION

RESULTS = Path(__file__).parent / "results"
_TAG, _NO_WORD = re.compile(r"<[^>]{0,40}>"), re.compile(r"\W+")


def main() -> None:
    """Collect, preprocess beside the protected file, count, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("protected", type=Path)
    parser.add_argument("--name", default="decontamination")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        corpus = collect([arguments.corpus], work / "corpus")
        collect([arguments.protected], work / "protected")
        protected = {plain(document["text"]) for document in iter_corpus(work / "protected")}
        texts = [plain(document["text"]) for document in iter_corpus(work / "corpus")]
        config = PreprocessConfig(near_duplicates=False)  # so that every drop but the exact ones is for this reason
        preprocess(work / "corpus", work / "out", config, protect=[arguments.protected])
        kept = [plain(document["text"]) for document in iter_corpus(work / "out")]
        (flow,) = [event for event in read_events(work / "out") if event["event"] == "flow"]
    result: dict[str, Any] = {
        "name": arguments.name,
        "version": VERSION,
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "corpus": arguments.corpus.name,
        "protected": arguments.protected.name,
        "documents": corpus.summary["documents"],
        "protected_texts": len(protected),
        "recurring_documents": sum(text in protected for text in texts),
        "recurring_documents_kept": sum(text in protected for text in kept),
        "dropped": {entry["rule"]: entry["count"] for entry in flow["dropped"]},
    }
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(result) + "\n")


def plain(text: str) -> str:
    """The words of a text, without regard to case, tags and punctuation."""
    return _NO_WORD.sub(" ", _TAG.sub(" ", text)).strip().casefold()


if __name__ == "__main__":
    main()
