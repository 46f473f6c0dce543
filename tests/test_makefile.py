"""What `make` does before there is an environment, and what the demo says of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# As Debian's Python without python3-venv: it fails after it has made a part of the environment, without pip.
WITHOUT_VENV = """#!/bin/sh
[ "$1" = -c ] && exit 0
mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
exit 1
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_an_environment_that_could_not_be_made_is_removed(tmp_path: Path) -> None:
    """The next call took it for a whole one, and failed for lack of pip even after python3-venv was installed."""
    python = tmp_path / "python-without-venv"
    python.write_text(WITHOUT_VENV, encoding="utf-8")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), ".venv/.python", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("script", "sentence"),
    [(None, "There is no .*/python3.x here; install Python 3.11 or later"), ("exit 1", "is older than Python 3.11")],
    ids=["missing", "old"],
)
def test_a_missing_python_is_not_called_old(script: str | None, sentence: str, tmp_path: Path) -> None:
    python = tmp_path / "python3.x"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        python.chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), ".venv/.python", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(sentence, done.stdout)
    assert ("is older" in done.stdout) == (script is not None)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("is_on_path", [False, True])
def test_the_demo_says_how_to_find_pretune(is_on_path: bool, tmp_path: Path) -> None:
    """The commands that the demo suggests were not found, because nothing activates the environment."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "pretune").write_text("#!/bin/sh\necho The demo.\n", encoding="utf-8")
    (binaries / "pretune").chmod(0o755)
    for name in ("pyproject.toml", ".venv/.python", ".venv/.torch", ".venv/.installed"):
        (tmp_path / name).touch()
    system = [folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "pretune").exists()]
    path = os.pathsep.join([*system, str(binaries)] if is_on_path else system)
    done = subprocess.run(
        ["make", "--silent", "-f", str(ROOT / "Makefile"), "demo"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "The demo." in done.stdout
    assert ("type `. .venv/bin/activate` once" in done.stdout) == (not is_on_path)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("npm", [None, "#!/bin/sh\nexit 1\n"])
def test_the_page_is_not_checked_in_silence_where_node_is_required(npm: str | None, tmp_path: Path) -> None:
    """A check in which `npm ci` failed was green, and no TypeScript had been looked at."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    for folder in ("web", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "web" / "package-lock.json").touch()
    if npm is not None:
        (tmp_path / "bin" / "npm").write_text(npm, encoding="utf-8")
        (tmp_path / "bin" / "npm").chmod(0o755)

    def check(**setting: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(tmp_path / "bin"), **setting}
        command = [shutil.which("make") or "make", "check-page"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for done in (optional := check(), required := check(PRETUNE_NODE="required")):
        assert "so the bundle of the page is not compared with web/." in done.stdout
    assert optional.returncode == 0
    assert required.returncode != 0
