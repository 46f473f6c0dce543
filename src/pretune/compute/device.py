"""Choose the device, threads, precision and compilation of a run from its settings and the machine."""

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
from pretune.runtime.launch import read_launch
from pretune.runtime.memory import available_memory_bytes
from pretune.runtime.workers import num_cores

_OLDEST_COMPILED_CHIP = (7, 0)  # compute capability that Triton's code needs
_TEST_PRECISION = "PRETUNE_TEST_PRECISION"
_GIVEN_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The hardware and settings that a run computes with. Two runs are bit-identical only if all of them are equal."""

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
        """The chip, threads, precision, and whether the model is compiled, as text."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.chip}, {threads}, {self.precision}, {'compiled' if self.is_compiled else 'not compiled'}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def use_threads(threads: int | None) -> None:
    """Set the number of compute threads. None leaves it as it is, within a container's limit unless OMP_NUM_THREADS is
    set. Raises UsageError for more threads than cores: they would wait for each other, and training would be many times
    slower."""
    if threads is None:
        if torch.get_num_threads() > num_cores() and not os.environ.get(_GIVEN_THREADS):
            torch.set_num_threads(num_cores())
        return
    if not 1 <= threads <= num_cores():
        raise UsageError(
            f"--threads is {threads}; expected 1 to {num_cores()}, the number of cores that this process may use."
        )
    torch.set_num_threads(threads)


@contextmanager
def restored_threads(threads: int | None) -> Iterator[None]:
    """Within this block, stages use the given number of threads; afterwards it is what it was before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


def refuse_without_compiler(compile: str) -> None:
    """Raise UsageError if `compile` is `on` and this machine cannot compile, or has no place for compiled code."""
    device = device_at_hand()
    if compile == "on" and (reason := prepare_to_compile(device)) is not None:
        raise UsageError(
            f"--compile on is not possible: {reason}; correct that, or omit --compile to train uncompiled."
        )


def available_bytes(device: str) -> int | None:
    """The free memory of the GPU, or the share that each process of a launch has in that of the machine; None if the
    system does not say."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    available = available_memory_bytes()
    return None if available is None else available // read_launch().local_size


def device_at_hand() -> str:
    """`cuda` if there is a GPU, otherwise `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_compute(
    *, precision: str = "auto", compile: str = "auto", is_worth_compiling: bool = True, processes: int = 1
) -> Compute:
    """The hardware and settings for a run on this machine.

    With `auto`, the precision is bf16 if the chip multiplies in it, and the model is compiled if that makes training
    faster and `is_worth_compiling`, that is, the run is long enough to make up for the time it takes. On a CPU,
    the process keeps the memory that its tensors free from now on.
    """
    device = device_at_hand()
    if device == "cpu":
        keep_freed_memory()
    else:  # what remains in fp32 is meant to, so advice to use fewer bits is of no use
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    if precision == "auto":
        precision = "bf16" if multiplies_in_bf16(device) else "fp32"
    wants = compile == "on" or (compile == "auto" and is_worth_compiling and gains_from_compiling(device, precision))
    return Compute(
        device=device,
        threads=torch.get_num_threads(),
        precision="bf16" if precision == "bf16" else "fp32",
        is_compiled=wants and prepare_to_compile(device) is None,
        torch_version=torch.__version__,
        chip=chip_name(device),
        processes=processes,
    )


def multiplies_in_bf16(device: str) -> bool:
    """Whether the chip multiplies bf16 in hardware; emulated, it is thirty times slower.

    The tests set PRETUNE_TEST_PRECISION to bf16 or fp32, so that either kind of machine can run the tests of the other.
    """
    if os.environ.get(_TEST_PRECISION):
        return os.environ[_TEST_PRECISION] == "bf16"
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def gains_from_compiling(device: str, precision: str) -> bool:
    """Whether compiled code trains faster: not on a CPU in fp32, whose matrix products outweigh everything else that
    compiling saves (docs/guide/performance.md)."""
    return device == "cuda" or precision == "bf16"


def can_compile(device: str) -> bool:
    """Whether torch.compile has what it needs for this device."""
    if device == "cuda":
        is_new_enough = torch.cuda.get_device_capability() >= _OLDEST_COMPILED_CHIP
        return is_new_enough and find_spec("triton") is not None and _is_there("CC", "gcc", "cc", "clang")
    return _is_there("CXX", "g++", "clang++", "c++")


def prepare_to_compile(device: str) -> str | None:
    """Use a folder of our own for compiled code. Returns why this machine cannot compile, as text; None if it can."""
    if not can_compile(device):
        return f"compiling needs {_needed_to_compile(device)}, which was not found"
    try:
        use_own_compile_cache()
    except (OSError, RuntimeError) as error:  # a home folder that is read-only, or is not known
        place = getattr(error, "filename", None) or "the folder of compiled code"
        problem = getattr(error, "strerror", None) or error
        return f"{place} cannot be written ({problem}); XDG_CACHE_HOME can name another folder for compiled code"
    return None


def _needed_to_compile(device: str) -> str:
    """The requirements that `can_compile` checks, as text."""
    if device == "cuda":
        return "Triton, a C compiler (gcc, clang, or the one in CC) and a GPU of compute capability 7.0 or more"
    return "a C++ compiler (g++, clang++, c++, or the one in CXX)"


def _is_there(variable: str, *programs: str) -> bool:
    return any(shutil.which(name) for name in (os.environ.get(variable, ""), *programs) if name)


@contextmanager
def in_fixed_order(device: str) -> Iterator[None]:
    """Within this block, a GPU adds in a fixed order, which resuming a run bit by bit requires: the backward pass of
    attention would not do so by default. A CPU always does.

    Matrix products need CUBLAS_WORKSPACE_CONFIG as well, which pretune sets before torch is loaded.
    """
    if device != "cuda":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # nothing reads memory before writing it
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]


def compile_options(device: str) -> dict[str, Any] | None:
    """The options for torch.compile, or None for a CPU. On a GPU, kernels are chosen by rules rather than by timing, so
    that they are the same in every process."""
    if device != "cuda":
        return None
    import torch._inductor.config as inductor

    options = {"deterministic": True} if hasattr(inductor, "deterministic") else {}
    return {**options, "triton.cudagraphs": False}


def use_own_compile_cache() -> None:
    """Keep compiled code in a private folder: it contains pickles, and the default folder is in a shared one."""
    folder = _compile_cache()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def has_compiled_before() -> bool:
    """Whether the cache of compiled code has entries, so that compiling may be quick."""
    folder = _compile_cache()
    return folder.is_dir() and any(folder.iterdir())


def _compile_cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "pretune" / f"compiled-torch-{torch.__version__}"


def chip_name(device: str) -> str:
    """The name of the GPU or CPU."""
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
