"""Precision and compilation are chosen by what the chip and the machine can do, and described as text."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretune.compute import device
from pretune.compute.device import (
    can_compile,
    choose_compute,
    compile_options,
    has_compiled_before,
    multiplies_in_bf16,
    refuse_without_compiler,
    restored_threads,
    use_own_compile_cache,
    use_threads,
)
from pretune.errors import UsageError


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def without_a_given_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests check what is detected on the machine."""
    monkeypatch.delenv("PRETUNE_TEST_PRECISION", raising=False)


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_tests_can_choose_what_auto_means(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    chip_with({"bf16": "avx512f", "fp32": "avx512_bf16"}[precision], monkeypatch)
    monkeypatch.setenv("PRETUNE_TEST_PRECISION", precision)
    assert choose_compute(compile="off").precision == precision


def chip_with(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"model name": "Example 9000 @ 3GHz", "flags": f"sse avx2 {flags}"}
    monkeypatch.setattr(device, "_cpu_info", lambda: info)


@pytest.mark.parametrize(("flags", "expected"), [("avx512f", "fp32"), ("avx512_bf16", "bf16"), ("amx_bf16", "bf16")])
@pytest.mark.usefixtures("on_cpu")
def test_bf16_is_used_if_the_chip_multiplies_in_it(monkeypatch: pytest.MonkeyPatch, flags: str, expected: str) -> None:
    chip_with(flags, monkeypatch)
    compute = choose_compute(compile="off")
    assert (compute.precision, compute.device, compute.chip) == (expected, "cpu", "Example 9000 @ 3GHz")
    assert compute.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[expected]
    assert choose_compute(compile="off", precision="fp32").dtype == torch.float32
    assert choose_compute(compile="off", precision="bf16").dtype == torch.bfloat16


@pytest.mark.usefixtures("on_cpu")
def test_compiling_needs_a_compiler_a_gain_and_a_long_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    assert not can_compile("cpu")
    assert not choose_compute().is_compiled
    monkeypatch.setattr(device.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "g++" else None)
    assert can_compile("cpu")
    assert choose_compute(precision="bf16").is_compiled
    assert not choose_compute(precision="fp32").is_compiled
    assert choose_compute(precision="fp32", compile="on").is_compiled
    assert not choose_compute(precision="bf16", is_worth_compiling=False).is_compiled
    assert not choose_compute(compile="off").is_compiled


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("is_known", [True, False])
def test_without_a_place_for_compiled_code_training_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_known: bool
) -> None:
    """In a container whose home folder is read-only, or that has none, a run ended before its first update."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(device, "can_compile", lambda _device: True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file") if is_known else "")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert not choose_compute(precision="bf16").is_compiled
    assert not choose_compute(compile="on").is_compiled
    problem = r"file/pretune\S* .*\(Not a directory\)" if is_known else r"the folder of compiled code .*\(Could not.*\)"
    with pytest.raises(UsageError, match=rf"^--compile on is not possible: .*{problem}; XDG_CACHE_HOME .*, or omit"):
        refuse_without_compiler("on")
    refuse_without_compiler("auto")


@pytest.mark.parametrize(
    ("chip", "triton", "program", "expected"),
    [
        ((9, 0), True, "gcc", True),
        ((9, 0), True, "clang", True),
        ((9, 0), True, "g++", False),  # Triton needs a C compiler
        ((9, 0), False, "gcc", False),
        ((6, 1), True, "gcc", False),
    ],
)
def test_compiling_for_a_gpu_needs_triton_and_a_c_compiler(
    chip: tuple[int, int], triton: bool, program: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: chip)
    monkeypatch.setattr(device, "find_spec", lambda name: object() if triton and name == "triton" else None)
    monkeypatch.setattr(device.shutil, "which", lambda name: f"/usr/bin/{name}" if name == program else None)
    assert can_compile("cuda") == expected


def test_the_first_compilation_is_distinguished_from_later_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    assert not has_compiled_before()
    use_own_compile_cache()
    assert not has_compiled_before()
    (next((tmp_path / "pretune").iterdir()) / "ab").mkdir()
    assert has_compiled_before()


def test_threads_are_set_or_left_alone() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
        use_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_threads_are_no_more_than_a_container_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = list[int]()
    monkeypatch.setattr(device, "num_cores", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for threads in (1, 2, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        use_threads(None)
    assert chosen == [2]
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    use_threads(None)
    assert chosen == [2]


@pytest.mark.usefixtures("on_cpu")
def test_only_a_run_that_is_to_be_compiled_makes_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "unchanged")
    monkeypatch.setattr(device, "_is_there", lambda *_programs: True)
    assert can_compile("cpu")
    assert not choose_compute(compile="off").is_compiled
    assert not choose_compute(precision="fp32").is_compiled
    assert not any(tmp_path.iterdir())
    assert choose_compute(compile="on").is_compiled
    assert any(tmp_path.iterdir())


def test_compiled_code_is_in_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    use_own_compile_cache()
    folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert folder.is_relative_to(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


@pytest.mark.usefixtures("on_cpu")
def test_a_compute_is_described_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    chip_with("avx2", monkeypatch)
    one = replace(choose_compute(compile="off"), threads=1)
    assert one.describe() == "Example 9000 @ 3GHz, 1 thread, fp32, not compiled"
    two = replace(one, threads=2, precision="bf16", is_compiled=True)
    assert two.describe() == "Example 9000 @ 3GHz, 2 threads, bf16, compiled"


@pytest.mark.usefixtures("on_cpu")
def test_the_record_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    chip_with("avx2", monkeypatch)
    record = choose_compute(compile="off").to_dict()
    assert record["torch_version"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()
    assert all(isinstance(value, str | int | bool) for value in record.values())


def test_a_machine_without_cpuinfo_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_info", dict)
    assert device.chip_name("cpu")
    assert not multiplies_in_bf16("cpu")


def test_a_gpu_adds_in_a_fixed_order_only_within_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    with device.in_fixed_order("cpu"):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError, match="in between"), device.in_fixed_order("cuda"):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()  # a warning would not change attention
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        raise ValueError("in between")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]  # from the import of pretune


def test_compiled_code_for_a_gpu_is_chosen_by_rules() -> None:
    assert compile_options("cpu") is None
    assert compile_options("cuda") == {"deterministic": True, "triton.cudagraphs": False}
    from torch._inductor import config

    assert {
        "deterministic",
        "triton.cudagraphs",
    } <= config.get_config_copy().keys()  # unknown options would be rejected


@pytest.mark.gpu
def test_a_gpu_is_used_if_there_is_one() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    compute = choose_compute(compile="off")
    assert compute.device == "cuda"
    assert compute.chip == torch.cuda.get_device_name()


def test_a_number_of_threads_that_was_given_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: counts[-1])
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    with pytest.raises(KeyError), restored_threads(1):
        use_threads(1)
        raise KeyError
    assert counts == [4, 1, 4]
    with restored_threads(None):
        pass
    assert counts == [4, 1, 4]
