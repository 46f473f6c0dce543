import json
import os
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.text.collect.documents import iter_documents
from pretune.text.collect.protected_texts import protected_texts
from pretune.text.reading_report import Findings
from pretune.text.sources.files import MET_AGAIN, TextFile, find_files, unique_files


def names(*paths: Path | str) -> list[str]:
    return [Path(file.path).name for file in find_files(paths, Findings())]


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("Some text.\n", encoding="utf-8")


def test_known_endings_decide_in_a_folder(tmp_path: Path) -> None:
    write(
        tmp_path, "a.txt", "b/c.md.bz2", "b/d.mbox", "b/e.docx", "f.tar.zst", "g.gz", "no.py", "README", ".hidden.txt"
    )
    findings = Findings()
    found = find_files([tmp_path], findings)
    assert [Path(file.path).name for file in found] == ["a.txt", "f.tar.zst", "g.gz", "c.md.bz2", "d.mbox", "e.docx"]
    assert {rule.name: rule.count for rule in findings.ignored_files.rules.values()} == {
        "file without a known ending": 2,
        "hidden file": 1,
    }


def test_without_a_known_ending_the_content_decides(tmp_path: Path) -> None:
    write(tmp_path, "1", "2.post", "LICENSE")
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 9)
    assert names(tmp_path) == ["1", "2.post", "LICENSE"]


def test_a_maildir_is_read_as_mail(tmp_path: Path) -> None:
    write(tmp_path, "mail/cur/1.M2P3.host:2,S", "mail/new/2.M2P3.host", "mail/tmp/x", "a.txt")
    assert {file.format for file in find_files([tmp_path], Findings()) if "/mail/" in file.path} == {"eml"}
    assert len(names(tmp_path)) == 3


def test_a_folder_that_links_to_itself(tmp_path: Path) -> None:
    write(tmp_path, "texts/a.txt")
    (tmp_path / "texts" / "loop").symlink_to(tmp_path / "texts", target_is_directory=True)
    (tmp_path / "texts" / "again.txt").symlink_to(tmp_path / "texts" / "a.txt")
    assert names(tmp_path / "texts") == ["a.txt"]
    assert names(str(tmp_path / "**" / "*.txt")) == ["a.txt"]


def test_links_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "c.txt").symlink_to(tmp_path / "c.txt")
    findings = Findings()
    assert len(find_files([tmp_path], findings)) == 1
    assert findings.ignored_files.total == 2


def test_a_pattern_of_links_that_lead_nowhere_is_refused(tmp_path: Path) -> None:
    """It gave no file at all, and `collect` wrote the built-in world instead."""
    for name in "ab":
        (tmp_path / f"{name}.txt").symlink_to(tmp_path / "gone" / name)
    with pytest.raises(InputDataError, match=r"\*\.txt matches only broken links, the first .*a\.txt; expected files"):
        find_files([str(tmp_path / "*.txt")], Findings())


def test_a_pipe_that_a_pattern_matches_is_counted(tmp_path: Path) -> None:
    """Reading it waited for a writer that never came."""
    write(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "b.txt")
    findings = Findings()
    (found,) = find_files([str(tmp_path / "*.txt")], findings)
    assert Path(found.path).name == "a.txt"
    assert findings.ignored_files.count("not a regular file") == 1
    with pytest.raises(
        InputDataError, match=r"b\* matches no regular file, the first match is .*b\.txt; expected files"
    ):
        find_files([str(tmp_path / "b*")], Findings())
    (named,) = find_files([tmp_path / "b.txt"], Findings())  # the user says so
    assert named.is_named
    assert protected_texts([str(tmp_path / "*.txt")], Findings()) == ["Some text."]


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system call is made to fail."""
    write(tmp_path, "texts/a.txt", "texts/closed/b.txt")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    closed = "closed"
    findings = Findings()
    assert len(find_files([tmp_path / "texts"], findings)) == 1
    assert "closed cannot be read (Permission denied)" in next(iter(findings.unreadable.rules.values())).reason
    closed = "texts"
    with pytest.raises(InputDataError, match=r"texts cannot be read .*; check its permissions"):
        find_files([tmp_path / "texts"], Findings())


def test_the_first_name_of_a_file_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    path = str(tmp_path / "a.txt")
    same = str(tmp_path / "." / "a.txt") + ""
    files = [TextFile(path=path, name="first"), TextFile(path=same, name="second"), TextFile(path="gone", name="gone")]
    findings = Findings()
    assert [file.name for file in unique_files(files, findings)] == ["first", "gone"]
    assert findings.ignored_files.count(MET_AGAIN) == len(files) - 2


def test_folders_that_are_not_entered_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "texts/a.txt", "texts/.git/b.txt", "texts/.cache/c.txt", "elsewhere/d.txt")
    (tmp_path / "texts" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    findings = Findings()
    assert [file.name for file in find_files([tmp_path / "texts"], findings)] == [str(tmp_path / "texts" / "a.txt")]
    rules = findings.ignored_files.rules
    assert (rules["hidden folder"].count, rules["link to a folder"].count) == (2, 1)
    assert rules["link to a folder"].examples == [str(tmp_path / "texts" / "more")]
    assert names(tmp_path / "texts", tmp_path / "texts" / "more") == ["a.txt", "d.txt"]


def test_the_tilde_is_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a recipe, which no shell expands; a folder named `~` takes precedence."""
    write(tmp_path, "home/a.txt", "~/b.txt")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert names("~/a.txt") == names("~/*.txt") == ["a.txt"]
    monkeypatch.chdir(tmp_path)
    assert names("~/b.txt") == ["b.txt"]


def test_json_in_a_folder_is_read_where_it_has_rows(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    for name, content in (
        ("rows", '{"a": 1}\n'),
        ("list", '[\n {"a": 1}]'),
        ("settings", '{\n "a": 1}'),
        ("words", '["a"]'),
    ):
        (tmp_path / f"{name}.json").write_text(content, encoding="utf-8")
    findings = Findings()
    assert sorted(Path(file.path).name for file in find_files([tmp_path], findings)) == [
        "a.txt",
        "list.json",
        "rows.json",
    ]
    assert findings.ignored_files.count("JSON without rows") == 2


def test_json_with_a_first_line_that_is_longer_than_a_block_has_rows(tmp_path: Path) -> None:
    """It was skipped as settings, since the line does not parse as far as it was looked at."""
    write(tmp_path, "a.txt")
    row = json.dumps({"text": "Ein längeres Wort. " * 20_000}, ensure_ascii=False)
    (tmp_path / "rows.json").write_text(f"{row}\n{row}\n", encoding="utf-8")
    (tmp_path / "list.json").write_text(f"[{row},{row}]", encoding="utf-8")
    (tmp_path / "words.json").write_text(json.dumps(["word"] * 50_000), encoding="utf-8")
    findings = Findings()
    found = [Path(file.path).name for file in find_files([tmp_path], findings)]
    assert found == ["a.txt", "list.json", "rows.json"]
    assert findings.ignored_files.count("JSON without rows") == 1
    texts = [each.text for each in iter_documents(find_files([tmp_path / "rows.json"], findings), findings)]
    assert texts == ["Ein längeres Wort. " * 20_000] * 2


def test_a_pattern_that_matches_folders_reads_them_as_well(tmp_path: Path) -> None:
    """Without a word, `'data/*'` read only the files beside the folders."""
    write(tmp_path, "data/a.txt", "data/b.tex", "data/more/c.txt", "data/more/d.tex", "data/more/deep/e.md")
    (tmp_path / "data" / "empty").mkdir()
    findings = Findings()
    found = find_files([str(tmp_path / "data" / "*")], findings)
    assert [Path(file.path).name for file in found] == ["a.txt", "b.tex", "c.txt", "e.md"]
    assert [rule.name for rule in findings.ignored_files.rules.values()] == ["file without a known ending"]
    findings = Findings()
    found = find_files([str(tmp_path / "data" / "**")], findings)
    assert [Path(file.path).name for file in found] == ["a.txt", "b.tex", "c.txt", "d.tex", "e.md"]
    assert not findings.ignored_files.total
    with pytest.raises(InputDataError, match="empty contains no text"):
        find_files([str(tmp_path / "data" / "em*")], Findings())


def test_a_pattern_that_matches_only_folders_needs_text_in_one_of_them(tmp_path: Path) -> None:
    """A single folder without text was enough to refuse the pattern."""
    write(tmp_path, "2024/a.txt", "2025/b.txt")
    (tmp_path / "2026").mkdir()
    assert names(str(tmp_path / "20*")) == ["a.txt", "b.txt"]
    for name in ("2024/a.txt", "2025/b.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(InputDataError, match=r"20\* matches 3 folders without text, the first .*2024; expected files"):
        find_files([str(tmp_path / "20*")], Findings())
