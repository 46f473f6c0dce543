"""The paths that a pattern such as `data/**/*.txt` matches. `**` enters no links to folders, which may form circles."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from pretune.text.reading_report import join_names

_ANY_FOLDERS = "**"


def match_paths(pattern: str, passed_over: set[str] | None = None) -> list[str]:
    """The paths that a pattern matches, in order; the links that `**` does not enter are added to `passed_over`.

    Everything else is as in `glob.glob` with `recursive`, which enters links, up to 40 of them one after another.
    """
    links: set[str] = set()
    found = sorted(_matches(pattern, links))
    if passed_over is not None and links:
        # Those that another part of the pattern names are read.
        entered = {path for match in map(Path, found) for path in (match, *match.parents)}
        passed_over |= {link for link in links if Path(link) not in entered}
    return found


def describe_no_match(pattern: str, passed_over: set[str]) -> str:
    """The sentence on a pattern that matches nothing, with the links that `**` did not enter."""
    if not passed_over:
        return f"The pattern {pattern} matches no file; check it."
    return (
        f"The pattern {pattern} matches no file: ** does not enter links to folders, such as "
        f"{join_names(sorted(passed_over), 3)}. Name these folders, or check the pattern."
    )


def _matches(pattern: str, passed_over: set[str]) -> set[str]:
    parts = pattern.split("/")
    if _ANY_FOLDERS not in parts:
        return set(glob.glob(pattern))
    place = parts.index(_ANY_FOLDERS)
    start, rest = "/".join([*parts[:place], ""]), "/".join(parts[place + 1 :])
    found: set[str] = set()
    for top in glob.glob(start) if start else [""]:
        for folder, names in _walk(top, passed_over):
            if place + 1 < len(parts):
                found |= _matches(glob.escape(folder) + rest, passed_over)
            else:
                found.update([top] * bool(top), (folder + name for name in names))
    wildcard = glob.has_magic(parts[-1])
    links = {path for path in found if wildcard and Path(path).is_symlink() and Path(path).is_dir()}
    passed_over |= links
    return found - links


def _walk(top: str, passed_over: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder from `top` on, as the begin of a path, with the names in it; hidden ones are left out, as in glob."""
    for parent, folders, files in os.walk(top or "."):
        begin = parent if parent.endswith("/") else f"{parent}/"
        begin = begin if top else begin.removeprefix("./")
        folders[:] = [name for name in folders if not name.startswith(".")]
        passed_over |= {begin + name for name in folders if Path(begin + name).is_symlink()}
        yield begin, [name for name in (*folders, *files) if not name.startswith(".")]
