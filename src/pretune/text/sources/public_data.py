"""A registry of public data sets (URL, size, licence, texts to train on), and their files, downloaded and verified."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pretune.errors import InputDataError, UsageError
from pretune.runtime.atomic import write_json
from pretune.runtime.download import download, only_download
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import hash_file
from pretune.text.reading_report import Findings, join_names
from pretune.text.sources.files import TextFile, find_files

PREFIX = "public:"
LOCK_NAME = "pretune-lock.json"  # the sha256 of the download, in the same folder
MEGABYTE = 1_000_000

Agree = Callable[[str], bool]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A public data set in one file. Official test splits are left out, since they are for measuring."""

    name: str
    title: str
    url: str
    size_bytes: int | None  # None if its owner may change it
    sha256: str | None  # None: recorded at the first download and compared from then on
    licence: str
    citation: str
    selection: str  # the texts that are read, in words
    members: tuple[str, ...] = ()  # patterns, for an archive
    columns: tuple[str, ...] = ()  # the names, for a table without a header
    text_column: str | None = None

    @property
    def file_name(self) -> str:
        """The name of the local file."""
        return self.url.rsplit("/", 1)[-1]


def _listed(*data_sets: DataSet) -> Mapping[str, DataSet]:
    return {data_set.name: data_set for data_set in data_sets}


_WIKITEXT = "Merity et al. 2017, Pointer Sentinel Mixture Models, ICLR"
_ZHANG = "Zhang, Zhao and LeCun 2015, Character-level Convolutional Networks for Text Classification, NeurIPS"

# Sizes and checksums: huggingface/datasets, dataset_infos.json of each (2022), and tensorflow/datasets, url_checksums.
REGISTRY = _listed(
    DataSet(
        name="imdb",
        title="Large Movie Review Dataset",
        url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        size_bytes=84_125_825,
        sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
        licence="none stated; for research, please cite",
        citation="Maas et al. 2011, Learning Word Vectors for Sentiment Analysis, ACL",
        selection="the 75,000 reviews that are not its test",
        members=("aclImdb/train/pos/*.txt", "aclImdb/train/neg/*.txt", "aclImdb/train/unsup/*.txt"),
    ),
    DataSet(
        name="ag_news",
        title="AG News",
        url="https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/train.csv",
        size_bytes=29_470_338,
        sha256="76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
        licence="none stated; for research and any other non-commercial activity",
        citation=_ZHANG,
        selection="the descriptions of its 120,000 training rows",
        columns=("label", "title", "description"),
        text_column="description",
    ),
    DataSet(
        name="dbpedia",
        title="DBpedia ontology classification",
        url="https://s3.amazonaws.com/fast-ai-nlp/dbpedia_csv.tgz",
        size_bytes=68_341_743,
        sha256="42db5221ddedddb673a4cabcc5f3a7d869714c878bcfe4ba94b29d14aa38e417",
        licence="CC BY-SA 3.0 and GFDL",
        citation=f"{_ZHANG}; Lehmann et al. 2015, DBpedia, Semantic Web 6",
        selection="the abstracts of its 560,000 training rows",
        members=("dbpedia_csv/train.csv",),
        columns=("label", "title", "content"),
        text_column="content",
    ),
    DataSet(
        name="sst2",
        title="Stanford Sentiment Treebank, two classes, as in GLUE",
        url="https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
        size_bytes=7_439_277,
        sha256="d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
        licence="none stated",
        citation="Socher et al. 2013, Recursive Deep Models for Semantic Compositionality, EMNLP",
        selection="the 67,349 phrases of its training split",
        members=("SST-2/train.tsv",),
        text_column="sentence",
    ),
    DataSet(
        name="medquad",
        title="MedQuAD, medical questions with answers",
        # The host creates this archive on request, so its size and sha256 are not known in advance.
        url="https://github.com/abachaa/MedQuAD/archive/refs/heads/master.zip",
        size_bytes=None,
        sha256=None,
        licence="CC BY 4.0",
        citation="Ben Abacha and Demner-Fushman 2019, A Question-Entailment Approach to QA, BMC Bioinformatics 20",
        selection="the questions and answers of its nine collections that have answers, some 16,400 pairs",
        members=("*/[1-9]_*/*.xml",),
    ),
    DataSet(
        name="wikitext-2",
        title="WikiText-2, raw",
        url="https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
        size_bytes=4_721_645,
        sha256="ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
        licence="CC BY-SA",
        citation=_WIKITEXT,
        selection="its training articles",
        members=("wikitext-2-raw/wiki.train.raw",),
    ),
    DataSet(
        name="wikitext-103",
        title="WikiText-103, raw",
        url="https://wikitext.smerity.com/wikitext-103-raw-v1.zip",
        size_bytes=191_984_949,
        sha256="91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
        licence="CC BY-SA",
        citation=_WIKITEXT,
        selection="its training articles",
        members=("wikitext-103-raw/wiki.train.raw",),
    ),
)


def data_set_of(path: str, registry: Mapping[str, DataSet] = REGISTRY) -> DataSet | None:
    """The data set with this name, `public:NAME`, or NAME alone unless a file or folder has that name; else None.

    Raises UsageError for `public:` with a name that is not in the registry.
    """
    name = path.removeprefix(PREFIX)
    if name == path and (name not in registry or Path(path).exists()):
        return None
    if name not in registry:
        raise UsageError(f"There is no public data set {name!r} in the registry; it has {', '.join(registry)}.")
    return registry[name]


def default_data_root() -> Path:
    """The folder for downloads, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "pretune" / "data"


def obtain(
    data_set: DataSet, root: Path | None, findings: Findings, *, agree: Agree | None, say: Say
) -> tuple[list[TextFile], str]:
    """The files of a data set, and a sentence on where they come from.

    A local copy in `root/NAME` is used: the original file is verified, anything else is read unverified, without the
    test split if the files are named as in the original. If there is no copy, `agree` is asked with a description of
    the download, which then goes to that folder. Raises UsageError if it is refused, and InputDataError if the file has
    another sha256.
    """
    folder = (root or default_data_root()) / data_set.name
    file = folder / data_set.file_name
    if not file.is_file():
        others = [entry for entry in folder.iterdir() if _is_content(entry)] if folder.is_dir() else []
        if others:
            return _files_of_copy(data_set, folder, findings)
        _ask(data_set, file, agree)
        with only_download(folder, lambda: say(f"{data_set.name}: another process is downloading it; waiting for it.")):
            if not file.is_file():
                _download(data_set, file, say)
    origin = f"{file.name}, {_verify(data_set, file)}"
    original = TextFile(path=str(file), name=f"{PREFIX}{data_set.name}", members=data_set.members)
    return [_as_original(original, data_set)], _about(data_set, origin)


def _as_original(file: TextFile, data_set: DataSet) -> TextFile:
    """The file with what is known about the columns of the data set."""
    return replace(file, columns=data_set.columns, text_column=data_set.text_column)


def _is_content(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.name != LOCK_NAME and not entry.name.endswith(".part")


def _files_of_copy(data_set: DataSet, folder: Path, findings: Findings) -> tuple[list[TextFile], str]:
    """The files of an unpacked copy that are read of the original, or all of them if none has such a name."""
    name = data_set.file_name
    members = data_set.members or (f"{name}.*", f"*/{name}")
    # The copy may lack the folder that the archive consists of.
    for patterns in (members, [member.partition("/")[2] for member in members]):
        parents = [glob.escape(str(folder)) if glob.has_magic(pattern) else str(folder) for pattern in patterns]
        places = [f"{parent}/{pattern}" for parent, pattern in zip(parents, patterns, strict=True) if pattern]
        if found := [place for place in places if Path(place).exists() or glob.glob(place)]:
            files = [_as_original(file, data_set) for file in find_files(found, findings)]
            return files, _about(data_set, f"a local copy in {folder}, not verified")
    sentence = (
        f"All texts of a local copy in {folder}, not verified; a test split may be among them, since no file is named "
        f"as in the original ({join_names(members)})."
    )
    return find_files([folder], findings), f"{data_set.title}: {sentence} {_licence(data_set)}"


def _about(data_set: DataSet, origin: str) -> str:
    return f"{data_set.title}: {data_set.selection}, from {origin}. {_licence(data_set)}"


def _licence(data_set: DataSet) -> str:
    return f"Licence: {data_set.licence}. Please cite: {data_set.citation}."


def _ask(data_set: DataSet, file: Path, agree: Agree | None) -> None:
    """Ask for consent to a download. Raises UsageError without it."""
    check = "verified by its sha256" if data_set.sha256 else "with its sha256 recorded for later checks"
    whole = _size_in_words(data_set)
    plan = (
        f"{data_set.name} is {data_set.title}; {data_set.selection} will be read. It is not in {file.parent}: "
        f"{whole or 'a file of unknown size'} will be downloaded from {data_set.url}, {check}. "
        f"Licence: {data_set.licence}."
    )
    if agree is None:
        raise UsageError(f"{plan} Give --yes to agree, or --data-root DIR with a copy in DIR/{data_set.name}.")
    if not agree(plan):
        raise UsageError("Nothing was downloaded; if you have a copy, give its folder with --data-root DIR.")


def _size_in_words(data_set: DataSet) -> str:
    return "" if data_set.size_bytes is None else f"{data_set.size_bytes / MEGABYTE:.0f} MB"


def _download(data_set: DataSet, file: Path, say: Say) -> None:
    size, whole, reported = data_set.size_bytes, _size_in_words(data_set), 0

    def report(done: int) -> None:
        nonlocal reported
        step = 10 * MEGABYTE if size is None else size / 10
        if done // step > reported:
            reported = int(done // step)
            say(f"{data_set.name}: {done / MEGABYTE:.0f}{' of ' if whole else ' MB'}{whole}")

    digest = download(data_set.url, file, size_bytes=size, sha256=data_set.sha256, on_progress=report)
    write_json(file.parent / LOCK_NAME, {file.name: {"sha256": digest, "address": data_set.url}})


def _verify(data_set: DataSet, file: Path) -> str:
    """How the file was verified, in words. Raises InputDataError if its sha256 is another one."""
    found, expected, source = hash_file(file), data_set.sha256, "the registry"
    if expected is None:
        lock = file.parent / LOCK_NAME
        try:
            expected = parse_json(lock.read_text(encoding="utf-8"))[file.name]["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            write_json(lock, {file.name: {"sha256": found, "address": data_set.url}})
            return f"sha256 {found[:12]}…, recorded in {LOCK_NAME} and expected from now on"
        source = str(lock)
    if found != expected:
        raise InputDataError(
            f"{file} is not the {data_set.title} in {source}: its sha256 is {found}, expected {expected}; remove it to "
            "download it again, or give its path to read it anyway."
        )
    return f"sha256 {found[:12]}…, as in {source}"
