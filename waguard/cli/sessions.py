"""``waguard sessions``: create, list, show, start, stop, move, link and unlink sessions."""

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final

from msgspec import Struct

from waguard.cli import output, pair, proxy, qr, screenshot
from waguard.cli.client import ApiCallError, ApiClient, connect
from waguard.cli.confirmation import counted, require_yes, with_yes
from waguard.cli.parsing import (
    described,
    verb,
    verbs_of,
    with_all,
    with_daemon,
    with_json,
    with_workspace,
)
from waguard.cli.render import (
    age,
    condition,
    moment,
    paint,
    print_either,
    print_json,
    print_table,
    sentinel,
    wrapped,
)
from waguard.cli.rows import of_workspace, row, status_style, version
from waguard.cli.waiting import Waiting
from waguard.errors import ConfigError, printable

TRIES: Final = 10  # while a daemon starts
UNAVAILABLE: Final = 503
AT_ONCE: Final = 8  # requests; how many sessions start at a time is the daemon's to say
SEES_CTRL_C: Final = 0.5  # s; one that comes just before a wait is seen only after it

LISTED: Final = ("session_id", "workspace_id", "status", "phone_number", "connected_at")


class _Change(Struct, frozen=True, kw_only=True):
    """A verb that changes sessions, and how it reads."""

    name: str
    about: str
    method: str = "POST"
    path: str = ""
    done: str | None = None
    """What is printed; None: the status that it has then."""
    asks: str | None = None
    """What cannot be taken back; None: nothing."""
    aliases: tuple[str, ...] = ()


_CHANGES: Final = (
    _Change(name="start", about="bring sessions up, also deleted ones", path="/start"),
    _Change(
        name="stop",
        about="stop sessions; the pairing stays",
        path="/stop",
        done="stopped; its pairing stays",
    ),
    _Change(
        name="restart",
        about="replace worker and Chromium of sessions; the pairing stays",
        path="/reconnect",
        aliases=("reconnect",),
    ),
    _Change(
        name="logout",
        about="unlink sessions; they stay in the list",
        path="/logout",
        done="logged out",
        asks="unlinked from WhatsApp; the next start needs a scan, what is still to be sent fails",
    ),
    _Change(
        name="delete",
        about="unlink sessions and remove them from the list; profiles are quarantined, the history stays",
        method="DELETE",
        done="deleted; its profile lies in the quarantine folder",
        asks="unlinked from WhatsApp and removed from the list; what is still to be sent fails",
    ),
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    create = verb(verbs, "create", _create, "create sessions; then show their QR codes")
    create.add_argument(
        "sessions", nargs="+", metavar="SESSION", help="letters, digits, _ and -; at most 128"
    )
    create.add_argument("--workspace", type=int, default=1, metavar="N", help="(%(default)s)")
    with_json(create)
    with_daemon(create)
    _add_reads(verbs)
    for change in _CHANGES:
        one = verb(verbs, change.name, _changing(change), change.about, aliases=change.aliases)
        _with_sessions(one)
        if change.asks:
            with_yes(one)
        if change.name == "delete":
            one.add_argument("--purge", action="store_true", help="also mark its row deleted")
        with_json(one)
        with_daemon(one)
    move = verb(verbs, "move", _move, "move a session to another host of the cluster, in order")
    move.add_argument("session", metavar="SESSION")
    move.add_argument("host", metavar="HOST", help="see `waguard hosts`")
    with_json(move)
    with_daemon(move)
    for name, noun in (("qr", qr), ("pair", pair), ("screenshot", screenshot), ("proxy", proxy)):
        noun.add(described(verbs, name, noun.ABOUT))


def _add_reads(verbs: Any) -> None:
    listing = verb(verbs, "list", _list, "all sessions")
    listing.add_argument("-o", "--output", choices=("name",), help="name: nothing else, one a line")
    with_json(listing)
    with_all(listing)
    with_workspace(listing)
    with_daemon(listing)
    show = verb(verbs, "show", _show, "everything about sessions, and what to do next")
    _with_sessions(show)
    with_json(show)
    with_daemon(show)


def _with_sessions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sessions", nargs="*", metavar="SESSION")
    parser.add_argument("--all", action="store_true", help="every session in place of names")
    parser.add_argument("--workspace", type=int, metavar="N", help="with --all: only those of it")


def _selected(client: ApiClient, arguments: argparse.Namespace) -> list[str]:
    """The sessions that are meant. Raises ``ConfigError`` where none or too much is said."""
    named = list(dict.fromkeys(arguments.sessions))
    if bool(named) == arguments.all:
        why = "names and --all" if named else "no session is named"
        raise ConfigError(why, field="SESSION", remedy="name sessions, or say --all")
    if named:
        if arguments.workspace is not None:
            raise ConfigError("it goes with --all", field="--workspace")
        return named
    listed = client.call("GET", "/api/sessions")["sessions"]
    return [it["session_id"] for it in of_workspace(listed, arguments.workspace)]


# ---- changes ----


def _create(arguments: argparse.Namespace) -> int:
    client, poll = connect(arguments), arguments.context.link_poll
    gave_up = threading.Event()

    def create(name: str) -> Any:
        body = {"session_id": name, "workspace_id": arguments.workspace}
        return _when_up(client, poll, gave_up, lambda: client.call("POST", "/api/sessions", body))

    def said(name: str, answer: Any) -> str:
        return f"{name}: {answer['status']}; next: waguard qr {name}"

    return _each(list(dict.fromkeys(arguments.sessions)), create, said, arguments)


def _when_up(
    client: ApiClient, poll: float, gave_up: threading.Event, ask: Callable[[], Any]
) -> Any:
    """The answer of a daemon that may be starting. ``poll``: s between two tries. ``gave_up``: one was waited for in vain,
    and the next ones need not be."""
    why = ""
    with Waiting("waguard", lambda: why, after=client.says_after) as waiting:
        for _ in range(TRIES):
            try:
                return ask()
            except ApiCallError as error:
                if error.answered != UNAVAILABLE or client.left <= poll or gave_up.is_set():
                    raise
                why = error.message
            waiting.goes_on()
            time.sleep(poll)
        try:
            return ask()
        except ApiCallError as error:
            if error.answered == UNAVAILABLE:
                gave_up.set()
            raise


def _changing(change: _Change) -> Callable[[argparse.Namespace], int]:
    def work(arguments: argparse.Namespace) -> int:
        client = connect(arguments)
        names = _selected(client, arguments)
        purge = change.name == "delete" and arguments.purge
        if change.asks and names:
            purged = "; the row is marked deleted" if purge else ""
            require_yes(arguments, f"{counted(names)} will be {change.asks}{purged}")
        body: dict[str, Any] | None = {} if change.method == "POST" else None
        path = f"{change.path}?purge=1" if purge else change.path

        def said(name: str, answer: Any) -> str:
            still = "; it is not unlinked: remove the device on the phone"
            linked = still if answer.get("unlinked") is False else ""
            return f"{name}: {change.done or answer['status']}{linked}"

        return _each(
            names, lambda name: client.one(name).call(change.method, path, body), said, arguments
        )

    return work


def _move(arguments: argparse.Namespace) -> int:
    session, host = connect(arguments).one(arguments.session), arguments.host
    answer = session.call("POST", "/move", {"to": host})
    print_either(arguments, answer, f"{session.name}: moves to {host}; see `waguard hosts`")
    return 0


def _each(
    names: Sequence[str],
    work: Callable[[str], Any],
    said: Callable[[str, Any], str],
    arguments: argparse.Namespace,
) -> int:
    """Do it to all, whatever happens to one; a line for each, in their order."""
    results, failed, lost = [], False, None
    for name, answer in _done(names, work):
        if isinstance(answer, ApiCallError):
            if len(names) == 1 and not arguments.json:
                raise answer
            failed = True
            results.append({"session_id": name, "ok": False, **_error(answer)})
            output.say(f"waguard: {name}: {answer.line()}\n")
        else:
            results.append({"session_id": name, "ok": True, "status": answer.get("status")})
            if not arguments.json:
                lost = lost or _printed(printable(said(name, answer)))
    if lost and not lost.read:
        raise lost
    if arguments.json:
        print_json({"results": results})
    elif not names:
        print("no sessions")
    return 1 if failed else 0


def _printed(line: str) -> output.OutputLostError | None:
    """Why it is lost: who reads it has no say in what is done to the others."""
    try:
        print(line)
    except output.OutputLostError as error:
        return error
    return None


def _done(names: Sequence[str], work: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Each name with the answer, or the error."""

    def safely(name: str) -> Any:
        try:
            return work(name)
        except ApiCallError as error:
            return error

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for name, answer in [(it, pool.submit(safely, it)) for it in names]:
            while not answer.done():
                wait([answer], SEES_CTRL_C)
            yield name, answer.result()
    finally:  # Ctrl-C: what has not begun does not begin
        pool.shutdown(wait=False, cancel_futures=True)


def _error(error: ApiCallError) -> dict[str, Any]:
    return {"error": error.message, "remedy": error.remedy}


# ---- what only reads ----


def _list(arguments: argparse.Namespace) -> int:
    path = "/api/sessions?removed=1" if arguments.all else "/api/sessions"
    listed = connect(arguments).call("GET", path)
    sessions = of_workspace(listed["sessions"], arguments.workspace)
    if arguments.json:
        print_json({**listed, "sessions": sessions, "total": len(sessions)})
    elif arguments.output == "name":
        for session in sessions:
            print(session["session_id"])
    elif sessions:
        print_table(sessions, (*LISTED, *(("removed_at",) if arguments.all else ())))
    else:
        print("no sessions: create one with `waguard sessions create NAME`")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    names = _selected(client, arguments)
    shown, failed = [], False
    for name, answer in _done(names, lambda name: client.one(name).call("GET", "/status")):
        if isinstance(answer, ApiCallError):
            if len(names) == 1:
                raise answer
            failed = True
            output.say(f"waguard: {name}: {answer.line()}\n")
            continue
        shown.append(answer)
        if not arguments.json:
            for line in _lines(answer):
                print(line)
    if arguments.json:
        print_json({"sessions": shown})
    return 1 if failed else 0


def _lines(session: dict[str, Any]) -> Iterator[str]:
    """All of a session that has a value, and each condition with what to do about it."""
    answer = row(session)
    since = answer["since"]
    ago = f" since {since} ({age(time.time() - moment(since))})" if since else ""
    status = paint(session["status"], status_style(session))
    yield f"{paint(printable(session['session_id']), 'bold')}: {status}{ago}"
    for it in session.get("conditions") or [
        {"message": answer["reason"], "remedy": answer["next"]}
    ]:
        yield from condition(it)
    if line := sentinel(session):
        yield from wrapped(line, first="  ", then="    ")
    loaded = {key: value for key, value in version(session).items() if value}
    for key, value in {**session, **loaded}.items():
        if key not in _SAID and value is not None and value != []:
            yield f"  {key:<18} {printable(str(value))}"


_SAID: Final = frozenset(
    {
        *("session_id", "status", "conditions", "success", "undecryptable", "sentinel"),
        *("waiting", "degraded"),
    }
)
