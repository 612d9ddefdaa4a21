"""Be the parent of orphans, and reap them.

A worker that is forked twice comes to the daemon this way. So do the processes of a Chromium whose
worker was killed; nobody else would reap those.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Collection

from waguard.host.process import procfs

_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


class Subreaper:
    """``spared``: children that somebody waits for; None: not known now, nobody is reaped.

    Children in this process's own session are spared too: they are not orphans.
    """

    def __init__(
        self, spared: Callable[[], Collection[int] | None], on_sigchld: Callable[[], None]
    ) -> None:
        """``on_sigchld``: called first at each SIGCHLD, which also reports children that stop."""
        self._spared = spared
        self._on_sigchld = on_sigchld
        self._before = 0

    def start(self) -> None:
        """From now on. In the main thread: it takes SIGCHLD."""
        self._before = _subreaper()
        _set_subreaper(1)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._on_child)

    def stop(self) -> None:
        """As it was before."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        _set_subreaper(self._before)

    def _on_child(self) -> None:
        self._on_sigchld()
        self.reap()

    def reap(self) -> None:
        """Reap every dead orphan; by itself at each SIGCHLD, to be called after a None."""
        if not _is_any_dead():  # most are reaped by who waits for them, a moment before
            return
        spared = self._spared()
        if spared is None:
            return
        session = os.getsid(0)
        for pid in procfs.children(os.getpid()):
            if pid not in spared and procfs.is_foreign_zombie(pid, session):
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def _is_any_dead() -> bool:
    try:
        return bool(os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    except ChildProcessError:
        return False


def _subreaper() -> int:
    found = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return found.value


def _set_subreaper(on: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, on, 0, 0, 0)
