"""The live server beside a run that trains: a process of its own, at low priority, that ends with the run's process.

`python -m pretune.live.child RUN` prints its address and serves until its standard input is closed. That happens even
if the process that started it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from pretune.live.follow import signature_of
from pretune.live.server import LiveServer, open_in_browser

_NICE = 10


def main(run: Path) -> None:
    """Serve the page of a run that has perhaps not begun yet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which saves its work first
    os.environ["OMP_NUM_THREADS"] = "1"  # typed texts must not take the cores of the training
    os.nice(_NICE)
    server = LiveServer(run)
    sys.stdout.write(f"{server.address}\n")
    sys.stdout.flush()
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    threading.Thread(target=_open_when_begun, args=(server, run), daemon=True).start()
    server.serve()
    os._exit(0)  # without waiting for a text that is being traced


def _stop_with_parent(server: LiveServer) -> None:
    sys.stdin.buffer.read()
    server.stop()


def _open_when_begun(server: LiveServer, run: Path) -> None:
    """Open the browser once there is something to see, and not if the run is refused at its start."""
    while not signature_of(run):
        time.sleep(0.5)
    open_in_browser(server.address)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
