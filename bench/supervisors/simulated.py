"""The daemon of ``bench/simulated.py``, of whatever commit the running Python has, with workers that tell
``lines`` that they began, ignore SIGTERM where a file says so, and on SIGUSR1 go on without a word.

PYTHON -P bench/supervisors/simulated.py daemon     PYTHON is a checkout's own; WAGUARD_… as always
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import waguard
from waguard.wire.worker import WorkerSpec

sys.path.append(str(Path(waguard.__file__).parents[1]))

from bench import simulated

LINES = Path(os.environ["BENCH_LINES"])


def job(spec: WorkerSpec) -> int:
    """One worker."""
    with LINES.open("ab", buffering=0) as lines:
        lines.write(f"{spec.session} {os.getpid()}\n".encode())
    if LINES.with_name(f"stubborn-{spec.session}").exists():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))
    return simulated.job(spec)


if __name__ == "__main__":
    simulated.__file__ = __file__  # its fork server is this script
    if sys.argv[1] == "daemon":
        sys.exit(asyncio.run(simulated._daemon()))  # noqa: SLF001
    from waguard.worker import fork_server

    fork_server.main(job)
