"""What ``waguard events`` does: reads the event stream, and comes back where it breaks off.

Stdlib only. Nothing here prints or parses arguments.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from waguard.cli.client import ApiCallError, ApiClient
from waguard.core.text import logfmt
from waguard.core.text.redaction import shorten

PATH: Final = "/api/events"
READ_TIMEOUT: Final = 40.0  # s; the stream has a comment each 15 s
PAUSE: Final = 2.0  # s before it is asked for again
SO_FAR: Final = ": that is all so far"
"""The stream's comment when it has nothing more for now."""
_OF_A_HOST: Final = ": host "
# what people wrote, and what opens a session: only --json shows them
_PRIVATE: Final = frozenset({"body", "caption", "qr_code", "raw", "text"})
_LONGEST: Final = 80  # characters of a value


class Reader:
    """Reads streams, each from where the one before ended. ``noted`` gets what a cluster says of a host whose events do
    not come, come again, or may be missing."""

    def __init__(self, noted: Callable[[str], None], *, after: str | None = None) -> None:
        self.after = after
        """The id that was read last."""
        self._noted = noted

    def events(self, client: ApiClient, *, until: str | None = None) -> Iterator[dict[str, Any]]:
        """Events of a stream, up to its end or to a comment; without ``until`` also an empty one at the beginning:
        there is a stream. Raises ``ApiCallError``."""
        headers = {} if self.after is None else {"Last-Event-ID": self.after}
        with client.streaming(PATH, headers, timeout=READ_TIMEOUT) as lines:
            if until is None:
                yield {}
            yield from self._parsed(lines, until)

    def forget(self) -> None:
        """Read from now on."""
        self.after = None
        self._noted("some events may be missing")

    def _parsed(self, lines: Iterable[bytes], until: str | None) -> Iterator[dict[str, Any]]:
        at = self.after
        for line in lines:
            if not line.endswith(b"\n"):
                return  # it is cut off
            text = line.decode(errors="replace").rstrip("\n")
            if text == until:
                return
            if text.startswith("id: "):
                at = text.removeprefix("id: ")
            elif text.startswith(_OF_A_HOST):
                self._noted(text.removeprefix(": "))
            elif text.startswith("data: "):
                self.after = at
                yield _event(text.removeprefix("data: "))
            elif not text:
                self.after = at


def _event(text: str) -> dict[str, Any]:
    """Raises ``ApiCallError``."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        why = "an event of the stream is none that this program can read"
        raise ApiCallError(why, answered=0) from None


def known(client: ApiClient, *, noted: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """What the daemon remembers, the oldest first; in a cluster: what each host does. Raises ``ApiCallError``."""
    yield from Reader(noted, after="0").events(client, until=SO_FAR)


def follow(
    connect: Callable[[], ApiClient],
    *,
    broken: Callable[[str], None],
    noted: Callable[[str], None] = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """What happens from now on, without end; nothing that the daemon remembers is missing after a break.

    ``broken`` is called with each new reason, ``noted`` as by ``Reader``. Raises ``ApiCallError`` where there is no
    daemon at the beginning, and where it refuses for good.
    """
    reader, said, begun = Reader(noted), "", False
    while True:
        try:
            for event in reader.events(connect()):
                begun, said = True, ""
                if event:
                    yield event
            why, rest = "the daemon ended the stream", PAUSE
        except ApiCallError as error:
            if not (begun and _goes_on(reader, error)):
                raise
            why, rest = error.message, max(PAUSE, error.retry_after or 0.0)
        if why != said:
            broken(why)
            said = why
        pause(rest)


def _goes_on(reader: Reader, error: ApiCallError) -> bool:
    """Whether the stream is asked for again: as it was, or from now on where its place is that of another version."""
    if error.answered == HTTPStatus.BAD_REQUEST and reader.after is not None:
        reader.forget()
        return True
    return error.passes


def sentence(event: dict[str, Any]) -> str:
    """A line for a person: time, session, what happened; no text that somebody wrote."""
    data = {key: _short(value) for key, value in event["data"].items() if _is_short(key, value)}
    who = event["session_id"] or "-"
    said = " ".join([event["at"], who, event["event"]])
    return f"{said} {logfmt.encode(data)}" if data else said


def _is_short(key: str, value: Any) -> bool:
    return key not in _PRIVATE and value is not None and not isinstance(value, dict | list)


def _short(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = shorten(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
