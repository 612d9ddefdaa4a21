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
    gc.collect()
    gc.freeze()
    while name := control.recv(64).decode():
        if (pid := os.fork()) == 0:
            control.close()
            if LINES.with_name(f"stubborn-{name}").exists():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with LINES.open("ab", buffering=0) as lines:
                lines.write(f"{name} {os.getpid()}\n".encode())
            while True:
                signal.pause()
        control.send(b"%d" % pid)


class Supervisor:
    """Keeps one worker of each name."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, int] = {}
        self.stopping = asyncio.Event()

    def spawn(self, name: str) -> None:
        """Start one, and another when it ends."""
        self._control.send(name.encode())
        pid = int(self._control.recv(64))
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            asyncio.get_running_loop().call_soon(self.spawn, name)
            return
        self._workers[descriptor] = pid
        asyncio.get_running_loop().add_reader(descriptor, self._ended, descriptor, name)

    def _ended(self, descriptor: int, name: str) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        del self._workers[descriptor]
        if not self.stopping.is_set():
            self.spawn(name)

    async def stop(self) -> None:
        """A second for SIGTERM; a stopped one sees it when it goes on."""
        await self.stopping.wait()
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self._workers:
                    await asyncio.sleep(0.001)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


async def _main(control: socket.socket, names: list[str]) -> None:
    supervisor = Supervisor(control)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stopping.set)
    for name in names:
        supervisor.spawn(name)
    await supervisor.stop()


if __name__ == "__main__":
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        serve(theirs)
        sys.exit()
    theirs.close()
    asyncio.run(_main(ours, sys.argv[1:]))
