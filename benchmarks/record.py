"""Write the figures of a finished run as JSON, with machine and commit: `python benchmarks/record.py RUN NAME`.

Everything is read from the logs; RUN is a run folder, or any folder with stage folders in it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from pretune.runtime.events import Event, read_run
from pretune.version import VERSION

RESULTS = Path(__file__).parent / "results"
_KINDS = ("estimate", "plan", "plan_corrected", "references", "chosen", "test", "comparison", "stage_finished")


def main() -> None:
    run, name = Path(sys.argv[1]), sys.argv[2]
    events = read_run(run)
    result = {
        "name": name,
        "version": VERSION,
        "commit": git("rev-parse", "HEAD"),
        "machine": {"chip": chip(), "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "events": [_plain(event) for event in events if event["event"] in _KINDS],
        "last_pretraining_evaluation": _last(events, "pretrain"),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}\n")


def _last(events: list[Event], stage: str) -> dict[str, Any] | None:
    found = [event for event in events if event["event"] == "evaluation" and event["stage"] == stage]
    return _plain(found[-1]) if found else None


def _plain(event: Event) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("time", "sentences", "config", "inputs")}


def chip() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
