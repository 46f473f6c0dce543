import json
import shutil
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.errors import FolderInTheWayError, InputDataError, UsageError
from pretune.exporting.export_tokens import export
from pretune.runtime.atomic import verify_folder, write_json
from pretune.runtime.manifest import read_manifest, sealed
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def source(preprocessed_folder: Path) -> Path:
    """A preprocess folder whose manifest is like that of a real one."""
    tokenizer = load_tokenizer(preprocessed_folder)
    manifest = read_manifest(preprocessed_folder)
    manifest.summary.update(special_ids=tokenizer.special_ids, vocab_size=tokenizer.vocab_size)
    write_json(preprocessed_folder / "manifest.json", sealed(vars(manifest)))
    return preprocessed_folder


@pytest.mark.parametrize(
    ("format", "endings"),
    [("parquet", [".parquet"]), ("datatrove", [".ds", ".ds.index", ".ds.metadata"]), ("megatron", [".bin", ".idx"])],
)
def test_both_splits_with_the_tokenizer(source: Path, tmp_path: Path, format: str, endings: list[str]) -> None:
    done = export(source, tmp_path / "out", format)  # type: ignore[arg-type]
    files = {f"{split}{ending}" for split in ("train", "validation") for ending in endings}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *files, "manifest.json", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    assert {file.name for part in done for file in part.files} == files
    assert all(file.is_file() for part in done for file in part.files)
    assert [part.tokens for part in done] == [TokenShard(source, s).num_tokens for s in ("train", "validation")]
    about = verify_folder(tmp_path / "out")
    assert about is not None and (about["format"], about["special_ids"]["mask"]) == (format, 3)
    assert load_tokenizer(tmp_path / "out").vocab_size == about["vocab_size"]


def test_a_foreign_tokenizer_goes_with_the_tokens_whatever_files_it_has(source: Path, tmp_path: Path) -> None:
    foreign, manifest = shutil.copytree(source, tmp_path / "foreign"), read_manifest(source)
    (foreign / "tokenizer_config.json").unlink()
    del manifest.outputs["tokenizer_config.json"]
    write_json(foreign / "manifest.json", sealed(vars(manifest)))
    (foreign / "special_tokens_map.json").write_text('{"eos_token": "[EOS]"}')
    export(foreign, tmp_path / "out", "megatron")
    names = {file.name for file in (tmp_path / "out").glob("*.json")}
    assert names == {"manifest.json", "tokenizer.json", "special_tokens_map.json"}


def test_a_view_has_a_shape_and_padding(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(source), "--to", "parquet", "--view", "rows", "--out", str(tmp_path / "a"), "--json"]
    assert run_command_line(words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["split"] for row in rows] == ["train", "validation"]
    assert rows[0]["shape"][1] == 50
    assert rows[0]["padding_share"] == pytest.approx(1 - rows[0]["tokens"] / (rows[0]["shape"][0] * 50))
    words = ["export", str(source), "--to", "parquet", "--view", "packed", "--row-tokens", "64"]
    assert run_command_line([*words, "--out", str(tmp_path / "b")]) == 0
    assert " x 64 tokens (" in capsys.readouterr().out


def test_existing_files_are_not_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderInTheWayError, match="already exists and is not overwritten"):
        export(source, tmp_path, "megatron")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_settings_that_do_not_fit_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--view is only for parquet; readers of megatron files"):
        export(source, tmp_path / "out", "megatron", view="rows")
    with pytest.raises(UsageError, match="--row-tokens is 0; expected at least 1"):
        export(source, tmp_path / "out", "parquet", view="rows", row_tokens=0)
    with pytest.raises(UsageError, match="expected --view rows or --view packed with it"):
        export(source, tmp_path / "out", "parquet", row_tokens=50)
    with pytest.raises(UsageError, match="'xyz' is not a token format; expected one of parquet, datatrove, megatron"):
        export(source, tmp_path / "out", "xyz")  # type: ignore[arg-type]
    with pytest.raises(InputDataError, match="does not exist"):
        export(tmp_path / "none", tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()
