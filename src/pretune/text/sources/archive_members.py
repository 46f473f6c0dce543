"""A file as the parts to read: the file itself, or the members of an archive; archives in archives are not opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath

from pretune.errors import InputDataError
from pretune.text.raw.archives import Member, document_in_zip, iter_tar, iter_zip, open_member, open_zip, sniff_archive
from pretune.text.raw.compression import ByteStream, open_bytes
from pretune.text.readers.tables import ending_of
from pretune.text.reading_report import Findings, Tally, join_names
from pretune.text.sources.detect import ARCHIVE_ENDINGS, KNOWN_ENDINGS
from pretune.text.sources.files import NO_ENDING, TextFile

NESTED = "an archive inside an archive"
Part = tuple[TextFile, Callable[[], ByteStream]]
_OFFICE = {
    "xlsx": "a spreadsheet; save it as csv",
    "pptx": "a set of slides; save it as PDF or text",
    "odt": "an OpenDocument file; save it as docx or text",
}


def open_parts(file: TextFile, findings: Findings) -> Iterator[Part]:
    """The file itself or, if it is an archive, the members that may be text, each with a way to open it.

    Read a part before asking for the next one. Members are chosen like the files of a folder: by their endings or, if
    none has a known one, by their content. Raises InputDataError if the file cannot be read, or if it is an archive
    that is damaged or has nothing to read.
    """
    stream = open_bytes(file.path, file.name)
    kind = sniff_archive(stream.head)
    if kind is None:
        yield file, lambda: stream
        return
    if kind == "zip":
        with open_zip(stream) as archive:
            document = document_in_zip(archive)
        if document == "docx":
            yield replace(file, format="docx"), lambda: stream
            return
        if document is not None:
            raise InputDataError(f"{file.name} is {_OFFICE[document]}.")
    stream.close()
    yield from _open_members(file, findings)


def _open_members(file: TextFile, findings: Findings) -> Iterator[Part]:
    for takes_any_ending in (False, True):
        ignored = Tally()
        num_taken = 0
        for member in _iter_members(file, findings):
            reason = _reason_to_skip(member, file.members, takes_any_ending=takes_any_ending)
            if reason is not None:
                ignored.add(reason, reason, f"{file.name}/{member.name}")
                continue
            num_taken += 1
            name = f"{file.name}/{member.name}"
            part = replace(
                file, path=name, name=name, is_named=False, files_in_folder=member.files_in_folder, members=()
            )
            yield part, partial(_open_member, member, file.name)
        if num_taken or not ignored.count(NO_ENDING):
            break
    findings.ignored_files.add_all(ignored.to_json())
    if not num_taken:
        found = [Path(example).name for rule in ignored.rules.values() for example in rule.examples]
        contents = f"it contains {join_names(found, 3)}" if found else "it is empty"
        if ignored.count(NESTED):
            contents += "; an archive inside an archive is not opened, unpack it first"
        raise InputDataError(f"{file.name} is an archive without text ({contents}); expected files such as .txt in it.")


def _iter_members(file: TextFile, findings: Findings) -> Iterator[Member]:
    """The members of a file that is known to be an archive."""
    stream = open_bytes(file.path, file.name)
    if sniff_archive(stream.head) == "zip":
        with open_zip(stream) as archive:
            yield from iter_zip(archive, file.name)
    else:
        try:
            yield from iter_tar(stream, findings)
        finally:
            stream.close()


def _reason_to_skip(member: Member, patterns: tuple[str, ...], *, takes_any_ending: bool) -> str | None:
    """Why a member is not read; None if it is. Names are only compared, never used as paths."""
    path = PurePosixPath(member.name)
    if patterns:
        return None if any(fnmatchcase(member.name, pattern) for pattern in patterns) else "not part of the data set"
    if any(part.startswith(".") and part != ".." for part in path.parts) or "__MACOSX" in path.parts:
        return "hidden file"
    if member.size == 0:
        return "empty file"
    if ending_of(path) in ARCHIVE_ENDINGS:
        return NESTED
    if ending_of(path) not in KNOWN_ENDINGS and not takes_any_ending:
        return NO_ENDING
    return None


def _open_member(member: Member, archive: str) -> ByteStream:
    """Open a member. Raises InputDataError for an archive inside the archive, whatever its name."""
    stream = open_member(member, archive)
    if sniff_archive(stream.head) and ending_of(member.name) != ".docx":
        raise InputDataError(f"{stream.name} is an archive inside an archive, which is not opened; unpack it first.")
    return stream
