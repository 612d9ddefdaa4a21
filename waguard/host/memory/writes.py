"""Writes of one file of state that may fail: the daemon goes on without them."""

import contextlib
from collections.abc import Iterator

from loguru import logger

from waguard.errors import WaguardError, one_line
from waguard.host.small_file import UnreadableError


class Writes:
    """A failure is logged once, until a write works again. ``words``: what cannot be written."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._fail = False

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """The body writes the file, and records what it wrote."""
        try:
            yield
        except (OSError, UnicodeEncodeError, UnreadableError, WaguardError) as error:
            if not self._fail:
                logger.warning(self._words, event="state_not_written", why=one_line(error))
            self._fail = True
        else:
            self._fail = False
