"""Stages 1 and 2 on a million short samples, seconds and memory of the whole process tree, as JSON in results/.

python benchmarks/text_pipeline.py NAME [--text FILE.jsonl] [--documents N] [--bytes N] [--without-fast] [--peers ROWS]

Without --text the samples are the built-in world's. --bytes repeats them with variation until there is so much text, to
see whether memory stays flat: see `iter_varied`. Memory is that of the whole process tree, twice: `peak_bytes` is all
that is resident, pages of mapped files included, which the system takes back when it needs them; `peak_own_bytes` is
RssAnon, what the processes hold for themselves. --peers runs the usual stack (ftfy on every row, datatrove's Gopher
filters and MinHash signatures, the tokenizers library) on some rows and scales its seconds up to all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import write_result  # beside this file

POLL_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=0, help="of text; the samples are repeated with variation")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder when not given")
    parser.add_argument("--without-fast", action="store_true", help="as if gigatoken were not installed")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--peers", type=int, default=0)
    given = parser.parse_args()
    shown = {**vars(given), "text": given.text and given.text.name}
    result: dict[str, Any] = {"settings": {name: value for name, value in shown.items() if name != "folder"}}
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        text = folder / "text.jsonl"
        write_samples(given, text)
        result["stages"] = run_stages(given, folder, text)
        summary = json.loads((folder / "collect" / "manifest.json").read_text(encoding="utf-8"))["summary"]
        result["documents"], result["characters"] = summary["documents"], summary["characters"]
        if given.peers:
            result["peers"] = run_peers(text, given.peers, result["documents"])
    write_result(given.name, result)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def write_samples(given: argparse.Namespace, path: Path) -> None:
    """Write the documents as JSON lines."""
    texts = (json.dumps(text, ensure_ascii=False)[1:-1] for text in iter_samples(given))
    some = iter_varied(list(texts)) if given.bytes else texts
    written = 0
    with path.open("w", encoding="utf-8") as out:
        while (not given.bytes or written < given.bytes) and (block := list(itertools.islice(some, 10_000))):
            written += len("".join(block).encode())
            out.writelines(f'{{"text": "{text}"}}\n' for text in block)


def iter_varied(samples: list[str]) -> Iterator[str]:
    """The samples, then again and again the first half of one before the second half of another, without end.

    As in the samples, every twelfth repeats an earlier text, and every twentieth does with one word changed; every
    twentieth ends with a number of its own, so that there are ever more different words.
    """
    yield from samples
    words = [text.split(" ") for text in samples]
    firsts = [" ".join(some[: (len(some) + 1) // 2]) for some in words]
    seconds = [" ".join(some[len(some) // 2 :]) for some in words]
    count, made = len(samples), ""
    for number in itertools.count():
        copy, row = divmod(number, count)
        if number % 12 == 11:
            yield made
        elif number % 20 == 10:
            yield made.replace(" ", " changed ", 1)
        else:
            made = f"{firsts[row]} {seconds[(row + 7919 * (copy + 1)) % count]}"
            yield f"{made} {number}" if number % 20 == 19 else made


def iter_samples(given: argparse.Namespace) -> Iterator[str]:
    if given.text is None:
        from pretune.builtin_world import world

        yield from world.iter_documents(given.documents, seed=0)
        return
    with given.text.open(encoding="utf-8") as file:
        for line in itertools.islice(file, given.documents):
            yield json.loads(line)["text"]


def run_stages(given: argparse.Namespace, folder: Path, text: Path) -> dict[str, Any]:
    """Both stages by the command line, each in a process of its own."""
    hide = "import importlib.util as u; find = u.find_spec\n"
    hide += "u.find_spec = lambda name, *rest: None if name == 'gigatoken' else find(name, *rest)\n"
    if given.without_fast:  # in every process, spawned ones as well
        (folder / "hidden").mkdir()
        (folder / "hidden" / "sitecustomize.py").write_text(hide)
    paths = [str(folder / "hidden")] if given.without_fast else []
    paths += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    out: dict[str, Any] = {}
    for stage, words in (
        ("collect", [str(text)]),
        ("preprocess", [str(folder / "collect"), "--engine", given.engine]),
    ):
        command = [sys.executable, "-m", "pretune", stage, *words, "--out", str(folder / stage), "--quiet"]
        out[stage] = watch(command, environment)
    events = [json.loads(line) for line in (folder / "preprocess" / "events.jsonl").open(encoding="utf-8")]
    kept = {"flow", "funnel", "tokenizer_report"}
    for event in events:
        if event["event"] in kept:
            out[event["event"]] = without_texts(event)
    out["seconds"] = round(out["collect"]["seconds"] + out["preprocess"]["seconds"], 1)
    for peak in ("peak_bytes", "peak_own_bytes"):
        out[peak] = max(out["collect"][peak], out["preprocess"][peak])
    return out


def without_texts(event: dict[str, Any]) -> dict[str, Any]:
    event = {name: value for name, value in event.items() if name not in ("time", "examples", "longest_tokens")}
    for rule in event.get("dropped", []):
        rule.pop("examples", None)
    return event


def watch(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command: its seconds, by the clock and of all cores, and the largest sum of the memory of it and its
    children, in all and of their own."""
    start, used, peak, own = time.monotonic(), children_seconds(), 0, 0
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        sizes = [memory_of(each) for each in tree(process.pid)]
        peak, own = max(peak, sum(size[0] for size in sizes)), max(own, sum(size[1] for size in sizes))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    seconds, used = round(time.monotonic() - start, 1), round(children_seconds() - used, 1)
    return {"seconds": seconds, "cpu_seconds": used, "peak_bytes": peak, "peak_own_bytes": own}


def children_seconds() -> float:
    """CPU of processes that have ended and that these have waited for."""
    times = os.times()
    return times.children_user + times.children_system


def tree(root: int) -> list[int]:
    """A process and all below it (Linux)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it has ended meanwhile
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def memory_of(process: int) -> tuple[int, int]:
    """Bytes that are resident, and those of them that are no pages of files (VmRSS and RssAnon)."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    parts = (line.partition(":") for line in lines)
    found = {name: int(rest.split()[0]) << 10 for name, _, rest in parts if name in ("VmRSS", "RssAnon")}
    return found.get("VmRSS", 0), found.get("RssAnon", 0)


def run_peers(text: Path, rows: int, documents: int) -> dict[str, Any]:
    """Seconds of one core for each part of the usual stack on `rows` documents, and scaled up to all of them."""
    with text.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in itertools.islice(file, rows)]
    measured = {name: cpu_seconds(work, texts) for name, work in PEERS.items()}
    scaled = {name: round(seconds * documents / len(texts), 1) for name, seconds in measured.items()}
    return {
        "rows": len(texts),
        "cpu_seconds": {name: round(seconds, 2) for name, seconds in measured.items()},
        "scaled_cpu_seconds": scaled,
        "scaled_seconds_on_two_cores": round(sum(scaled.values()) / 2, 1),
        "sentence": f"Measured on {len(texts):,} rows, scaled to {documents:,}, halved as if on two cores.",
    }


def cpu_seconds(work: Callable[[list[str]], None], texts: list[str]) -> float:
    work(texts[:50])  # models and rules are loaded here
    start = time.process_time()
    work(texts)
    return time.process_time() - start


def peer_ftfy(texts: list[str]) -> None:
    import ftfy

    for text in texts:
        ftfy.fix_text(text)


def peer_gopher(texts: list[str]) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    for rules in (GopherQualityFilter(min_doc_words=3), GopherRepetitionFilter()):
        for text in texts:
            rules.filter(Document(text=text, id="0"))


def peer_minhash(texts: list[str]) -> None:
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import HashConfig, MinhashConfig

    config = MinhashConfig(hash_config=HashConfig(precision=64, hash_fc="sha1"))  # as FineWeb has it
    signing = MinhashDedupSignature(output_folder=tempfile.mkdtemp(), config=config)
    for text in texts:
        shingles = signing.get_shingles(text)
        if shingles.size:
            signing.get_signature(shingles)


def peer_tokenizers(texts: list[str]) -> None:
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=8192, show_progress=False)
    for start in range(0, len(texts), 1000):
        tokenizer.encode_batch(texts[start : start + 1000])


PEERS: dict[str, Callable[[list[str]], None]] = {
    "ftfy on every row": peer_ftfy,
    "datatrove Gopher quality and repetition": peer_gopher,
    "datatrove MinHash signatures": peer_minhash,
    "tokenizers: train and encode": peer_tokenizers,
}

if __name__ == "__main__":
    main()
