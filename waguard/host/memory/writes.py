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
        self.why: str | None = None
        """Why the last one failed; None: it worked, or there was none."""

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """The body writes the file, and records what it wrote."""
        try:
            yield
        except (OSError, UnicodeEncodeError, UnreadableError, WaguardError) as error:
            why = one_line(error)
            if self.why is None:
                logger.warning(self._words, event="state_not_written", why=why)
            self.why = why
        else:
            self.why = None
