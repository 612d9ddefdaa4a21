"""What ``waguard events`` does: reads the event stream, and comes back where it breaks off.

Stdlib only. Nothing here prints or parses arguments.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from waguard.cli.client import ApiCallError, ApiClient
from waguard.core.text import logfmt
from waguard.core.text.redaction import shorten

PATH: Final = "/api/events"
READ_TIMEOUT: Final = 40.0  # s; the stream has a comment each 15 s
PAUSE: Final = 2.0  # s before it is asked for again
SO_FAR: Final = ": that is all so far"
"""The stream's comment when it has nothing more for now."""
# what people wrote, and what opens a session: only --json shows them
_PRIVATE: Final = frozenset({"body", "caption", "qr_code", "raw", "text"})
_LONGEST: Final = 80  # characters of a value


def known(client: ApiClient) -> Iterator[dict[str, Any]]:
    """What the daemon remembers, the oldest first. Raises ``ApiCallError``."""
    yield from _events(client, 0, until=SO_FAR)


def follow(
    connect: Callable[[], ApiClient],
    *,
    broken: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """What happens from now on, without end; nothing that the daemon remembers is missing after a break.

    ``broken`` is called with each new reason. Raises ``ApiCallError`` where there is no daemon at the
    beginning.
    """
    last, said, begun = None, "", False
    while True:
        try:
            for event in _events(connect(), last):
                begun, said = True, ""
                if event:
                    last = event["id"]
                    yield event
            why = "the daemon ended the stream"
        except ApiCallError as error:
            if not begun or error.answered:
                raise
            why = error.message
        if why != said:
            broken(why)
            said = why
        pause(PAUSE)


def _events(
    client: ApiClient, last: int | None, *, until: str | None = None
) -> Iterator[dict[str, Any]]:
    """Also an empty one at the beginning: there is a stream."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with client.streaming(PATH, headers, timeout=READ_TIMEOUT) as lines:
        if until is None:
            yield {}
        yield from parse(lines, until=until)


def parse(lines: Iterable[bytes], *, until: str | None = None) -> Iterator[dict[str, Any]]:
    """Events of a stream, up to its end or to a comment."""
    for line in lines:
        text = line.decode(errors="replace").rstrip("\n")
        if until is not None and text == until:
            return
        if text.startswith("data: "):
            yield json.loads(text.removeprefix("data: "))


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
