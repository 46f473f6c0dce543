"""A model of the hub is downloaded only when its name is typed, without pickles and code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pretune.errors import ModelError, ModelNotFoundError, UsageError
from pretune.model.hub import choose_files, local_folder

FILES = [
    "README.md", "config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "generation_config.json", "chat_template.jinja", "modeling_own.py",
    "onnx/model.onnx", "1_Pooling/config.json", "tf_model.h5",
]  # fmt: skip
SHA = "a" * 40


class Hub(ModuleType):
    """A hub of one repository, which notes what is asked of it, with the cache of its client."""

    def __init__(self, folder: Path, files: list[str], *, is_reachable: bool = True) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.files, self.is_reachable, self.asked = folder, files, is_reachable, list[str]()
        self.commits: dict[str, str] = {}  # of the branches and tags that files were asked for by
        self.HfApi = lambda: SimpleNamespace(model_info=self._info)

    def _info(self, repository: str, revision: str | None = None) -> Any:
        self.asked.append(f"{repository}@{revision}")
        if not self.is_reachable:
            raise OSError("no route to host")
        return SimpleNamespace(sha=SHA, siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def hf_hub_download(self, repository: str, name: str, revision: str | None) -> str:
        assert repository == "owner/name"
        if not self.is_reachable:
            raise OSError("no route to host")
        if revision != SHA:
            self.commits[revision or "main"] = SHA
        (self.folder / name).write_text("")
        return str(self.folder / name)

    def snapshot_download(
        self, repository: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        assert (repository, local_files_only) == ("owner/name", True)
        assert "config.json" in allow_patterns
        if revision != SHA and (revision or "main") not in self.commits:
            raise OSError("not in the cache")
        return str(self.folder)


def use(monkeypatch: pytest.MonkeyPatch, hub: ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)


def test_only_the_files_of_a_model_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path, FILES)
    use(monkeypatch, hub)
    assert local_folder("hf:owner/name@main") == tmp_path
    assert hub.asked == ["owner/name@main"]
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "chat_template.jinja",
    }  # fmt: skip


def test_a_path_is_never_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path, FILES)
    use(monkeypatch, hub)
    assert local_folder("owner/name") == Path("owner/name")
    assert local_folder(tmp_path) == tmp_path
    assert not hub.asked


@pytest.mark.parametrize("name", ["hf:owner/name", "hf:owner/name@v1", f"hf:owner/name@{SHA}"])
def test_an_earlier_copy_serves_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All files were asked for by the hash of the commit, so the cache did not note which one the branch had."""
    hub = Hub(tmp_path, FILES)
    use(monkeypatch, hub)
    assert local_folder(name) == tmp_path
    hub.is_reachable = False
    assert local_folder(name) == tmp_path
    with pytest.raises(ModelNotFoundError, match=r"cannot be downloaded .*no route to host.*check the name"):
        local_folder("hf:owner/name@v2")


def test_an_unfinished_download_does_not_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path, FILES)
    use(monkeypatch, hub)
    fetch = hub.hf_hub_download

    def lose_connection(repository: str, name: str, revision: str | None) -> str:
        hub.is_reachable = not name.endswith(".safetensors")
        return fetch(repository, name, revision)

    monkeypatch.setattr(hub, "hf_hub_download", lose_connection)
    for _ in range(2):
        with pytest.raises(ModelNotFoundError, match="cannot be downloaded"):
            local_folder("hf:owner/name")


def test_a_complete_download_serves_without_the_note_of_its_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was lost in the request for the note made the whole download fail."""
    hub = Hub(tmp_path, FILES)
    use(monkeypatch, hub)
    fetch = hub.hf_hub_download

    def lose_connection(repository: str, name: str, revision: str | None) -> str:
        hub.is_reachable = revision == SHA
        return fetch(repository, name, revision)

    monkeypatch.setattr(hub, "hf_hub_download", lose_connection)
    assert local_folder("hf:owner/name") == tmp_path


def test_a_branch_that_moved_during_the_download_does_not_serve_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(tmp_path, FILES)
    use(monkeypatch, hub)
    assert local_folder("hf:owner/name") == tmp_path
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "config.json").write_text("")  # what the request for the note fetched of the new commit
    hub.is_reachable = False
    monkeypatch.setattr(hub, "snapshot_download", lambda _repository, **_more: str(moved))
    with pytest.raises(ModelNotFoundError, match=r"cannot be downloaded .*no route to host"):
        local_folder("hf:owner/name")


@pytest.mark.parametrize("name", ["hf:", "hf:a/b/c", "hf:a b", "hf:owner/name:file"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not name a model"):
        local_folder(name)


def test_without_the_library_a_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    with pytest.raises(UsageError, match=r"pip install 'pretune\[hf\]'"):
        local_folder("hf:owner/name")


def test_a_repository_without_safetensors_is_refused() -> None:
    with pytest.raises(ModelError, match=r"only as a pickle \(pytorch_model\.bin\)"):
        choose_files(["config.json", "pytorch_model.bin", "tokenizer.json"], "hf:owner/name")
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        choose_files(["README.md"], "hf:owner/name")
