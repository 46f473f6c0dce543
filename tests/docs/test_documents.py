"""Documents cannot lie: what is generated is current, links lead somewhere, and what the code does is described."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pretune import errors
from pretune.tracing.prediction import ATTENTION_HEADS, ATTENTION_TOKENS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_generated_documents_are_current() -> None:
    """docs/guide/cli.md is what the parsers say, and the map of files in CONTRIBUTING.md is the tree."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    missing = [t for t in targets if not t.startswith("http") and not (document.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_a_heading_lead_to_one(document: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#\s]*)#([^)]*)\)", document.read_text(encoding="utf-8"))
    missing = [
        f"{target}#{anchor}"
        for target, anchor in links
        if anchor not in anchors(document if not target else document.parent / target)
    ]
    assert not missing


def anchors(document: Path) -> list[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_readme_opens_with_the_two_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert [line.split("#")[0].strip() for line in blocks[0].splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_are_named_are_there(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


def test_the_events_that_are_logged_are_those_described() -> None:
    described = set(
        re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "guide" / "events.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    logged = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _writes_an_event(file, ast.unparse(node.func)):
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    logged.add(first.value)
    assert logged == described


def _writes_an_event(file: Path, function: str) -> bool:
    """Whether a call writes an event: into a log, or, in the log of a training, by its own method."""
    return function.endswith("log.write") or (file.name == "run_log.py" and function == "self.write")


def test_every_exit_code_is_described() -> None:
    described = set(
        map(
            int,
            re.findall(
                r"^\| (\d+) \|", (ROOT / "docs" / "guide" / "errors.md").read_text(encoding="utf-8"), re.MULTILINE
            ),
        )
    )
    assert described == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_the_limits_of_attention_are_those_of_the_trace() -> None:
    page = " ".join((ROOT / "docs" / "guide" / "starting-points.md").read_text(encoding="utf-8").split())
    assert f"texts of up to {ATTENTION_TOKENS} tokens and models of up to {ATTENTION_HEADS} heads" in page


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs" / "adr").glob("0*.md"):
        assert page.name in listed
        assert page.read_text(encoding="utf-8").startswith(f"# {page.name[:4]} ")
