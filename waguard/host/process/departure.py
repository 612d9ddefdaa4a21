"""The end of a process that has nothing left to do."""

import contextlib
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process without the interpreter's teardown, which takes up to 0.2 s for what a worker or the daemon
    imports, and waits for threads. What is kept is on the disk by now, and the log is written."""
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None where it was closed before the start, as by >&-
            with contextlib.suppress(OSError):  # nobody reads it any more
                stream.flush()
    os._exit(code)
