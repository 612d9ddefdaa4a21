"""The collector of Python's garbage: what a daemon or a fork server imports is never any."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from typing import Final

_COUNTED: Final = 1 << 31  # references at most, for what Python itself frees one day


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import the daemon within it: no collection meanwhile, and none that visits the modules later.

    They make hardly any garbage; to search them takes a tenth of the time of the imports, and some
    200 ms each time that the collector goes through all that there is.
    """
    from waguard.host.process.certificates import read_later  # noqa: PLC0415 - no fork server has TLS

    gc.disable()
    try:
        with read_later():
            yield
        gc.freeze()
    finally:
        gc.enable()


def keep() -> None:
    """Have all that there is live as long as the process and those that are forked from it, and collect nothing.

    Calling a function counts a reference to it, which would copy its page into each fork: 2.4 MB of each worker. So all
    get the count that Python from 3.12 on gives to what it never frees, as None, and leaves alone.
    """
    gc.collect()
    gc.disable()
    count = ctypes.c_uint32.from_address
    forever = count(id(None)).value
    if forever >= _COUNTED:  # another Python counts None too, or keeps no count in this place
        for one in gc.get_objects():
            count(id(one)).value = forever
            for other in gc.get_referents(one):
                count(id(other)).value = forever
    gc.freeze()
