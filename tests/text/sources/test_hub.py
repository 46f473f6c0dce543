import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from pretune.errors import InputDataError, StageDiffersError, UsageError
from pretune.settings import CollectConfig
from pretune.stages.collect.stage import collect
from pretune.text.document_store import iter_corpus
from pretune.text.reading_report import Findings
from pretune.text.sources.hub import hub_files

FILES = {
    "README.md": "# Not data",
    "dataset_infos.json": "{}",
    "data/train-0.jsonl": '{"text": "A training row."}\n',
    "data/test-0.jsonl": '{"text": "A test row."}\n',
    "latest/contest.txt": "A line of a contest.\n",
    "picture.png": "",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A hub backed by a folder; returns the requests that it received."""
    for name, content in FILES.items():
        (tmp_path / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub" / name).write_text(content, encoding="utf-8")
    asked: list[tuple[str, ...]] = []

    def dataset_info(repository: str, *, revision: str | None, files_metadata: bool) -> SimpleNamespace:
        asked.append((repository, str(revision)))
        if repository == "no/such":
            raise OSError("401 Client Error: Repository Not Found")
        siblings = [SimpleNamespace(rfilename=name, size=len(content)) for name, content in FILES.items()]
        return SimpleNamespace(sha="abc123", siblings=siblings if files_metadata else None)

    def hf_hub_download(repository: str, name: str, *, repo_type: str, revision: str) -> str:
        asked.append((repository, name, repo_type, revision))
        return str(tmp_path / "hub" / name)

    module = ModuleType("huggingface_hub")
    module.HfApi = lambda: SimpleNamespace(dataset_info=dataset_info)  # type: ignore[attr-defined]
    module.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_the_files_of_text_are_read_and_no_test_part(hub: list[tuple[str, ...]], tmp_path: Path) -> None:
    collect(["hf:owner/name"], tmp_path / "out")
    documents = [(document["text"], document["source"]) for document in iter_corpus(tmp_path / "out")]
    assert documents == [
        ("A training row.", "hf:owner/name/data/train-0.jsonl"),
        ("A line of a contest.", "hf:owner/name/latest/contest.txt"),
    ]
    assert hub[0] == ("owner/name", "None")
    assert hub[1] == ("owner/name", "data/train-0.jsonl", "dataset", "abc123")


def test_what_is_finished_is_not_asked_for_again(hub: list[tuple[str, ...]], tmp_path: Path) -> None:
    first = collect(["hf:owner/name"], tmp_path / "out")
    shutil.rmtree(tmp_path / "hub")  # as if a cache had been emptied
    hub.clear()
    assert collect(["hf:owner/name"], tmp_path / "out") == first
    assert not hub
    with pytest.raises(StageDiffersError, match="text_unit"):
        collect(["hf:owner/name"], tmp_path / "out", CollectConfig(text_unit="file"))
    assert not hub
    with pytest.raises(InputDataError, match="data/train-0"):
        collect(["hf:owner/name"], tmp_path / "out", redo=True)
    assert hub


def test_what_was_interrupted_goes_on_without_the_hub(
    hub: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.txt").write_text("A line of one's own.\n", encoding="utf-8")
    paths = [str(tmp_path / "own.txt"), "hf:owner/name"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pretune.stages.collect.steps.place_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect(paths, tmp_path / "out")
    hub.clear()
    collect(paths, tmp_path / "out")
    assert not hub
    texts = [document["text"] for document in iter_corpus(tmp_path / "out")]
    assert texts == ["A line of one's own.", "A training row.", "A line of a contest."]
    shutil.rmtree(tmp_path / "out")
    collect(paths, tmp_path / "out")
    assert hub  # no manifest has it any more


def test_a_revision_and_a_pattern(hub: list[tuple[str, ...]]) -> None:
    logged: list[str] = []
    files, about = hub_files("hf:owner/name@v1:data/test-*", Findings(), logged.append)
    assert [file.name for file in files] == ["hf:owner/name/data/test-0.jsonl"]
    assert hub[0] == ("owner/name", "v1")
    assert about == "hf:owner/name@v1:data/test-*: 1 files from the Hugging Face hub, revision abc123."
    assert "1 files, 0 MB, revision abc123" in logged[0]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("hf:no/such", InputDataError, "cannot be downloaded from the Hugging Face hub .401 Client Error"),
        ("hf:owner/name:*.parquet", InputDataError, "has no text file to read .it has README.md,"),
        ("hf:../../etc/passwd", UsageError, "does not name a data set"),
        ("hf:", UsageError, "does not name a data set"),
    ],
)
def test_what_cannot_be_had(name: str, kind: type[Exception], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=sentence):
        collect([name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_the_client_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'pretune\[hf\]'"):
        collect(["hf:owner/name"], tmp_path / "out")
