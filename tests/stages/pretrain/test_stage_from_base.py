"""Stage 3 from a base: it begins with the base's loss, keeps its shape, and hands on what the base has learned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.errors import InputDataError, StageDiffersError, UsageError
from pretune.model.folder import load_model_folder, read_stop_ids
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.training import read_phase
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.forecast import forecast
from pretune.stages.pretrain.stage import pretrain
from pretune.text.document_store import iter_corpus
from pretune.text.seen_texts import PRETRAINING, TRAINING, load_seen, save_seen

SETTINGS: dict[str, Any] = {
    "tokens": 4200,
    "row_tokens": 16,
    "tokens_per_step": 128,
    "long_row_tokens": 32,
    "evaluations": 4,
    "optimizer": "adamw",
    "compile": "off",
}


def run(source: Path, out: Path, base: Path, **settings: Any) -> Manifest:
    return pretrain(source, out, PretrainConfig(**{**SETTINGS, **settings}), base=base)


def of_kind(folder: Path, kind: str) -> list[Event]:
    return [event for event in read_events(folder) if event["event"] == kind]


@pytest.fixture(scope="module")
def base(pretrained: Callable[[PretrainConfig], Path]) -> Path:
    return pretrained(PretrainConfig(**SETTINGS, size="tiny"))


@pytest.fixture(scope="module")
def out(preprocessed_folder: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage") / "pretrain"
    run(preprocessed_folder, folder, base)
    return folder


def test_before_any_update_it_is_the_base(base: Path, out: Path) -> None:
    """The first evaluation is the last one of the base on the same text, to the bit, and so is what is predicted."""
    [*_, last], [first, *_] = of_kind(base, "evaluation"), of_kind(out, "evaluation")
    assert (first["step"], first["tokens"]) == (0, 0)
    for name in ("loss", "accuracy", "n", "loss_error", "sentences"):
        assert first[name] == last[name]


def test_it_goes_on_learning_with_the_same_shape(base: Path, out: Path) -> None:
    rows = of_kind(out, "evaluation")
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1
    before, after = (load_model_folder(folder / "checkpoint") for folder in (base, out))
    assert before.config == after.config
    assert not torch.equal(*(m.model.state_dict()["transformer.embed_tokens.weight"] for m in (before, after)))
    assert (out / "checkpoint" / "tokenizer.json").read_bytes() == (base / "checkpoint" / "tokenizer.json").read_bytes()


def test_the_manifest_and_the_log_name_the_base(base: Path, out: Path) -> None:
    manifest, earlier = read_manifest(out, "pretrain"), read_manifest(base).summary
    [started] = of_kind(out, "started_from")
    lineage = manifest.summary["base"]
    assert manifest.inputs["base"] == lineage["fingerprint"] == started["fingerprint"]
    assert (lineage["steps"], lineage["tokens"]) == (earlier["steps"], earlier["tokens"])
    assert lineage["path"] == str(base)
    assert f"(tiny, trained on {earlier['tokens']:,} tokens)" in started["sentence"]
    kinds = [event["event"] for event in read_events(out)]
    assert kinds[:2] == ["stage_started", "notice"]
    assert kinds.index("started_from") < kinds.index("references")
    assert "base" not in read_manifest(base).inputs


def test_the_trace_shows_the_loss_of_the_base(base: Path, out: Path) -> None:
    phase, before = read_phase(read_events(out), "pretrain"), read_phase(read_events(base), "pretrain")
    assert phase is not None
    assert before is not None
    found = {each.id: each.value for each in phase.loss_references}
    assert found["base"] == phase.evaluations[0].loss == before.evaluations[-1].loss
    assert "base" not in {each.id for each in before.loss_references}
    assert phase.evaluations[0].summary.startswith("before training: the base is ")
    assert phase.size == "tiny"


def test_the_page_says_where_training_started(base: Path, out: Path) -> None:
    trace = build_run_trace(out)
    [stage] = trace.stages
    [said] = [message.sentence for message in stage.messages if "starts from" in message.sentence]
    assert said.startswith(f"Training starts from {base.name} (tiny, trained on")  # no path of this machine
    checks = {check.id: check.is_ok for check in trace.checks}
    assert "I18" not in checks  # a base does not begin with a guess
    assert all(checks.values())
    assert "I18" in {check.id for check in build_run_trace(base).checks}


def test_what_the_base_has_learned_stays_recorded(base: Path, preprocessed_folder: Path, tmp_path: Path) -> None:
    known = shutil.copytree(base, tmp_path / "known")
    source = shutil.copytree(preprocessed_folder, tmp_path / "source")
    save_seen(known, PRETRAINING, ["an old text", "The sun rises in the east."])
    save_seen(source, PRETRAINING, ["a new text"])
    save_seen(known, TRAINING, ["a question"])  # of conversations
    run(source, tmp_path / "out", known, tokens=2600, evaluations=1)
    seen = load_seen(tmp_path / "out" / "checkpoint", PRETRAINING)
    assert seen is not None
    assert seen.among(["an old text", "a new text", "another"]).tolist() == [True, True, False]
    assert seen.is_complete
    of_training = load_seen(tmp_path / "out", TRAINING)
    assert of_training is not None and of_training.count_among(["a question", "another"]) == 1
    # Of a copy that lies alone it is not known what it has learned, so no text may be called unseen.
    alone = shutil.copytree(base / "checkpoint", tmp_path / "alone")
    run(source, tmp_path / "next", alone, tokens=2600, evaluations=1)
    seen = load_seen(tmp_path / "next" / "checkpoint", PRETRAINING)
    assert seen is not None
    assert seen.count_among(["a new text"]) == 1
    assert seen.count_among(["an old text"]) is None


def test_validation_documents_that_the_base_has_learned_are_said(
    base: Path, preprocessed_folder: Path, tmp_path: Path
) -> None:
    known = shutil.copytree(base, tmp_path / "known")
    held_out = [row["text"] for row in iter_corpus(preprocessed_folder) if row["split"] == "validation"]
    save_seen(known, PRETRAINING, held_out[:1])
    run(preprocessed_folder, tmp_path / "out", known, tokens=2600, evaluations=1)
    [warning] = of_kind(tmp_path / "out", "warning")
    count = held_out.count(held_out[0])
    assert warning["count"] == count
    assert warning["sentence"].startswith(f"The base was pre-trained on {count} of the first 30 validation documents")


def test_all_tokens_that_end_a_text_of_the_base_stay(base: Path, preprocessed_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base / "checkpoint", tmp_path / "base")
    (folder / "manifest.json").unlink()
    (folder / "generation_config.json").write_text('{"eos_token_id": [9, 7]}')
    [eos] = read_stop_ids(base / "checkpoint")
    for objective, expected in (("causal", {eos, 7, 9}), ("masked", {eos})):
        out = tmp_path / objective
        run(preprocessed_folder, out, folder, tokens=2600, evaluations=1, objective=objective)
        assert read_stop_ids(out / "checkpoint") == expected
    fields = json.loads((tmp_path / "causal" / "checkpoint" / "generation_config.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    assert fields == {name: config[name] for name in ("bos_token_id", "pad_token_id")} | {
        "eos_token_id": sorted({eos, 7, 9})
    }


def test_another_base_is_another_stage(out: Path, preprocessed_folder: Path, run_folder: Path, base: Path) -> None:
    with pytest.raises(StageDiffersError, match="input base"):
        run(preprocessed_folder, out, run_folder)
    with pytest.raises(StageDiffersError, match="input base"):
        run(preprocessed_folder, base, run_folder, size="auto")
    assert run(preprocessed_folder, out, base / "checkpoint") == read_manifest(out)  # the same base by another path


def test_a_refused_base_leaves_nothing(preprocessed_folder: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--size is micro"):
        run(preprocessed_folder, tmp_path / "out", base, size="micro")
    with pytest.raises(InputDataError, match="The budget is enough for"):
        run(preprocessed_folder, tmp_path / "out", base, tokens=300)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_knows_the_base(preprocessed_folder: Path, out: Path, base: Path) -> None:
    found = forecast(preprocessed_folder, PretrainConfig(**SETTINGS), base=base)
    [plan], [estimate] = of_kind(out, "plan"), of_kind(out, "estimate")
    assert (found.plan.steps, found.size) == (plan["steps"], "tiny")
    assert (found.parameters, found.disk_bytes) == (estimate["parameters"], estimate["disk_bytes"])
    with pytest.raises(UsageError, match="--size is micro"):
        forecast(preprocessed_folder, PretrainConfig(**{**SETTINGS, "size": "micro"}), base=base)
    with pytest.raises(InputDataError, match="or a smaller --tokens-per-step"):  # no smaller --size, which is refused
        forecast(preprocessed_folder, PretrainConfig(**{**SETTINGS, "tokens": None, "minutes": 0.001}), base=base)
