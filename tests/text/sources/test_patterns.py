"""A pattern matches what it matches for `glob`, except through links to folders."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.recipe import Recipe, check_inputs
from pretune.text.reading_report import Findings
from pretune.text.sources.files import find_files
from pretune.text.sources.patterns import match_paths

PARTS = ["**", "*", "a", "b", "a*", "?", "*.txt", "x.txt", "[[]x]", "**x", ".*", ".h"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tree")
    for name in (
        "x.txt", "a/x.txt", "a/b/x.txt", "a/b/c/y.txt", "a/.h/z.txt", "a/.hidden.txt", "a b/[x]/x.txt", "b/**x/x.txt",
    ):  # fmt: skip
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("text")
    (top / "a" / "gone.txt").symlink_to("nowhere")
    return top


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=4), is_relative=st.booleans())
def test_without_links_to_folders_the_matches_are_those_of_glob(
    tree: Path, monkeypatch: pytest.MonkeyPatch, parts: list[str], is_relative: bool
) -> None:
    monkeypatch.chdir(tree)
    pattern = "/".join(parts if is_relative else [glob.escape(str(tree)), *parts])
    expected = set(filter(os.path.lexists, glob.glob(pattern, recursive=True)))  # it gives `x.txt/` for `x.txt/**`
    assert match_paths(pattern) == sorted(expected)


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    """Two of them in a folder were followed in all orders, up to 40 one after another."""
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.txt").write_text("text")
    for name in ("one", "two"):
        (tmp_path / "data" / "deep" / name).symlink_to(tmp_path / "data", target_is_directory=True)
    for pattern in ("data/**/*.txt", "data/**", "**/*", "**/deep/**/a.txt"):
        findings = Findings()
        assert [Path(file.path).name for file in find_files([str(tmp_path / pattern)], findings)] == ["a.txt"]
        assert findings.ignored_files.count("link to a folder") == 2
    named = find_files([str(tmp_path / "data" / "deep" / "o*" / "deep" / "*.txt")], Findings())  # as it says
    assert [file.name for file in named] == [str(tmp_path / "data" / "deep" / "one" / "deep" / "a.txt")]
    with pytest.raises(InputDataError, match=r"\*\.md matches no file"):
        find_files([str(tmp_path / "**" / "*.md")], Findings())


def test_links_that_the_pattern_names_are_not_ignored(tmp_path: Path) -> None:
    """They were counted among the ignored files although their files were read."""
    (tmp_path / "far" / "low").mkdir(parents=True)
    (tmp_path / "far" / "low" / "a.txt").write_text("text")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deep").symlink_to(tmp_path / "far", target_is_directory=True)
    for pattern in ("data/**/deep/**/a.txt", "data/**/deep/*/a.txt", "data/**/deep"):
        findings = Findings()
        assert [Path(file.path).name for file in find_files([str(tmp_path / pattern)], findings)] == ["a.txt"]
        assert findings.ignored_files.total == 0


def test_a_pattern_that_matches_nothing_names_the_links_that_it_does_not_enter(tmp_path: Path) -> None:
    """It was said to match nothing, or not to exist, though its folders were there."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("text")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "one").symlink_to(tmp_path / "far", target_is_directory=True)
    pattern = str(tmp_path / "corpus" / "**" / "*.txt")
    for check in (
        lambda: find_files([pattern], Findings()),
        lambda: check_inputs(Recipe(corpus=(pattern,))),
        lambda: check_inputs(Recipe(protect=(pattern,))),
    ):
        with pytest.raises(InputDataError, match=r"\.txt matches no file: .* such as .*corpus/one\. Name"):
            check()
    assert find_files([str(tmp_path / "corpus" / "one")], Findings())
