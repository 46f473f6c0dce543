"""Local files of a Hugging Face data set named `hf:OWNER/NAME`; the hub is contacted only for such names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from pretune.errors import InputDataError, PretuneError, UsageError
from pretune.runtime.manifest import read_manifest_if_any
from pretune.text.readers.tables import ending_of
from pretune.text.reading_report import Findings, join_names, shorten
from pretune.text.sources.detect import KNOWN_ENDINGS
from pretune.text.sources.files import TextFile

PREFIX = "hf:"
REPOSITORY = PREFIX + r"([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?"  # a pattern of its name and its revision
SUMMARY_KEY = "hub"  # in the manifest of the collect stage
_NAME = re.compile(REPOSITORY + r"(?::(.+))?")
_NO_DATA_ENDINGS = (".md", ".markdown", ".json")  # descriptions and settings, kept next to the data
_TEST = re.compile(r"(?:^|[^a-z])test(?:$|[^a-z])")


@dataclass(frozen=True, kw_only=True)
class Obtained:
    """A data set of the hub as it was downloaded: its local files, a sentence about them, and a fingerprint."""

    files: list[TextFile]
    about: str
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for the manifest."""
        files = [[file.path, file.name] for file in self.files]
        return {"files": files, "about": self.about, "fingerprint": self.fingerprint}


def obtained_before(folder: Path) -> dict[str, Obtained]:
    """The hub data sets in the manifest of a stage folder, by name, which need not be looked up again.

    If the stage is not finished, its files will be read, so only data sets whose files still exist are returned.
    """
    manifest = read_manifest_if_any(folder)
    found = {}
    for name, entry in ({} if manifest is None else manifest.summary.get(SUMMARY_KEY, {})).items():
        files = [TextFile(path=path, name=shown, is_named=False) for path, shown in entry["files"]]
        if manifest is not None and (manifest.status == "finished" or all(Path(f.path).is_file() for f in files)):
            found[name] = Obtained(files=files, about=entry["about"], fingerprint=entry["fingerprint"])
    return found


def hub_files(name: str, findings: Findings, say: Callable[[str], None]) -> tuple[list[TextFile], str]:
    """The files of `hf:OWNER/NAME[@REVISION][:PATTERN]` as local copies, and a sentence on where they come from.

    Without a pattern, all text files except official test splits. Raises UsageError if huggingface_hub is not
    installed or the name does not parse, and InputDataError if the data set cannot be downloaded.
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        raise UsageError(f"{name} does not name a data set; expected hf:OWNER/NAME[@REVISION][:PATTERN].")
    repository, revision, pattern = parsed.groups()
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise UsageError(
            f"{name} needs huggingface_hub, which is not installed: pip install 'pretune[hf]', or download the "
            "files by hand."
        ) from error
    try:
        info = hub.HfApi().dataset_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        chosen = _choose(sorted(sizes), pattern, name, findings)
        megabytes = sum(sizes[file] for file in chosen) / 1e6
        say(f"{name}: {len(chosen):,} files, {megabytes:.0f} MB, revision {info.sha}.")
        paths = [hub.hf_hub_download(repository, file, repo_type="dataset", revision=info.sha) for file in chosen]
    except PretuneError:
        raise
    except Exception as error:  # of the hub's client or of the libraries it uses
        raise InputDataError(
            f"{name} cannot be downloaded from the Hugging Face hub ({shorten(str(error), 120) or type(error).__name__}"
            "); check the name and the connection, or download the files by hand."
        ) from error
    files = [
        TextFile(path=str(path), name=f"{PREFIX}{repository}/{file}", is_named=False)
        for path, file in zip(paths, chosen, strict=True)
    ]
    return files, f"{name}: {len(files):,} files from the Hugging Face hub, revision {info.sha}."


def _choose(names: list[str], pattern: str | None, requested: str, findings: Findings) -> list[str]:
    chosen = []
    for name in names:
        reason = None
        if pattern is not None:
            reason = None if fnmatchcase(name, pattern) else "hub file outside the pattern"
        elif ending_of(PurePosixPath(name)) not in KNOWN_ENDINGS or ending_of(PurePosixPath(name)) in _NO_DATA_ENDINGS:
            reason = "hub file that is not data"
        elif _TEST.search(name.lower()):
            reason = "official test split, kept for measuring"
        if reason is None:
            chosen.append(name)
        else:
            findings.ignored_files.add(reason, reason, name)
    if not chosen:
        raise InputDataError(
            f"{requested} has no text file to read (it has {join_names(names, 5) or 'no files'}); name some of them "
            "after a colon, as in hf:OWNER/NAME:data/*.jsonl."
        )
    return chosen
