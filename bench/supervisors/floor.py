"""The least that a supervisor with Python workers can cost: bare asyncio, pidfds, and a fork server that has
a worker's imports done.

PYTHON -P bench/supervisors/floor.py NAME…     BENCH_LINES as with ``simulated.py``
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from pathlib import Path

LINES = Path(os.environ["BENCH_LINES"])


def serve(control: socket.socket) -> None:
    """Fork a worker for each name; its pid is the answer."""
    import waguard.worker.main  # noqa: F401, PLC0415 - what a worker needs, and the supervisor not

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    gc.freeze()
    while name := control.recv(64).decode():
        if (pid := os.fork()) == 0:
            if LINES.with_name(f"stubborn-{name}").exists():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            LINES.open("ab", buffering=0).write(f"{name} {os.getpid()}\n".encode())
            while True:
                signal.pause()
        control.send(b"%d" % pid)


async def supervise(control: socket.socket, names: list[str]) -> None:
    """Keep one worker of each name until SIGTERM, which they get a second for."""
    loop, stopping, workers = asyncio.get_running_loop(), asyncio.Event(), dict[int, int]()

    def spawn(name: str) -> None:
        control.send(name.encode())
        pid = int(control.recv(64))
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            loop.call_soon(spawn, name)
        else:
            workers[descriptor] = pid
            loop.add_reader(descriptor, ended, descriptor, name)

    def ended(descriptor: int, name: str) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        del workers[descriptor]
        if not stopping.is_set():
            spawn(name)

    def end(number: signal.Signals) -> None:
        for descriptor in workers:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)

    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    for name in names:
        spawn(name)
    await stopping.wait()
    end(signal.SIGTERM)
    end(signal.SIGCONT)
    late = loop.time() + 1.0
    while workers and loop.time() < late:
        await asyncio.sleep(0.001)
    end(signal.SIGKILL)


if __name__ == "__main__":
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        serve(theirs)
        sys.exit()
    theirs.close()
    asyncio.run(supervise(ours, sys.argv[1:]))
