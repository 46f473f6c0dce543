import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import pretune.stages.preprocess.stage
import pretune.stages.preprocess.steps
from pretune.errors import FolderInTheWayError, InputDataError, StoppedError, UsageError
from pretune.runtime import workers
from pretune.runtime.events import read_events
from pretune.settings import CollectConfig, PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.stages.split import split
from pretune.text.document_store import iter_corpus
from pretune.text.splits import assign_splits, hash_unit, normalise_for_hash
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer

WORDS = "sun moon film hotel soup room book river stone garden window letter".split()


def sentence(number: int) -> str:
    parts = [WORDS[(number // len(WORDS) ** k) % len(WORDS)] for k in range(3)]
    return f"The {parts[0]} was near the {parts[1]}, and number {number} liked the {parts[2]}."


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder) if event["event"] == kind]


def collect_texts(folder: Path, texts: list[str], split: Path | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    collect([path], folder / "collect", split=split)
    return folder / "collect"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [sentence(i) for i in range(800)]
    texts[10:10] = ["*** !!! ***", "Dup<br />licate  text here.", "DUP licate text here.", "buy now " * 30]
    return collect_texts(tmp_path_factory.mktemp("c"), texts)


@pytest.fixture(scope="module")
def preprocessed(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("p") / "out"
    preprocess(collected, out)
    return out


def test_documents_in_are_documents_out_and_dropped(preprocessed: Path) -> None:
    (flow,) = events(preprocessed, "flow")
    shape_out = {entry["name"]: entry["value"] for entry in flow["shape_out"]}
    dropped = {drop["rule"]: drop for drop in flow["dropped"]}
    assert {rule: drop["count"] for rule, drop in dropped.items()} == {
        "max_symbol_ratio": 1,
        "exact_duplicate": 1,
        "repetition": 1,
    }
    assert dropped["max_symbol_ratio"]["examples"] == ["*** !!! ***"]
    documents = shape_out["train_documents"] + shape_out["validation_documents"]
    assert flow["shape_in"][0]["value"] == documents + sum(drop["count"] for drop in flow["dropped"])
    assert flow["repaired"] == {"markup": 1}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_shards_are_the_clean_text_token_by_token(preprocessed: Path, split: str) -> None:
    tokenizer = load_tokenizer(preprocessed)
    texts = [document["text"] for document in iter_corpus(preprocessed) if document["split"] == split]
    shard = TokenShard(preprocessed, split)
    assert [shard.doc(i).tolist() for i in range(len(shard))] == tokenizer.encode_batch(texts)


def test_the_split_is_by_hash(preprocessed: Path) -> None:
    documents = list(iter_corpus(preprocessed))
    units = {
        split: [hash_unit(d["text"]) for d in documents if d["split"] == split] for split in ("train", "validation")
    }
    assert max(units["train"]) < min(units["validation"])
    assert len(units["validation"]) >= 10


def test_summary_and_reports(preprocessed: Path) -> None:
    manifest = json.loads((preprocessed / "manifest.json").read_text(encoding="utf-8"))
    summary = manifest["summary"]
    tokenizer = load_tokenizer(preprocessed)
    assert summary["vocab_size"] == tokenizer.vocab_size
    assert summary["special_ids"] == tokenizer.special_ids
    assert summary["train_tokens"] == TokenShard(preprocessed, "train").num_tokens
    (report,) = events(preprocessed, "tokenizer_report")
    assert report["round_trip_share"] == 1.0
    assert report["unknown_share"] == 0.0
    assert 1.0 < report["fertility"] < 3.0
    texts = [document["text"] for document in iter_corpus(preprocessed)]
    num_tokens = summary["train_tokens"] + summary["validation_tokens"] - 2 * len(texts)  # without [BOS] and [EOS]
    assert report["characters_per_token"] == pytest.approx(sum(map(len, texts)) / num_tokens, abs=1e-4)
    (views,) = events(preprocessed, "views")
    for view in ("rows", "packed"):
        rows, row_tokens = views[view]["shape"]
        assert row_tokens == 50
        assert views[view]["padding_share"] == pytest.approx(1 - summary["train_tokens"] / (rows * 50), abs=1e-6)
    assert views["packed"]["shape"][0] < views["rows"]["shape"][0]
    assert summary["views"]["rows"] == views["rows"]
    (example,) = events(preprocessed, "example")
    assert normalise_for_hash(example["text_before"]) == normalise_for_hash(example["text"])
    assert tokenizer.encode(example["text"]) == example["ids"]
    assert len(example["tokens"]) == len(example["ids"])
    assert summary["example"] == {"text": example["text"]}
    assert any("all" in e["sentence"] and "bytes" in e["sentence"] for e in events(preprocessed, "notice"))


def test_a_second_call_skips_and_other_settings_are_refused(preprocessed: Path, collected: Path) -> None:
    before = (preprocessed / "events.jsonl").read_bytes()
    preprocess(collected, preprocessed)
    assert (preprocessed / "events.jsonl").read_bytes() == before
    with pytest.raises(FolderInTheWayError, match="min_words"):
        preprocess(collected, preprocessed, PreprocessConfig(min_words=2))


def test_the_same_input_gives_the_same_files(preprocessed: Path, collected: Path, tmp_path: Path) -> None:
    again = preprocess(collected, tmp_path / "again")
    assert again.outputs == json.loads((preprocessed / "manifest.json").read_text(encoding="utf-8"))["outputs"]


def test_words_and_lowercase(collected: Path, tmp_path: Path) -> None:
    manifest = preprocess(collected, tmp_path / "out", PreprocessConfig(tokenizer="words", lowercase=True))
    assert manifest.summary["special_ids"]["unk"] == 4
    (report,) = events(tmp_path / "out", "tokenizer_report")
    assert 0 < report["unknown_share"] < 0.2
    assert load_tokenizer(tmp_path / "out").kind == "words"


def test_wordpiece_and_the_guarantees_of_its_training(collected: Path, tmp_path: Path) -> None:
    manifest = preprocess(collected, tmp_path / "out", PreprocessConfig(tokenizer="wordpiece"))
    assert load_tokenizer(tmp_path / "out").kind == manifest.summary["tokenizer"]["kind"] == "wordpiece"
    assert "WordPiece trainer is not deterministic" in manifest.summary["tokenizer"]["determinism"]
    (report,) = events(tmp_path / "out", "tokenizer_report")
    assert report["round_trip_share"] == 1.0
    assert report["size_rule"] == manifest.summary["tokenizer"]["size_rule"]
    again = preprocess(collected, tmp_path / "again", PreprocessConfig(tokenizer="wordpiece"))
    assert again.outputs == manifest.outputs


@pytest.mark.parametrize("has_test_file", [False, True])
def test_held_out_rows_do_not_reach_the_text(tmp_path: Path, has_test_file: bool) -> None:
    rows = [(sentence(i), "ab"[i % 2]) for i in range(400)]
    labels, test_labels = tmp_path / "labels.csv", tmp_path / "test.csv"
    for path, part in ((labels, rows[:300]), (test_labels, rows[300:])):
        path.write_text("text;label\n" + "".join(f"{t};{label}\n" for t, label in part), encoding="utf-8")
    texts = [sentence(i).upper() for i in range(250, 700)]
    split(labels, tmp_path / "split", test_labels=test_labels if has_test_file else None)
    collected = collect_texts(tmp_path / "c", texts, tmp_path / "split")
    config = PreprocessConfig(decontaminate="off")  # the sentences are made of the same phrases
    preprocess(collected, tmp_path / "out", config, split=tmp_path / "split")
    kept = {normalise_for_hash(document["text"]) for document in iter_corpus(tmp_path / "out")}
    splits = assign_splits(
        [t for t, _ in rows[:300]], [label for _, label in rows[:300]], 0.1, 0 if has_test_file else 0.1
    )
    for (text, _), side in zip(rows, [*splits, *["test" if has_test_file else "train"] * 100], strict=True):
        assert (normalise_for_hash(text) in kept) == (side == "train")
    (flow,) = events(tmp_path / "out", "flow")
    assert any(drop["rule"] == "held_out" and drop["count"] > 5 for drop in flow["dropped"])


def test_labels_alone_leave_enough_for_validation(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    rows = "".join(f'"{sentence(i)}",{"ab"[i % 2]}\n' for i in range(600))
    labels.write_text("text,label\n" + rows, encoding="utf-8")
    split(labels, tmp_path / "split")
    collect([], tmp_path / "collect", split=tmp_path / "split")
    summary = preprocess(tmp_path / "collect", tmp_path / "out", split=tmp_path / "split").summary
    assert summary["validation_documents"] >= 20
    assert len(TokenShard(tmp_path / "out", "validation")) == summary["validation_documents"]
    assert not (tmp_path / "out" / "draft").exists()


def test_too_little_text_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    collected = collect_texts(tmp_path, ["A few words.", "!!! ??? !!!", "And some more."])
    with pytest.raises(
        InputDataError, match=r"words for training in 2 documents \(most were dropped because more than 50%"
    ):
        preprocess(collected, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_small_text_gives_a_warning(preprocessed: Path) -> None:
    assert any(event["rule"] == "small_corpus" for event in events(preprocessed, "warning"))


def test_a_vocabulary_beyond_the_text_is_refused(collected: Path, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"supports a vocabulary of [\d,]+ tokens, not the 30,000 asked for"):
        preprocess(collected, tmp_path / "out", PreprocessConfig(vocab_size=30_000))
    preprocess(collected, tmp_path / "out", PreprocessConfig(vocab_size=300))
    assert load_tokenizer(tmp_path / "out").vocab_size == 300


def test_unknown_rules_are_refused_before_anything_is_written(collected: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown quality rule 'nope'"):
        preprocess(collected, tmp_path / "out", PreprocessConfig(disabled_rules=("nope",)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labelled", "config", "is_lowercase"),
    [
        (str.lower, PreprocessConfig(), True),
        (str.lower, PreprocessConfig(lowercase=False), False),
        (str, PreprocessConfig(lowercase=True), True),
        (str, PreprocessConfig(), False),
    ],
)
def test_the_tokenizer_converts_to_lower_case_if_only_the_labelled_texts_are(
    labelled: Callable[[str], str], config: PreprocessConfig, is_lowercase: bool, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    rows = "".join(f'"{labelled(sentence(i))}",{"ab"[i % 2]}\n' for i in range(100))
    labels.write_text("text,label\n" + rows, encoding="utf-8")
    split(labels, tmp_path / "split")
    collected = collect_texts(tmp_path / "c", [sentence(i) for i in range(500, 700)], tmp_path / "split")
    preprocess(collected, tmp_path / "out", config, split=tmp_path / "split")
    assert load_tokenizer(tmp_path / "out").is_lowercase == is_lowercase
    told = [event for event in events(tmp_path / "out", "notice") if "--no-lowercase" in event["sentence"]]
    assert len(told) == (is_lowercase and config.lowercase is None)
    if config.lowercase is None:  # --no-lowercase was ignored on a finished folder
        with pytest.raises(FolderInTheWayError, match=r"lowercase \(was None, now False\)"):
            preprocess(collected, tmp_path / "out", PreprocessConfig(lowercase=False), split=tmp_path / "split")


def test_an_interrupted_stage_starts_over(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "pretune.stages.preprocess.stage._Preprocessing._report",
            lambda self, *given: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            preprocess(collected, tmp_path / "out")
    assert preprocess(collected, tmp_path / "out").status == "finished"
    assert len(events(tmp_path / "out", "stage_started")) == 1


@pytest.mark.slow
def test_the_built_in_world_shares_no_text_with_its_labels(tmp_path: Path) -> None:
    collect([], tmp_path / "collect", CollectConfig(builtin_documents=500))
    folder = tmp_path / "collect"
    split(folder / "labels-train.jsonl", tmp_path / "split", test_labels=folder / "labels-test.jsonl")
    manifest = preprocess(folder, tmp_path / "out", split=tmp_path / "split")
    assert manifest.summary["synthetic"] is True
    (flow,) = events(tmp_path / "out", "flow")
    assert all(drop["rule"] != "held_out" for drop in flow["dropped"])


@pytest.fixture(scope="module")
def many_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collected corpus of several shards, with duplicates across them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.text.document_store.CHARACTERS_PER_FILE", 6_000)
        texts = [sentence(i % 700) for i in range(900)] + ["ein größeres Wörtchen", "!!!"]
        return collect_texts(tmp_path_factory.mktemp("many"), texts)


@pytest.fixture(scope="module")
def in_one_thread(many_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    assert len(list(many_parts.glob("documents-*"))) > 5
    return preprocess(many_parts, tmp_path_factory.mktemp("one") / "out", PreprocessConfig(engine="threads")).outputs


@pytest.mark.filterwarnings("ignore")  # the libraries of the engines warn about themselves
@pytest.mark.parametrize(
    "engine",
    [
        "threads",
        "processes",
        pytest.param("dask", marks=pytest.mark.slow),
        pytest.param("ray", marks=pytest.mark.slow),
    ],
)
def test_every_engine_writes_the_same_bytes(
    many_parts: Path, in_one_thread: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    library = {"dask": "distributed", "ray": "ray"}.get(engine)
    if library:
        pytest.importorskip(library, reason=f"{library} is not installed: pip install 'pretune[{engine}]'")
    assert collect_pieces(tmp_path / "pieces", engine, 2) == collect_pieces(tmp_path / "again", "threads", 1)
    out = tmp_path / "out"
    assert preprocess(many_parts, out, PreprocessConfig(engine=engine, workers=2)).outputs == in_one_thread
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == [".lock"]
    # The engine is not part of the identity of a folder: for another engine, it is finished.
    preprocess(many_parts, out, PreprocessConfig(engine="threads", workers=1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_running_cluster_is_used_by_its_address(
    many_parts: Path, in_one_thread: dict[str, Any], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="install pretune[dask]")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, protocol="tcp://", dashboard_address=None, memory_limit=0, silence_logs=50
    ) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        assert preprocess(many_parts, tmp_path / "out", PreprocessConfig(engine=f"dask://{address}")).outputs == (
            in_one_thread
        )
        assert cluster.scheduler.workers  # the cluster is not ours and keeps running
    sentences = [event["sentence"] for event in events(tmp_path / "out", "notice")]
    assert f"Running on Dask at {address}." in sentences


@contextmanager
def ray_cluster(folder: Path) -> Iterator[str]:
    """The address of a cluster of two one-core nodes on this machine, started by `ray start`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    head = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with ExitStack() as started:
        for words in (head, [f"--address={address}"]):
            log = started.enter_context((folder / f"{words[0][2:6]}.log").open("w"))
            node = subprocess.Popen([*ray, *words], env=environment, stdout=log, stderr=log)
            started.callback(node.wait, 30)
            started.callback(node.terminate)
            deadline = time.monotonic() + 60
            while "started" not in Path(log.name).read_text() and time.monotonic() < deadline:
                assert node.poll() is None, Path(log.name).read_text()
                time.sleep(0.2)
        yield address


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_ray_is_used_by_its_address(
    many_parts: Path, in_one_thread: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="install pretune[ray]")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with tempfile.TemporaryDirectory(prefix="ray") as folder, ray_cluster(Path(folder)) as address:
        config = PreprocessConfig(engine=f"ray://{address}")
        assert preprocess(many_parts, tmp_path / "out", config).outputs == in_one_thread
    sentences = [event["sentence"] for event in events(tmp_path / "out", "notice")]
    assert f"Running on Ray at {address}." in sentences


def collect_pieces(folder: Path, engine: str, workers: int) -> dict[str, Any]:
    """The output of stage 1 for a folder with a large file and small ones."""
    texts = folder.parent / "texts"  # the same path for all, since it is written with every document
    texts.mkdir(exist_ok=True)
    rows = [{"text": sentence(number), "n": number} for number in range(400)]
    (texts / "large.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for number in range(6):
        (texts / f"{number}.txt").write_text(f"{sentence(number)}\nEin größeres Wörtchen.\n", encoding="utf-8")
    config = CollectConfig(engine=engine, workers=workers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.text.collect.work_units.BYTES_PER_UNIT", 4_000)
        outputs = collect([texts], folder, config).outputs
    assert len(outputs) > 8
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [".lock"]
    return outputs


@pytest.mark.slow
def test_workers_that_are_killed_change_nothing(
    many_parts: Path, in_one_thread: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two workers is killed in the middle of a map, and another one in the middle of another map."""
    to_kill = ["clean", "encode"]

    class Killing(workers._Processes):
        def map(self, function: Any, tasks: Any, on_done: Any = None) -> list[Any]:
            def kill_first(number: int, result: Any) -> None:
                step = Path(tasks[number][1]).name.split("-")[0]
                if step in to_kill:
                    to_kill.remove(step)
                    os.kill(next(iter(self._executor._processes)), signal.SIGKILL)  # type: ignore[union-attr]
                on_done(number, result)

            return super().map(function, tasks, on_done and kill_first)

    monkeypatch.setattr(workers, "_Processes", Killing)
    config = PreprocessConfig(engine="processes", workers=2)
    assert preprocess(many_parts, tmp_path / "out", config).outputs == in_one_thread
    assert not to_kill


@pytest.mark.parametrize(("step", "error"), [("write", KeyboardInterrupt), ("encode", StoppedError)])
def test_an_interrupted_stage_reuses_its_finished_shards(
    many_parts: Path,
    in_one_thread: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: type[BaseException],
) -> None:
    function = f"{step}_shard"
    original = getattr(pretune.stages.preprocess.steps, function)
    calls = []

    def interrupted(out: Path, task: dict[str, Any]) -> dict[str, Any]:
        calls.append(task)
        if len(calls) == 4:
            raise error
        result: dict[str, Any] = original(out, task)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(f"pretune.stages.preprocess.steps.{function}", interrupted)
        with pytest.raises(error):
            preprocess(many_parts, tmp_path / "out")
    first = len(calls)
    monkeypatch.setattr(
        f"pretune.stages.preprocess.steps.{function}", lambda out, task: calls.append(0) or original(out, task)
    )
    assert preprocess(many_parts, tmp_path / "out").outputs == in_one_thread
    num_parts = len(list(many_parts.glob("documents-*")))
    assert len(calls) - first == num_parts - 3
    (flow,) = events(tmp_path / "out", "flow")
    assert flow["shape_in"][0]["value"] == 902


def test_ids_of_another_tokenizer_are_not_reused(
    many_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts were found by their number alone, although a second training may give another tokenizer."""
    train, encode = pretune.stages.preprocess.stage.train_on_counts, pretune.stages.preprocess.steps.encode_shard
    calls = []

    def interrupted(out: Path, task: dict[str, Any]) -> dict[str, Any]:
        calls.append(task)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(out, task)

    with monkeypatch.context() as patch:
        patch.setattr("pretune.stages.preprocess.steps.encode_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            preprocess(many_parts, tmp_path / "out")
    trainer = "pretune.stages.preprocess.stage.train_on_counts"
    monkeypatch.setattr(trainer, lambda counts, kind, *_: train(counts, kind, vocab_size=270))
    outputs = [preprocess(many_parts, tmp_path / name).outputs for name in ("out", "fresh")]
    assert outputs[0] == outputs[1]
