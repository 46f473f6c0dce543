"""The files that paths, folders and patterns name, in a stable order; skipped files are counted."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pretune.errors import InputDataError
from pretune.runtime.events import LOG_NAME
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import MANIFEST_NAME, RECIPE_NAME, hash_input, hash_json
from pretune.text.raw.compression import COMPRESSED_ENDINGS, STDIN
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.json_rows import sniff_json
from pretune.text.readers.tables import ending_of
from pretune.text.reading_report import Findings, join_names
from pretune.text.sources.detect import FORMAT_OF_ENDING, KNOWN_ENDINGS, FileFormat
from pretune.text.sources.patterns import describe_no_match, match_paths

NO_ENDING = "file without a known ending"
NOT_REGULAR = "not a regular file"
MET_AGAIN = "file already read under another name"
FILES_WORTH_A_NOTICE, BYTES_WORTH_A_NOTICE = 10_000, 2 * 10**9  # so many take seconds to fingerprint
_MAIL_FOLDERS = ("cur", "new")  # of a maildir, whose files have no endings


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A file to read: its path, its name as a source, and what is known about its content."""

    path: str
    name: str
    is_named: bool = True  # by the user; files of a folder or pattern are skipped if they are not text
    files_in_folder: int = 0  # with the same ending, this one included
    format: FileFormat | None = None  # if the location of the file decides it
    members: tuple[str, ...] = ()  # patterns; of an archive, only matching members are read
    columns: tuple[str, ...] = ()  # the names, for a table without a header
    text_column: str | None = None  # if known in advance, as for public data sets; a copy may lack it

    @property
    def format_by_name(self) -> FileFormat | None:
        """The format that its location or its ending indicates; None if neither does."""
        return self.format or FORMAT_OF_ENDING.get(ending_of(self.path))


def find_files(paths: Sequence[str | Path], findings: Findings) -> list[TextFile]:
    """The files that paths, folders and patterns name, in a stable order; of a folder, those with a known ending.

    If a folder has no such file, the content decides. A file that is found twice, also through links, is read once.
    Raises InputDataError for a path that does not exist, a pattern that matches nothing, and a folder without text.
    """
    files: list[TextFile] = []
    for path in map(_at_home, map(str, paths)):
        if path == STDIN:
            files.append(TextFile(path=STDIN, name="stdin"))
        elif Path(path).is_dir():
            files += _files_of_folder(Path(path), findings)
        elif not Path(path).exists() and glob.has_magic(path):
            files += _files_of_pattern(path, findings)
        elif not Path(path).exists():
            raise InputDataError(f"{path} does not exist; expected a file or folder with text, check the path.")
        else:
            files.append(TextFile(path=path, name=path))
    return unique_files(files, findings)


def _at_home(path: str) -> str:
    """The path with `~` expanded, which no shell does in a recipe or after an equals sign."""
    return str(expand_home(path)) if path.startswith("~/") and not Path(path).exists() else path


def unique_files(files: Iterable[TextFile], findings: Findings) -> list[TextFile]:
    """The files in order, each once, under the first of its names; the other names are counted."""
    seen: dict[object, TextFile] = {}
    for file in files:
        if seen.setdefault(_identity(file.path), file) is not file:
            findings.ignored_files.add(MET_AGAIN, MET_AGAIN, file.name)
    return list(seen.values())


def _identity(path: str) -> object:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return path
    return (found.st_dev, found.st_ino)


def _matches_of(pattern: str, findings: Findings) -> list[str]:
    """The paths that match, in order, without broken links and links to folders that are not entered, which are
    counted."""
    passed_over: set[str] = set()
    matches = match_paths(pattern, passed_over)
    for link in sorted(passed_over):
        findings.ignored_files.add("link to a folder", "link to a folder", link)
    if not matches:
        raise InputDataError(describe_no_match(pattern, passed_over))
    broken = {match for match in matches if not Path(match).exists()}  # links to nothing, or in a circle
    if len(broken) == len(matches):
        raise InputDataError(
            f"The pattern {pattern} matches only broken links, the first {matches[0]}; expected files with text: "
            "restore the files that the links lead to, or give another pattern."
        )
    for match in sorted(broken):
        findings.ignored_files.add("broken link", "broken link", match)
    return [match for match in matches if match not in broken]


def _files_of_pattern(pattern: str, findings: Findings) -> list[TextFile]:
    matches = _matches_of(pattern, findings)
    folders = [match for match in matches if Path(match).is_dir()]
    plain = [match for match in matches if match not in set(folders)]
    special = [match for match in plain if not Path(match).is_file()]  # a pipe: waiting for a writer never ends
    plain = [match for match in plain if match not in set(special)]
    for match in special:
        findings.ignored_files.add(NOT_REGULAR, NOT_REGULAR, match)
    if not plain and not folders:
        raise InputDataError(
            f"The pattern {pattern} matches no regular file, the first match is {matches[0]}; expected files "
            "with text: name a pipe to read from it, or give another pattern."
        )
    if not plain:
        return _files_of_folders(pattern, folders, findings)
    counts = Counter((Path(match).parent, ending_of(match)) for match in plain)
    files = [
        TextFile(path=match, name=match, is_named=False, files_in_folder=counts[Path(match).parent, ending_of(match)])
        for match in plain
    ]
    # A pattern with ** matches the content of its folders itself, whatever the endings.
    entered = {parent for match in matches for parent in Path(match).parents}
    for folder in (Path(folder) for folder in folders if Path(folder) not in entered):
        files += _files_of_folder(folder, findings, is_named=False)
    return files


def _files_of_folders(pattern: str, folders: list[str], findings: Findings) -> list[TextFile]:
    """The files of all folders that a pattern matches. Raises InputDataError if none of them has text."""
    is_named = len(folders) == 1
    files = [file for each in folders for file in _files_of_folder(Path(each), findings, is_named=is_named)]
    if not files:
        raise InputDataError(
            f"The pattern {pattern} matches {len(folders):,} folders without text, the first {folders[0]}; expected "
            "files such as .txt, .md, .html, .csv, .jsonl, .parquet, .mbox, .zip or .tar.gz in them."
        )
    return files


def _files_of_folder(folder: Path, findings: Findings, *, is_named: bool = True) -> list[TextFile]:
    """The files of a folder. Raises InputDataError if it has no text, unless it is one of many matches of a pattern."""
    found: list[Path] = []
    others: list[Path] = []  # without a known ending
    skipped: list[tuple[str, Path]] = []
    named = folder if is_named else None
    for parent, folders, names in os.walk(folder, onerror=lambda error: _note_unreadable(error, named, findings)):
        if _is_written_by_pretune(Path(parent), folders, names):
            if Path(parent) == named:
                raise InputDataError(
                    f"{folder} is a folder that pretune wrote; expected raw text. Give a stage's folder to the next "
                    "stage, as in: pretune preprocess COLLECTED --out DIR."
                )
            findings.ignored_files.add("written by pretune", "a stage folder", str(parent))
            folders.clear()
            continue
        folders[:] = _folders_to_enter(Path(parent), folders, findings)
        for path in (Path(parent) / name for name in sorted(names)):
            reason = _reason_to_skip(path)
            if reason is None:
                found.append(path)
            elif reason == NO_ENDING:
                others.append(path)
            else:
                skipped.append((reason, path))
    if not found:  # the content decides
        found = [path for path in others if _looks_like_text(path)]
        others = [path for path in others if path not in set(found)]
    for reason, path in [*skipped, *((NO_ENDING, path) for path in others)]:
        findings.ignored_files.add(reason, reason, str(path))
    if not found and is_named:
        names = [path.name for path in (*others, *(path for _, path in skipped))]
        contents = f" (it contains {join_names(names, 3)})" if names else ""
        raise InputDataError(
            f"{folder} contains no text{contents}; expected files such as .txt, .md, .html, .csv, .jsonl, .parquet, "
            ".mbox, .zip or .tar.gz."
        )
    counts = Counter((path.parent, ending_of(path)) for path in found)
    return [
        TextFile(
            path=str(path),
            name=str(path),
            is_named=False,
            files_in_folder=counts[path.parent, ending_of(path)],
            format="eml" if _is_in_maildir(path) else None,
        )
        for path in found
    ]


def _is_written_by_pretune(folder: Path, folders: list[str], names: list[str]) -> bool:
    """Whether it is the folder of a stage, or of a run, which contains a recipe and stage folders."""
    return {MANIFEST_NAME, LOG_NAME} <= set(names) or (
        RECIPE_NAME in names and any((folder / name / MANIFEST_NAME).is_file() for name in folders)
    )


def _folders_to_enter(parent: Path, names: list[str], findings: Findings) -> list[str]:
    """The folders to enter, in order; hidden ones, and links, which may form a circle, are counted instead."""
    entered = []
    for name in sorted(names):
        if name.startswith("."):
            findings.ignored_files.add("hidden folder", "hidden folder", str(parent / name))
        elif (parent / name).is_symlink():
            findings.ignored_files.add("link to a folder", "link to a folder", str(parent / name))
        else:
            entered.append(name)
    return entered


def _reason_to_skip(path: Path) -> str | None:
    try:
        if path.name.startswith("."):
            return "hidden file"
        if not path.is_file():
            return NOT_REGULAR
        if path.stat().st_size == 0:
            return "empty file"
        if _is_in_maildir(path):
            return None
        if ending_of(path) not in KNOWN_ENDINGS and not _is_only_compressed(path):
            return NO_ENDING
        # Many tools keep settings in .json files; only those with rows are read.
        if ending_of(path) == ".json" and sniff_json(TextStream(path).peek()) is None:
            return "JSON without rows"
    except OSError:
        return "unreadable file"
    except InputDataError:  # reported when the file is read
        return None
    return None


def _is_only_compressed(path: Path) -> bool:
    return not ending_of(path) and path.suffix.lower() in COMPRESSED_ENDINGS


def _looks_like_text(path: Path) -> bool:
    try:
        TextStream(path).close()
    except InputDataError:
        return False
    return True


def _is_in_maildir(path: Path) -> bool:
    return path.parent.name in _MAIL_FOLDERS and (path.parent.parent / "tmp").is_dir()


def _note_unreadable(error: OSError, named: Path | None, findings: Findings) -> None:
    place = Path(os.fsdecode(error.filename))
    if place == named:
        raise InputDataError(f"{error.filename} cannot be read ({error.strerror}); check its permissions.") from error
    findings.could_not_read(str(place), f"{place} cannot be read ({error.strerror}); check its permissions.")


def take_long_to_fingerprint(files: Sequence[TextFile]) -> bool:
    """Whether the user is to be told before the fingerprint of these files is computed."""
    return len(files) >= FILES_WORTH_A_NOTICE or sum(_size_of(file.path) for file in files) >= BYTES_WORTH_A_NOTICE


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def fingerprint_files(files: Sequence[TextFile]) -> str:
    """A hash of the names and contents of files. Raises InputDataError if one named by the user cannot be read."""
    hashes: list[list[str | None]] = []
    for file in files:
        try:
            hashes.append([Path(file.name).name, hash_input(Path(file.path))])
        except OSError as error:
            if not file.is_named:  # counted when it is read
                hashes.append([Path(file.name).name, None])
                continue
            raise InputDataError(
                f"{file.name} cannot be read ({error.strerror}); check the path and its permissions."
            ) from error
    return hash_json(hashes)
