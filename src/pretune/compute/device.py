"""Which device, how many threads, which precision, and whether compiling is possible: found out once, said aloud."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from pretune.compute.malloc import keep_freed_memory
from pretune.errors import UsageError
from pretune.runtime.workers import num_cores

_OLDEST_COMPILED_CHIP = (7, 0)  # compute capability that Triton's code needs
_TEST_PRECISION = "PRETUNE_TEST_PRECISION"


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a training run computes on. Two runs are bit-identical only if all of this is the same."""

    device: str
    threads: int
    precision: Literal["bf16", "fp32"]
    is_compiled: bool
    torch_version: str
    chip: str
    processes: int = 1

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def describe(self) -> str:
        """Chip, threads, precision, and whether it is compiled, in words."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.chip}, {threads}, {self.precision}, {'compiled' if self.is_compiled else 'not compiled'}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def use_threads(threads: int | None) -> None:
    """Compute with so many threads from now on; None leaves their number as it is. Raises UsageError where it cannot
    help: threads beyond the cores wait for each other, and training becomes many times slower."""
    if threads is None:
        return
    if not 1 <= threads <= num_cores():
        raise UsageError(
            f"--threads is {threads}; expected 1 to {num_cores()}, the cores that this process may use here."
        )
    torch.set_num_threads(threads)


def refuse_without_compiler(compile: str) -> None:
    """Raise UsageError where compiling is asked for by name and nothing here can do it."""
    device = device_at_hand()
    if compile == "on" and not can_compile(device):
        raise UsageError(
            f"--compile on needs {needed_to_compile(device)}, which is not found here; install it, or leave --compile "
            "away: the uncompiled path is used then."
        )


def device_at_hand() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_compute(
    *, precision: str = "auto", compile: str = "auto", is_worth_compiling: bool = True, processes: int = 1
) -> Compute:
    """The device at hand; `auto` takes bf16 where the chip multiplies in it and compiles where that gains anything and
    `is_worth_compiling`: where the run is long enough to earn it back.

    On the CPU the process keeps from now on what its tensors free.
    """
    device = device_at_hand()
    if device == "cpu":
        keep_freed_memory()
    else:  # what is left in fp32 is meant to be in fp32, so advice to use fewer bits is of no use to anybody
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    if precision == "auto":
        precision = "bf16" if multiplies_in_bf16(device) else "fp32"
    is_compiled = compile == "on"
    if compile == "auto":
        is_compiled = is_worth_compiling and gains_from_compiling(device, precision) and can_compile(device)
    if is_compiled:
        use_own_compile_cache()
    return Compute(
        device=device,
        threads=torch.get_num_threads(),
        precision="bf16" if precision == "bf16" else "fp32",
        is_compiled=is_compiled,
        torch_version=torch.__version__,
        chip=chip_name(device),
        processes=processes,
    )


def multiplies_in_bf16(device: str) -> bool:
    """Whether bf16 products are faster than fp32 ones: elsewhere they are emulated, at a thirtieth of the speed.

    The tests set PRETUNE_TEST_PRECISION to bf16 or fp32, so that one machine can check what the other kind would do.
    """
    if os.environ.get(_TEST_PRECISION):
        return os.environ[_TEST_PRECISION] == "bf16"
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def gains_from_compiling(device: str, precision: str) -> bool:
    """Whether compiled code trains faster than uncompiled: not on a CPU in fp32, whose matrix products outweigh all
    that compiling saves beside them (docs/performance.md)."""
    return device == "cuda" or precision == "bf16"


def can_compile(device: str) -> bool:
    """Whether torch.compile has what it needs for this device."""
    if device == "cuda":
        is_new_enough = torch.cuda.get_device_capability() >= _OLDEST_COMPILED_CHIP
        return is_new_enough and find_spec("triton") is not None and _is_there("CC", "gcc", "cc", "clang")
    return _is_there("CXX", "g++", "clang++", "c++")


def needed_to_compile(device: str) -> str:
    """What `can_compile` looks for, in words."""
    if device == "cuda":
        return "Triton, a C compiler (gcc, clang, or what CC names) and a GPU of compute capability 7.0 or more"
    return "a C++ compiler (g++, clang++, c++, or what CXX names)"


def _is_there(variable: str, *programs: str) -> bool:
    return any(shutil.which(name) for name in (os.environ.get(variable, ""), *programs) if name)


@contextmanager
def in_fixed_order(device: str) -> Iterator[None]:
    """Within this block a GPU adds in a fixed order, as a run needs that goes on with the same bits: attention's
    backward pass would not. A CPU does anyway.

    What pretune sets for matrix products (CUBLAS_WORKSPACE_CONFIG) must be in the environment before torch is loaded.
    """
    if device != "cuda":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # none is read unwritten
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]


def compile_options(device: str) -> dict[str, Any] | None:
    """Settings of torch.compile: for a GPU, code chosen by rules and not by the clock, so that it is the same in every
    process. None for a CPU."""
    if device != "cuda":
        return None
    import torch._inductor.config as known

    options = {"deterministic": True} if hasattr(known, "deterministic") else {}
    return {**options, "triton.cudagraphs": False}


def use_own_compile_cache() -> None:
    """Keep compiled code in a private folder: the default lies in a shared one, and it holds pickles."""
    folder = _compile_cache()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def has_compiled_before() -> bool:
    """Whether anything is in the cache of compiled code, so that compiling may be short."""
    folder = _compile_cache()
    return folder.is_dir() and any(folder.iterdir())


def _compile_cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "pretune" / f"compiled-torch-{torch.__version__}"


def chip_name(device: str) -> str:
    """The processor's name, for the record."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = _cpu_info()
    return info.get("model name", platform.processor() or platform.machine())


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cpu_flags() -> set[str]:
    return set(_cpu_info().get("flags", "").split())
