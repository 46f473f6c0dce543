"""Stage 1: files, folders, patterns, stdin or the built-in world in; unchanged documents with their source out."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pretune.builtin_world import world
from pretune.builtin_world.words import DOMAINS, FAMILIES
from pretune.errors import InputDataError, UsageError
from pretune.runtime.atomic import write_text
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.runtime.stage_folder import WORK_NAME, StageFolder, open_stage
from pretune.runtime.workers import Engine, describe_engine, open_engine, parse_engine
from pretune.settings import CollectConfig, to_dict, to_identity
from pretune.stages.collect.steps import WorkUnitReader
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.collect.documents import Document, Reading, refuse_unreadable
from pretune.text.collect.report_sentences import remarks
from pretune.text.collect.work_units import WorkUnit, bytes_to_divide, divide_files
from pretune.text.document_store import CorpusWriter, iter_corpus
from pretune.text.labels.split import LabelledSplit, choose_example, example_of, is_readable, open_split
from pretune.text.raw.text_stream import STDIN
from pretune.text.reading_report import Findings, counted
from pretune.text.sources.files import (
    TextFile,
    find_files,
    fingerprint_files,
    take_long_to_fingerprint,
    unique_files,
)
from pretune.text.sources.hub import PREFIX as HUB_PREFIX
from pretune.text.sources.hub import SUMMARY_KEY, Obtained, hub_files, obtained_before
from pretune.text.sources.public_data import PREFIX, REGISTRY, Agree, DataSet, Say, data_set_of, obtain
from pretune.text.splits import hash_unit

BUILTIN_SOURCE = "built-in world"
BUILTIN_LABELS, BUILTIN_TEST_LABELS = "labels-train.jsonl", "labels-test.jsonl"
EXAMPLE_STORED = 10_000  # characters of the example
EXAMPLE_CANDIDATES = 20_000


def collect(
    paths: Sequence[str | Path],
    out: Path,
    config: CollectConfig = CollectConfig(),
    *,
    split: Path | None = None,
    redo: bool = False,
    data_root: Path | None = None,
    agree: Agree | None = None,
    say: Say = lambda _sentence: None,
    registry: Mapping[str, DataSet] = REGISTRY,
    encoding_option: str | None = None,
) -> Manifest:
    """Read text into `out`, as documents with their source.

    The training texts of `split`, a folder that `pretune split` wrote, come first and are marked; its held-out texts
    are left out. Without paths, the corpus is these texts; without paths and split, it is the built-in world, with two
    label files. A path may be the name of a public data set in `registry`: it is read from `data_root`, or downloaded
    to it if `agree`, called with a description, returns true; `say` receives the progress. A path `hf:OWNER/NAME` is a
    data set of the Hugging Face hub, which is not contacted again for a folder that is finished, nor for a resumed one
    if the files are still there. `encoding_option` is the name of the user's option for `config.encoding`, if there is
    one, for advice. Raises InputDataError for input that is missing, unreadable, empty, binary, or
    malformed beyond repair; after such an error there is no new folder.
    """
    _refuse_pipes([str(path) for path in paths], config.engine)
    findings = Findings()
    obtained = {} if redo else obtained_before(Path(out))
    with _pipes_as_files([str(path) for path in paths]) as named:
        groups = []
        for path, name in named:
            data_set = data_set_of(path, registry)
            if path.startswith(HUB_PREFIX):
                groups.append(_from_hub(path, obtained, findings, say))
            elif data_set is not None:
                files, about = obtain(data_set, data_root, findings, agree=agree, say=say)
                findings.notices.append(about)
                groups.append(files)
            else:
                if path in registry:
                    notice = f"Reading {path} from this folder; the public data set of that name is {PREFIX}{path}."
                    findings.notices.append(notice)
                groups.append(_rename(find_files([path], findings), path, name))
        every = [file for group in groups for file in group]
        if take_long_to_fingerprint(every):
            say(f"Computing the fingerprint of the text ({counted(len(every), 'file')}).")
        from_hub = {path: obtained[path] for path, _ in named if path in obtained}
        inputs = {
            f"corpus {number}": from_hub[path].fingerprint if path in from_hub else fingerprint_files(group)
            for number, ((path, _), group) in enumerate(zip(named, groups, strict=True), 1)
        }
        if split is not None:
            inputs["split"] = read_manifest(Path(split), "split").fingerprint
        folder = open_stage(Path(out), "collect", config=to_identity(config), inputs=inputs, redo=redo)
        if folder.is_finished:
            return folder.manifest
        if folder.is_resumed:
            folder.log.write("resumed", from_step=0)
        if from_hub:
            folder.note(**{SUMMARY_KEY: {path: one.to_json() for path, one in from_hub.items()}})
        files = unique_files(every, findings)
        reading = _reading(config, encoding_option)
        with folder.at_work():
            units = divide_files(files, reading)
            with open_engine(config.engine, config.workers, amount=bytes_to_divide(units)) as engine:
                is_builtin = not paths and split is None
                _Collection(folder, config, reading, files, units, split, findings, engine, is_builtin=is_builtin).run()
    return folder.manifest


def _is_pipe(path: str) -> bool:
    return path == STDIN or Path(path).is_fifo()


def _refuse_pipes(paths: Sequence[str], engine: str) -> None:
    """Raise UsageError for input that only this machine can read, if the workers are those of a cluster."""
    _, address = parse_engine(engine)
    if address is not None and (pipes := [path for path in paths if _is_pipe(path)]):
        name = "standard input" if pipes[0] == STDIN else pipes[0]
        raise UsageError(
            f"--engine is a cluster, whose workers cannot read {name}; write the text to a file that all machines "
            "share, or leave out --engine."
        )


def refuse_terminal(paths: Sequence[str]) -> None:
    """Raise UsageError instead of waiting for text that nobody knows is to be typed, as in a run that once was
    piped."""
    if STDIN in paths and sys.stdin.isatty():
        raise UsageError(
            "The text is to be read from standard input (-), which is the terminal; pipe the text into the command, "
            "the same text to resume a run, as in: zcat texts.gz | pretune ..., or name a file."
        )


@contextmanager
def _pipes_as_files(paths: list[str]) -> Iterator[list[tuple[str, str]]]:
    """Each path with its name; stdin and pipes, which can be read only once, are first copied to a temporary file."""
    refuse_terminal(paths)
    with tempfile.TemporaryDirectory(prefix="pretune-") as temporary:
        named = []
        for number, path in enumerate(paths):
            is_stdin = path == STDIN
            if not _is_pipe(path):
                named.append((path, path))
                continue
            spool = Path(temporary) / str(number)
            with spool.open("wb") as copy:
                if is_stdin:
                    shutil.copyfileobj(sys.stdin.buffer, copy)
                else:
                    with Path(path).open("rb") as pipe:
                        shutil.copyfileobj(pipe, copy)
            named.append((str(spool), "stdin" if is_stdin else path))
        yield named


def _from_hub(name: str, obtained: dict[str, Obtained], findings: Findings, say: Say) -> list[TextFile]:
    """The files of a data set of the hub, which is contacted only if they are not in `obtained`."""
    if name not in obtained:
        files, about = hub_files(name, findings, say)
        obtained[name] = Obtained(files=files, about=about, fingerprint=fingerprint_files(files))
    findings.notices.append(obtained[name].about)
    return obtained[name].files


def _rename(files: list[TextFile], path: str, name: str) -> list[TextFile]:
    return [replace(file, name=name) if file.path == path else file for file in files]


class _Collection:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(
        self,
        folder: StageFolder,
        config: CollectConfig,
        reading: Reading,
        files: list[TextFile],
        units: list[WorkUnit],
        split: Path | None,
        findings: Findings,
        engine: Engine,
        *,
        is_builtin: bool,
    ) -> None:
        self.start = time.monotonic()
        self.folder, self.config, self.files, self.split, self.findings = folder, config, files, split, findings
        self.reading, self.units, self.engine = reading, units, engine
        self.is_builtin = is_builtin
        self.example = _ExampleChoice()
        self._kinds_logged: set[tuple[str | None, ...]] = set()

    def run(self) -> None:
        inputs = [file.name for file in self.files[:20]] + ([str(self.split)] if self.split else [])
        self.folder.log.write("stage_started", config=to_dict(self.config), inputs=inputs, synthetic=self.is_builtin)
        if self.engine.workers > 1 or self.engine.name != "threads":
            self.folder.log.write("notice", sentence=f"Running on {describe_engine(self.engine)}.")
        with CorpusWriter(self.folder.path) as writer:
            for document in self._own_documents():
                writer.write(
                    document.text, source=document.source, line=document.line, from_labels=document.from_labels
                )
                self.example.offer(document)
                self._log_progress(writer.num_documents, self.findings)
        self.num_documents, self.num_characters = writer.num_documents, writer.num_characters
        self._read()
        if not self.num_documents:
            raise InputDataError("The input contains no text; expected at least one document.")
        self._finish()

    def _read(self) -> None:
        """Read the files on the engine."""
        own = self.num_documents
        reader = WorkUnitReader(
            self.engine,
            self.folder.path / WORK_NAME,
            self.reading,
            lambda documents, findings: self._log_progress(own + documents, findings, reader.num_before),
        )
        documents, characters = reader.read(self.units, self.findings, self.folder.path)
        refuse_unreadable(documents, self.findings)
        self.num_documents += documents
        self.num_characters += characters
        self._log_detections(self.findings)
        if documents and self.example.wants_more():
            for document in islice(iter_corpus(self.folder.path), own, own + EXAMPLE_CANDIDATES):
                self.example.offer(Document(**document))

    def _own_documents(self) -> Iterator[Document]:
        """The documents that this process reads or makes itself: labelled texts, or the built-in world."""
        if self.is_builtin:
            yield from self._builtin_documents()
        elif self.split is not None:
            yield from self._training_texts(open_split(self.split, task_named))

    def _builtin_documents(self) -> Iterator[Document]:
        count, seed = self.config.builtin_documents, self.config.seed
        sentence = f"No text given: writing {count:,} documents of the built-in, synthetic world (seed {seed})."
        self.folder.log.write("detected", path=BUILTIN_SOURCE, format="synthetic", sentence=sentence)
        labelled, test = world.labeled_rows(seed=seed), world.test_rows(seed=seed)
        for name, rows in ((BUILTIN_LABELS, labelled), (BUILTIN_TEST_LABELS, test)):
            lines = [json.dumps({"text": row.text, "label": row.label, "slice": row.slice}) for row in rows]
            write_text(self.folder.path / name, "\n".join(lines) + "\n")
        self.example.decide(choose_example((row.text, clean_text(row.text)) for row in test), BUILTIN_TEST_LABELS)
        for number, text in enumerate(world.iter_documents(count, seed), 1):
            yield Document(text, BUILTIN_SOURCE, number)

    def _training_texts(self, split: LabelledSplit) -> Iterator[Document]:
        rows = split.by_split["train"]
        self.findings.num_files += 1
        self.findings.bytes_read += sum(len(row.raw.encode("utf-8", "replace")) for row in rows)
        sentence = f"{len(rows):,} training texts of {split.path}; its held-out texts are left out."
        self.folder.log.write("detected", path=split.path, format="split", sentence=sentence)
        _, example = example_of(split)
        self.example.decide(example.raw, split.path)
        for row in rows:
            for text in (row.raw, *row.texts[1:]):
                yield Document(text, split.path, row.line, from_labels=True)

    def _log_progress(self, num_documents: int, findings: Findings, num_before: int = 0) -> None:
        self._log_detections(findings)
        total = self.config.builtin_documents if self.is_builtin else None
        self.folder.log.write_progress(num_documents, total, "documents", since=self.start, done_before=num_before)

    def _log_detections(self, findings: Findings) -> None:
        for detection in findings.detections:
            if detection.kind not in self._kinds_logged:
                self._kinds_logged.add(detection.kind)
                self.folder.log.write("detected", **detection.to_event())

    def _finish(self) -> None:
        log, findings = self.folder.log, self.findings
        for remark in remarks(findings, self.num_documents):
            log.write(remark.event, **remark.fields)
        example = {"text": self.example.text, "source": self.example.source}
        log.write("example", **example)
        documents = {"documents": self.num_documents, "characters": self.num_characters}
        found = {"files": findings.num_files, "bytes": findings.bytes_read}
        if self.is_builtin:
            found = {"domains": len(DOMAINS), "polar_word_families": len(FAMILIES)}
        self.folder.log_flow(
            found,
            documents,
            dropped=findings.dropped.to_event(),
            seconds=time.monotonic() - self.start,
            peak_memory_bytes=self.engine.peak_memory_bytes,
        )
        self.folder.finish(**documents, synthetic=self.is_builtin, example=example)


class _ExampleChoice:
    """The example that all stages show: a test row, from which no stage learns, if there are labelled rows.

    Without labelled rows it is the readable document with the smallest hash.
    """

    def __init__(self) -> None:
        self.text = self.source = ""
        self._is_decided = False
        self._best: tuple[bool, float] = (False, 0.0)
        self._num_offered = 0

    def decide(self, text: str | None, source: str) -> None:
        """Take this text, regardless of the documents."""
        if text is not None:
            self.text, self.source, self._is_decided = text[:EXAMPLE_STORED], source, True

    def wants_more(self) -> bool:
        """Whether another document might be chosen; only the first thousands are hashed, to save time."""
        return not self._is_decided and self._num_offered < EXAMPLE_CANDIDATES

    def offer(self, document: Document) -> None:
        """Consider a document."""
        if not self.wants_more():
            return
        self._num_offered += 1
        is_good = is_readable(document.text)
        if self.text and self._best[0] and not is_good:
            return
        rank = (is_good, -hash_unit(document.text))
        if not self.text or rank > self._best:
            self._best, self.text, self.source = rank, document.text[:EXAMPLE_STORED], document.source


def _reading(config: CollectConfig, encoding_option: str | None) -> Reading:
    return Reading(
        text_column=config.text_column,
        text_unit=config.text_unit,
        encoding=config.encoding,
        encoding_option=encoding_option,
        format=config.format,
        html_text=config.html_text,
        markdown=config.markdown,
        mail_quotes=config.mail_quotes,
    )
