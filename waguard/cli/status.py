"""``waguard status``: what runs, how it is, and what is left to do."""

import argparse
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from waguard.cli import hosts, output
from waguard.cli.client import ApiCallError, ApiClient, NoAnswerError, connect
from waguard.cli.context import config_of
from waguard.cli.parsing import with_all, with_daemon, with_json, with_workspace
from waguard.cli.render import (
    age,
    condition,
    cut,
    moment,
    paint,
    print_json,
    table,
    undecryptable,
    width,
    wrapped,
)
from waguard.cli.rows import Session, column_style, needs_scan, of_workspace, others, row
from waguard.cli.unanswered import explained
from waguard.core import unknown_sessions
from waguard.core.exits import EXIT_UNHEALTHY
from waguard.errors import printable

ANSWERS_WITHIN: Final = 3.0  # s; then what can be known without the daemon is shown
NARROW: Final = ("session", "status", "since", "phone", "reason")
WIDE: Final = (
    *("session", "workspace", "status", "since", "phone", "lifecycle", "link", "restarts"),
    *("cpu_percent", "memory_mb", "worker_pid", "version", "wajs", "reason", "next"),
)
_LONGEST: Final = 40  # characters of a session's name beside other columns


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("sessions", nargs="*", metavar="SESSION", help="only these")
    parser.add_argument("-o", "--output", choices=("wide",), help="wide: every column")
    with_json(parser)
    with_all(parser)
    with_workspace(parser)
    with_daemon(parser, timeout=ANSWERS_WITHIN)
    parser.set_defaults(command=_status)


def _status(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    path = f"/health/detailed{'?removed=1' if arguments.all else ''}"
    try:
        health = client.call("GET", path)
    except NoAnswerError as error:
        raise explained(error, config_of(arguments)) from None
    every = health.pop("details")
    shown = None if every is None else of_workspace(every, arguments.workspace)
    if arguments.sessions:
        return _of_some(client, health, shown, arguments)
    if arguments.json:
        print_json({"health": health, "sessions": shown})
    else:
        said = {it["message"] for it in others(health["conditions"], every or ())}
        rows = wide(shown or ()) if arguments.output == "wide" else narrow(shown or (), said)
        output.print_lines(*fleet(client.base, health, every), *rows)
    return 0 if _is_healthy(health) else EXIT_UNHEALTHY


def _is_healthy(health: Mapping[str, Any]) -> bool:
    waits = health["status"] == "standby" and not health["problems"]
    return waits or health["status"] == "healthy"


def _unknown(health: Mapping[str, Any]) -> str:
    types = {it["type"] for it in health["conditions"]}
    why = unknown_sessions.why(types, answers=health["database"] == "answers")
    return f"the sessions are unknown: {why}"


def _of_some(
    client: ApiClient,
    health: Mapping[str, Any],
    known: Sequence[Session] | None,
    arguments: argparse.Namespace,
) -> int:
    """The named ones alone. Raises where one is not known."""
    if known is None:
        raise ApiCallError(_unknown(health), answered=503)
    by_name = {it["session_id"]: it for it in known}
    for name in arguments.sessions:
        if name not in by_name:
            unknown = ApiCallError("Session not found", answered=HTTPStatus.NOT_FOUND)
            raise client.named(unknown, name)
    shown = [by_name[name] for name in dict.fromkeys(arguments.sessions)]
    if arguments.json:
        print_json({"sessions": shown})
    else:
        output.print_lines(*(wide(shown) if arguments.output == "wide" else narrow(shown)))
    healthy = not any(c["degrades"] for it in shown for c in it["conditions"])
    return 0 if healthy else EXIT_UNHEALTHY


def fleet(
    base: str, health: Mapping[str, Any], sessions: Sequence[Session] | None
) -> Iterator[str]:
    """The summary, and what no session's row shows."""
    counts = health["sessions"]
    word = paint(health["status"], "good" if _is_healthy(health) else "bad")
    if holder := health.get("lease_holder"):
        yield f"waguard at {base}: {word}, {_held(holder)}"
        for it in health["conditions"]:
            if it["type"] != "standby":
                yield from condition(it)
        return
    scans = sum(map(needs_scan, sessions or ()))
    rest = f", {scans} to be scanned" if scans else ""
    number = f"{counts['connected']} of {counts['total']} connected{rest}"
    if sessions is None and not counts["total"]:
        number = "the number of sessions is unknown"
    yield f"waguard at {base}: {word}, {number}"
    if cluster := health.get("cluster"):
        yield _of_hosts(cluster)
    for it in others(health["conditions"], sessions or ()):
        whose = f"{it['session_id']}: " if it["session_id"] else ""
        yield from condition({**it, "message": f"{whose}{it['message']}"})
    if sessions is None:
        yield f"  {_unknown(health).capitalize()}"


def _of_hosts(cluster: Mapping[str, Any]) -> str:
    without = cluster["without_owner"]
    left = "an unknown number of sessions" if without is None else hosts.sessions(without)
    return f"  {cluster['alive']} of {cluster['hosts']} hosts live, {left} without a host: waguard hosts"


def _held(by: Mapping[str, Any]) -> str:
    ago = by["renewed_ago"]
    renewed = "renewed when is unknown" if ago is None else f"renewed {ago:.0f} s ago"
    return printable(f"the lease is held by {by['host']}, {renewed}")


def wide(sessions: Sequence[Session]) -> Iterator[str]:
    """One line for each session, with all of it."""
    removed = ("removed_at",) if any(it.get("removed_at") for it in sessions) else ()
    if sessions:
        yield from table([row(it) for it in sessions], (*WIDE, *removed), style=column_style)


def narrow(sessions: Sequence[Session], said: Collection[str] = ()) -> Iterator[str]:
    """Lines of at most ``width()``: each session, and below it what is left to do, but for reasons that
    are ``said`` of all of them already."""
    now, rows = time.time(), [row(it) for it in sessions]
    short = [
        {
            **it,
            "session": cut(it["session"], _LONGEST),
            "since": it["since"] and age(now - moment(it["since"])),
        }
        for it in rows
    ]
    if not rows:
        return
    head, *lines = table(short, NARROW, fit=width(), style=column_style)
    yield head
    for session, it, line in zip(sessions, rows, lines, strict=True):
        yield line
        if it["next"] and it["reason"] not in said and not it["next"].startswith("Nothing"):
            yield from condition({"remedy": it["next"]})
        for more in list(session.get("conditions") or ())[1:]:
            yield from condition(more)
        if count := undecryptable(session):
            yield from wrapped(f"! {count}", first="  ", then="    ")
