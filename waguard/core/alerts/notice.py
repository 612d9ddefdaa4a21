"""What an alert says: what happened, what was tried, what to do, where to see it. Pure.

Telegram takes 4,096 characters, ntfy 4,096 bytes as a message: a text stays below that.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from waguard.core.alerts.alerts import Alert, Notification
from waguard.core.incidents.entries import Entry
from waguard.core.incidents.folding import fold
from waguard.core.incidents.kinds import FLEET_DONE

UNIT: Final = "waguard.service"
TEXT_LIMIT: Final = 3_500  # bytes as UTF-8
TITLE_LIMIT: Final = 120  # characters
GROUPS: Final = 6  # causes that are described; the others are counted
NAMED: Final = 8  # sessions that are named for each
LISTED: Final = 100  # alerts in the JSON of a webhook
ACTIONS: Final = 3  # newest ones of an incident

Tried = Mapping[str | None, Sequence[str]]
"""What waguard did for each session."""


class Notice(Struct, frozen=True, kw_only=True):
    """One message. ``content`` is the JSON of a webhook, ``page`` where a person sees more."""

    title: str
    text: str
    urgent: bool
    page: str | None = None
    content: Mapping[str, Any] = {}


def of_notification(it: Notification, *, host: str, page: str | None, tried: Tried) -> Notice:
    """The notice of what began and ended. ``host``: this one's name. ``page``: the address of the status page."""
    groups = [*_groups(it.begun)]
    blocks = [_begun(group, page, tried) for group in groups[:GROUPS]]
    if len(groups) > GROUPS:
        blocks.append(f"And {len(groups) - GROUPS} more causes: `waguard status` shows them.")
    blocks += [_ended(group) for group in [*_groups(it.ended)][:GROUPS]]
    link = _link(page, it.begun[0].session if len(it.begun) == 1 else None)
    content = {
        "begun": [_listed(one, page, tried) for one in it.begun[:LISTED]],
        "ended": [_listed(one, page, {}) for one in it.ended[:LISTED]],
    }
    where = _hosts(it, host)
    return _compose(_title(it), blocks, host=where, page=link, urgent=bool(it.begun), **content)


def of_test(*, host: str, page: str | None) -> Notice:
    """The notice of ``waguard alerts test``."""
    text = "This is a test: nothing is wrong. A person ran `waguard alerts test`."
    return _compose("a test", [text], host=host, page=_link(page, None), urgent=False)


def of_failed_unit(why: str, *, unit: str = UNIT, host: str, page: str | None) -> Notice:
    """The notice of a daemon that the service manager gave up, or of another ``unit`` that failed; ``why`` in its
    words."""
    if unit != UNIT:
        name = unit.removesuffix(".service")
        text = f"The unit {unit} failed ({why}).\nTo do: `journalctl -u {name} -n 50` shows why; then `systemctl start {name}`."
        return _compose(f"{name} failed", [text], host=host, page=_link(page, None), urgent=False)
    text = (
        f"The unit waguard.service failed ({why}) and is not started again. Sessions are not supervised, and nothing"
        " is sent or delivered.\nTo do: `journalctl -u waguard -n 50` shows why; then `systemctl start waguard`."
    )
    return _compose(
        "waguard is not running", [text], host=host, page=_link(page, None), urgent=True
    )


def tried(trail: Iterable[Entry], session: str) -> Sequence[str]:
    """What waguard did last for a session, by its audit log."""
    incidents = fold(trail, session=session)
    actions = incidents[-1].actions if incidents and incidents[-1].ended is None else []
    return tuple(dict.fromkeys(reversed(actions)))[:ACTIONS][::-1]


def _compose(
    title: str, blocks: Sequence[str], *, host: str, page: str | None, urgent: bool, **content: Any
) -> Notice:
    title = _cut(" ".join(f"waguard on {host}: {title}".split()), TITLE_LIMIT)
    text = _cut_bytes("\n\n".join(blocks), TEXT_LIMIT)
    said = {"event": "alert", "host": host, "title": title, "text": text, "page": page}
    whole = {"begun": [], "ended": [], **said, **content}
    return Notice(title=title, text=text, urgent=urgent, page=page, content=whole)


def _groups(alerts: Iterable[Alert]) -> Iterable[Sequence[Alert]]:
    found: dict[str, list[Alert]] = {}
    for it in alerts:
        found.setdefault(it.cause, []).append(it)
    return found.values()


def _hosts(it: Notification, host: str) -> str:
    """The hosts that it is about."""
    names = sorted({one.host or host for one in (*it.begun, *it.ended)})
    return ", ".join(names) if len(names) <= ACTIONS else f"{len(names)} hosts"


def _title(it: Notification) -> str:
    shown = it.begun or it.ended
    over = "" if it.begun else "over: "
    if len(shown) == 1:
        return f"{over}{_session(shown[0])}{shown[0].message}"
    return f"{len(shown)} conditions {'need a person' if it.begun else 'are over'}"


def _begun(group: Sequence[Alert], page: str | None, tried: Tried) -> str:
    first, *others = group
    lines = [f"{_whose(first)}{first.message}", f"Since {_time(first.since)}{_others(others)}."]
    done = tried.get(first.session, ()) if first.session else _of_all(first.type)
    lines += [f"Done: {it}." for it in done]
    lines.append(f"To do: {first.remedy}")
    if others and first.session and (link := _link(page, first.session)):
        lines.append(link)
    return "\n".join(lines)


def _ended(group: Sequence[Alert]) -> str:
    first, *others = group
    when = f"from {_time(first.since)} to {_time(first.ended or first.since)}"
    return f"Over: {_whose(first)}{first.message}\n{when}{_others(others)}."


def _of_all(kind: str) -> Sequence[str]:
    return (FLEET_DONE[kind],) if kind in FLEET_DONE else ()


def _others(others: Sequence[Alert]) -> str:
    """Further sessions with the same cause."""
    if not others:
        return ""
    names = ", ".join(_name(it) or "all sessions" for it in others[:NAMED])
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f"; also {names}{more}"


def _listed(it: Alert, page: str | None, tried: Tried) -> Mapping[str, Any]:
    return {
        "type": it.type,
        "reason": it.reason,
        "session_id": it.session,
        **({"host": it.host} if it.host else {}),
        "message": it.message,
        "since": _time(it.since),
        "ended": None if it.ended is None else _time(it.ended),
        "tried": [*(tried.get(it.session, ()) if it.session else _of_all(it.type))],
        "remedy": it.remedy,
        "page": _link(page, it.session),
    }


def _link(page: str | None, session: str | None) -> str | None:
    """Where the page shows the session. It carries no key."""
    if page is None:
        return None
    return f"{page.rstrip('/')}/#/{f'session/{session}' if session else ''}"


def _whose(it: Alert) -> str:
    name = _name(it)
    return f"{name}: " if name else ""


def _name(it: Alert) -> str | None:
    if it.host is None:
        return it.session
    return f"{it.session} on {it.host}" if it.session else it.host


def _session(it: Alert) -> str:
    """In a title, which begins with the host."""
    return f"{it.session}: " if it.session else ""


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _cut_bytes(text: str, limit: int) -> str:
    whole = text.encode(errors="surrogatepass")
    left = limit - len("…".encode())
    return text if len(whole) <= limit else f"{whole[:left].decode(errors='ignore')}…"
