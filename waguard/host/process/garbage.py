"""The collector of Python's garbage: what a daemon imports is never any."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import the daemon within it: no collection meanwhile, and none that visits the modules later.

    They make hardly any garbage; to search them takes a tenth of the time of the imports, and some
    200 ms each time that the collector goes through all that there is.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
