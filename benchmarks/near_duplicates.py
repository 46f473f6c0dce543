"""Recall and precision of the search for near duplicates on planted ones, by length, beside datatrove.

    python benchmarks/near_duplicates.py [--documents 4000] [--name near-duplicates] [--text-dedup PYTHON]

Texts are stretches of a real corpus (`--corpus`, jsonl with a key `text`) or, without one, of random words; a third of
them are planted: an earlier text with words replaced, taken out, put in or moved. What should be found is worked out by
comparing all pairs, with two measures: the Jaccard index of this project (n-grams by length), and, as a neutral one,
that of the plain sets of words. datatrove runs as in FineWeb (5-grams of words, 14 bands of 8), where it is installed;
text-dedup's minhash with its own settings and this threshold, where an interpreter that has it is named: it wants older
libraries, so an environment of its own (`pip install --no-deps text-dedup`, then what it misses).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretune.runtime.workers import open_engine
from pretune.text.arrays.word_hashes import fold_words
from pretune.text.dedup.minhash import SHINGLE_WORDS, sign_texts, write_signatures
from pretune.text.steps.clean_shard import SIGNATURES_NAME
from pretune.text.steps.exact_duplicates import load_duplicates
from pretune.text.steps.near_duplicates import find_near_duplicates
from pretune.version import VERSION

RESULTS = Path(__file__).parent / "results"
BUCKETS = ((5, 9), (10, 24), (25, 49), (50, 150))
THRESHOLD = 0.8


def main() -> None:
    """Make the texts of each bucket, search them in every way, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4000, help="of each length")
    parser.add_argument("--corpus", type=Path, help="jsonl with a key `text`; without it words are drawn at random")
    parser.add_argument("--name", default="near-duplicates")
    parser.add_argument("--text-dedup", metavar="PYTHON", help="an interpreter with text-dedup")
    arguments = parser.parse_args()
    words = corpus_words(arguments.corpus)
    searches: dict[str, Callable[[list[str]], set[int]]] = {"pretune": search, "datatrove": search_with_datatrove}
    if arguments.text_dedup:
        searches["text-dedup"] = lambda texts: search_with_text_dedup(texts, arguments.text_dedup)
    rows = []
    for bucket in BUCKETS:
        texts = plant(words, arguments.documents, *bucket)
        truth = {"by length": similar(texts, by_length), "sets of words": similar(texts, as_words)}
        for name, find in searches.items():
            start = cpu_seconds()
            try:
                found = find(texts)
            except ImportError:
                continue
            seconds = cpu_seconds() - start
            row = {"words": f"{bucket[0]}-{bucket[1]}", "search": name, "cpu_seconds": round(seconds, 3)}
            rows.append(row | {measure: compare(found, pairs) for measure, pairs in truth.items()})
            sys.stdout.write(json.dumps(rows[-1]) + "\n")
    result = {
        "name": arguments.name,
        "version": VERSION,
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "documents": arguments.documents,
        "corpus": arguments.corpus.name if arguments.corpus else "random words",
        "threshold": THRESHOLD,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{arguments.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def corpus_words(corpus: Path | None) -> list[str]:
    """A long stretch of words to take texts from."""
    if corpus is None:
        shuffled = random.Random(1)
        # Of letters: datatrove takes all numbers for the same.
        letters = [chr(ord("a") + i) for i in range(26)]
        known = ["".join(shuffled.choices(letters, k=shuffled.randint(3, 9))) for _ in range(20_000)]
        return [known[int(20_000 * shuffled.random() ** 2)] for _ in range(1_000_000)]
    words: list[str] = []
    with corpus.open(encoding="utf-8") as file:
        for line in file:
            words += fold_words(json.loads(line)["text"])
            if len(words) > 2_000_000:
                break
    return words


def plant(words: list[str], count: int, shortest: int, longest: int) -> list[str]:
    """Texts, a third of them an earlier one with up to a sixth of the words changed, all within the lengths."""
    chance = random.Random(shortest)
    texts: list[list[str]] = []
    while len(texts) < count:
        if len(texts) > 20 and chance.random() < 0.35:
            text = list(chance.choice(texts))
            for _ in range(chance.randint(1, max(1, len(text) // 6))):
                change(text, chance, words)
        else:
            start = chance.randrange(len(words) - longest)
            text = words[start : start + chance.randint(shortest, longest)]
        if shortest <= len(text) <= longest:
            texts.append(text)
    return [" ".join(text) for text in texts]


def change(text: list[str], chance: random.Random, words: list[str]) -> None:
    """Replace, take out, put in or move one word."""
    at = chance.randrange(len(text))
    kind = chance.choice(("replace", "replace", "take out", "put in", "move"))
    if kind == "replace":
        text[at] = chance.choice(words)
    elif kind == "put in":
        text.insert(at, chance.choice(words))
    elif len(text) > 1:
        word = text.pop(at)
        if kind == "move":
            text.insert(chance.randrange(len(text)), word)


def by_length(a: list[str], b: list[str]) -> float:
    """The Jaccard index of this project."""
    n = next(n for first, n in reversed(SHINGLE_WORDS) if min(len(a), len(b)) >= first)
    return jaccard(
        {tuple(a[i : i + n]) for i in range(len(a) - n + 1)}, {tuple(b[i : i + n]) for i in range(len(b) - n + 1)}
    )


def as_words(a: list[str], b: list[str]) -> float:
    """The Jaccard index of the sets of words."""
    return jaccard(set(a), set(b))


def jaccard(a: set[Any], b: set[Any]) -> float:
    """Shared by all."""
    return len(a & b) / len(a | b)


def similar(texts: list[str], measure: Callable[[list[str], list[str]], float]) -> list[list[int]]:
    """For every text the earlier ones that reach the threshold; pairs without a common word are passed over unseen."""
    listed = [text.split(" ") for text in texts]
    holders: dict[str, list[int]] = {}
    found: list[list[int]] = []
    for number, words in enumerate(listed):
        shared: dict[int, int] = {}
        for word in set(words):
            for other in holders.setdefault(word, []):
                shared[other] = shared.get(other, 0) + 1
        least = THRESHOLD * len(set(words)) * 0.6  # no measure is above this share of common words
        found.append([o for o, count in shared.items() if count >= least and measure(words, listed[o]) >= THRESHOLD])
        for word in set(words):
            holders[word].append(number)
    return found


def compare(dropped: set[int], earlier: list[list[int]]) -> dict[str, Any]:
    """Recall: of the texts that reach the threshold with an earlier one that stays, how many are dropped. Precision: of
    those dropped, how many reach it with an earlier one that stays.

    Without regard to order, since text-dedup does not keep the first: `pair_recall`, of the pairs that reach the
    threshold, how many do not both stay; `any_precision`, of the texts dropped, how many reach it with any other.
    """
    stays = [number not in dropped for number in range(len(earlier))]
    has_original = [any(stays[other] for other in others) for others in earlier]
    right = sum(has_original[number] for number in dropped)
    wanted = sum(has_original)
    pairs = [(number, other) for number, others in enumerate(earlier) for other in others]
    alike = {number for pair in pairs for number in pair}
    apart = sum(not (stays[a] and stays[b]) for a, b in pairs)
    return {
        "wanted": wanted,
        "dropped": len(dropped),
        "recall": round(right / max(1, wanted), 4),
        "precision": round(right / len(dropped), 4) if dropped else None,
        "pair_recall": round(apart / max(1, len(pairs)), 4),
        "any_precision": round(len(dropped & alike) / len(dropped), 4) if dropped else None,
    }


def search(texts: list[str]) -> set[int]:
    """This project."""
    signed = sign_texts(texts, THRESHOLD)
    with tempfile.TemporaryDirectory() as folder, open_engine("threads", 1) as engine:
        write_signatures(Path(folder, SIGNATURES_NAME), signed)
        cleaned = {"shards": [folder], "texts": [len(texts)], "entries": [len(signed.text)]}
        near = find_near_duplicates(engine, Path(folder), cleaned, [], THRESHOLD)
        return set(load_duplicates(map(Path, near), 0)["row"].tolist())


def search_with_datatrove(texts: list[str]) -> set[int]:
    """datatrove's four steps as in FineWeb's recipe; the texts it keeps are told apart by their number."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    config = MinhashConfig(
        hash_config=HashConfig(precision=64, hash_fc="sha1"), num_buckets=14, hashes_per_bucket=8, n_grams=5
    )
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        steps = (
            ([documents, MinhashDedupSignature(f"{folder}/s", config=config)], 1),
            ([MinhashDedupBuckets(f"{folder}/s", f"{folder}/b", config=config)], config.num_buckets),
            ([MinhashDedupCluster(f"{folder}/b", f"{folder}/r", config=config)], 1),
            ([documents, MinhashDedupFilter(f"{folder}/r"), JsonlWriter(f"{folder}/out", compression=None)], 1),
        )
        for pipeline, tasks in steps:
            LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs").run()
        lines = [line for file in sorted(Path(f"{folder}/out").glob("*.jsonl")) for line in file.open(encoding="utf-8")]
    return set(range(len(texts))) - {int(json.loads(line)["id"]) for line in lines}


def search_with_text_dedup(texts: list[str], python: str) -> set[int]:
    """text-dedup's script for minhash, with its settings (5-grams, 250 permutations) and this threshold."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [json.dumps({"text": text, "id": str(number)}) + "\n" for number, text in enumerate(texts)]
        Path(folder, "texts.jsonl").write_text("".join(lines), encoding="utf-8")
        words = ["--path", "json", "--data_files", f"{folder}/texts.jsonl", "--split", "train", "--column", "text"]
        words += ["--cache_dir", f"{folder}/cache", "--num_proc", "1", "--threshold", str(THRESHOLD)]
        command = [python, "-m", "text_dedup.minhash", *words, "--output", f"{folder}/out"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        show = "import sys; from datasets import load_from_disk; print(*load_from_disk(sys.argv[1])['id'])"
        kept = subprocess.run([python, "-c", show, f"{folder}/out"], check=True, capture_output=True, text=True)
    return set(range(len(texts))) - set(map(int, kept.stdout.split()))


if __name__ == "__main__":
    main()
