"""Certificates of authorities: read by the first connection that needs them, not by the import of aiohttp."""

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any


class _WhenUsed(ssl.SSLContext):
    """Has them from its first connection on, and is an ordinary one then."""

    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]  # mypy knows no such change
        self.load_default_certs()
        return self.wrap_bio(*arguments, **more)


@contextlib.contextmanager
def read_later() -> Iterator[None]:
    """Contexts that are made meanwhile have none yet. aiohttp makes two: 15 ms and 2 MB, for nothing where receivers
    speak HTTP."""
    made: list[ssl.SSLContext] = []
    kind: Any = ssl.SSLContext
    kept = kind.load_default_certs
    kind.load_default_certs = kind.set_default_verify_paths = lambda it, *_: made.append(it)
    try:
        yield
    finally:
        kind.load_default_certs = kept
        del kind.set_default_verify_paths  # the one that it inherits is there again
        for one in made:
            one.__class__ = _WhenUsed
