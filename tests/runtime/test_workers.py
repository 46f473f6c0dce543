import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.errors import InputDataError, OutOfResourcesError, UsageError
from pretune.runtime import workers
from pretune.runtime.workers import MAX_ATTEMPTS, describe_engine, num_cores, open_engine, parse_engine

PROCESS_ENGINES = [
    "processes",
    pytest.param("dask", marks=pytest.mark.slow),
    pytest.param("ray", marks=pytest.mark.slow),
]


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise InputDataError("part 3 is damaged; get it again.")
    return number


def who(_number: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def die_once(marker: str, number: int) -> int:
    """Exits silently the first time that it is called for number 2."""
    if number == 2 and not Path(marker).exists():
        Path(marker).touch()
        os._exit(9)
    return number


def die_in_turn(folder: str, number: int) -> int:
    """Exits the first time that it is called for each number above zero."""
    marker = Path(folder) / str(number)
    if number and not marker.exists():
        marker.touch()
        time.sleep(0.3)  # until earlier results have been received
        os._exit(9)
    return number


def die(_number: int) -> None:
    os._exit(9)


def skip_without(engine: str) -> None:
    library = {"dask": "distributed", "ray": "ray"}.get(engine)
    if library:
        pytest.importorskip(library, reason=f"{library} is not installed: pip install 'pretune[{engine}]'")


@pytest.mark.parametrize("text", ["auto", "threads", "processes", "dask", "ray"])
def test_engines_without_an_address(text: str) -> None:
    assert parse_engine(text) == (text, None)


def test_engines_with_an_address() -> None:
    assert parse_engine("dask://10.0.0.1:8786") == ("dask", "10.0.0.1:8786")


@pytest.mark.parametrize("text", ["spark", "", "threads://x", "dask://", "DASK"])
def test_other_engines_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected auto, threads, processes, dask or ray"):
        parse_engine(text)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_a_container_has_as_many_cores_as_its_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, cores: int
) -> None:
    """There were workers and threads for all cores of the machine, which had to share the time of two."""
    (tmp_path / "cpu.max").write_text(f"{limit}\n", encoding="ascii")
    monkeypatch.setattr(workers, "_CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    assert num_cores() == cores
    monkeypatch.setattr(workers, "_CPU_LIMIT", tmp_path / "none")
    assert num_cores() == 8


@pytest.mark.parametrize(("engine", "workers"), [("threads", 1), ("threads", 3)])
def test_threads(engine: str, workers: int) -> None:
    seen = []
    with open_engine(engine, workers) as opened:
        assert opened.map(double, [(n,) for n in range(20)], lambda n, r: seen.append((n, r))) == list(range(0, 40, 2))
        assert sorted(seen) == [(n, 2 * n) for n in range(20)]
        assert opened.map(double, []) == []
        with pytest.raises(InputDataError, match="part 3 is damaged"):
            opened.map(refuse, [(n,) for n in range(20)])


@pytest.mark.filterwarnings("ignore")  # the engines' libraries warn about themselves
@pytest.mark.parametrize("engine", PROCESS_ENGINES)
def test_processes_return_results_and_errors_and_survive_a_death(engine: str, tmp_path: Path) -> None:
    skip_without(engine)
    with open_engine(engine, 2) as opened:
        pids = set[int]()
        for _ in range(50):  # where the second worker starts late, the first one does all tasks
            pids.update(opened.map(who, [(n,) for n in range(8)]))
            if len(pids) > 1:
                break
        assert os.getpid() not in pids
        assert len(pids) == 2
        assert opened.map(double, [(n,) for n in range(20)]) == list(range(0, 40, 2))
        with pytest.raises(InputDataError, match=r"^part 3 is damaged; get it again\.$"):
            opened.map(refuse, [(n,) for n in range(6)])
        assert opened.map(die_once, [(str(tmp_path / "died"), n) for n in range(6)]) == list(range(6))
        assert (tmp_path / "died").exists()
        assert opened.peak_memory_bytes > 30_000_000


@pytest.mark.slow
def test_deaths_with_work_done_in_between_are_not_in_a_row(tmp_path: Path) -> None:
    numbers = list(range(2 + MAX_ATTEMPTS))
    with open_engine("processes", 1) as opened:
        assert opened.map(die_in_turn, [(str(tmp_path), number) for number in numbers]) == numbers


def test_workers_that_keep_dying_are_given_up() -> None:
    sentence = r"died 4 times in a row.* with fewer --workers"
    with open_engine("processes", 1) as opened, pytest.raises(OutOfResourcesError, match=sentence):
        opened.map(die, [(0,)])


def test_auto_starts_processes_only_for_much_text() -> None:
    with open_engine("auto", 2, amount=1000) as small:
        assert describe_engine(small) == "one thread"
    with open_engine("auto", 2, amount=10**9) as large:
        assert describe_engine(large) == "2 processes"
    with open_engine("auto", 1, amount=10**9) as single:
        assert describe_engine(single) == "one thread"


def test_a_script_without_a_guard_does_not_start_itself_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from pretune.runtime.workers import open_engine\n"
        "print('started')\n"
        "with open_engine('processes', 2) as engine:\n"
        "    print(engine.map(operator.neg, [(1,), (2,)]))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "started\n[-1, -2]\n"


def test_a_file_in_the_working_folder_is_not_imported_by_workers(tmp_path: Path) -> None:
    """A pickle.py there was run in place of Python's own."""
    (tmp_path / "pickle.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    script = tmp_path / "elsewhere" / "script.py"  # whose folder is the first that it imports from
    script.parent.mkdir()
    script.write_text(
        "import operator, os\n"
        "from pretune.runtime.workers import open_engine\n"
        "if __name__ == '__main__':\n"
        "    with open_engine('processes', 2) as engine:\n"
        "        print(engine.map(operator.neg, [(1,), (2,)]), os.environ.get('PYTHONSAFEPATH'))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[-1, -2] None\n", "")


def test_workers_end_with_a_process_that_is_killed(wait_until_ended: Callable[[int], None]) -> None:
    script = [
        "import os, time, signal",
        "from pretune.runtime.workers import open_engine",
        "with open_engine('processes', 1) as engine:",
        "    print(engine.map(os.getpid, [()])[0], flush=True)",
        "    os.kill(os.getpid(), signal.SIGKILL)",
    ]
    killed = subprocess.run([sys.executable, "-c", "\n".join(script)], capture_output=True, text=True, timeout=60)
    wait_until_ended(int(killed.stdout))


def test_blocks_with_new_processes_may_overlap() -> None:
    main, path = sys.modules["__main__"], os.environ.get("PYTHONSAFEPATH")
    one, other = workers.guarded_start(), workers.guarded_start()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert sys.modules["__main__"] is not main
    assert os.environ["PYTHONSAFEPATH"] == "1"
    other.__exit__(None, None, None)
    assert sys.modules["__main__"] is main
    assert os.environ.get("PYTHONSAFEPATH") == path
