"""``waguard versions``: which version of WhatsApp Web sessions get."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from waguard.cli.client import ApiCallError, ApiClient, connect
from waguard.cli.confirmation import require_yes, with_yes
from waguard.cli.parsing import verb, verbs_of, with_daemon, with_json
from waguard.cli.render import print_either, print_json, print_table, wrapped

_PATH = "/api/versions"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _list, "the versions that are used, stored or held back")
    with_json(listing)
    with_daemon(listing)
    pin = verb(verbs, "pin", _pin, "serve a stored version to all sessions")
    pin.add_argument("revision", type=int, metavar="R")
    unpin = verb(verbs, "unpin", _unpin, "end the pin")
    trying = verb(verbs, "try", _try, "load one session with a version and check it")
    trying.add_argument(
        "revision", type=int, nargs="?", metavar="R", help="(what WhatsApp serves now)"
    )
    trying.add_argument("--session", metavar="S", help="(one that waguard chooses)")
    for one in (pin, unpin, trying):
        with_yes(one)
        with_json(one)
        with_daemon(one)


def _list(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("GET", _PATH)
    if arguments.json:
        print_json(answer)
        return 0
    others = answer.get("hosts", {})
    if others:
        print(f"host {answer['host']}")
    _print(answer)
    for host, found in others.items():
        print(f"\nhost {host}")
        if found is None:
            print("! it does not answer: its versions are unknown")
        else:
            _print(found)
    return 0


def _print(answer: Mapping[str, Any]) -> None:
    for line in _about(answer):
        print(line)
    if answer["versions"]:
        columns = ("revision", "status", "since", "sessions", "stored", "served", "why")
        print_table([_row(it) for it in answer["versions"]], columns)
    else:
        print("no version is known yet: no session has loaded its page")


def _about(answer: Mapping[str, Any]) -> Iterator[str]:
    if answer["mode"] == "off":
        yield "versions.mode is off: every session gets what WhatsApp serves"
        return
    served = "what WhatsApp serves"
    if answer["pinned"] is not None:
        served = f"version {answer['pinned']}, which is pinned"
    elif answer["held_from"] is not None:
        served = f"an older version: those from {answer['held_from']} on are held back"
    yield f"mode {answer['mode']}; sessions get {served}"
    if answer["trying"]:
        yield from wrapped(f"session {answer['trying']} tries a version now", first="  ", then="  ")


def _row(it: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **it,
        "sessions": len(it["sessions"]),
        "stored": "yes" if it["stored"] else "no",
        "served": "yes" if it["served"] else "no",
    }


def _pin(arguments: argparse.Namespace) -> int:
    what = f"all sessions get version {arguments.revision} at their next load, sessions that fail now first"
    require_yes(arguments, what)
    answer = connect(arguments).call("POST", f"{_PATH}/pin", {"revision": arguments.revision})
    print_either(arguments, answer, f"version {arguments.revision} is pinned")
    return 0


def _unpin(arguments: argparse.Namespace) -> int:
    require_yes(
        arguments,
        "sessions get what WhatsApp serves at their next load, sessions that fail now first",
    )
    answer = connect(arguments).call("POST", f"{_PATH}/unpin", {})
    print_either(arguments, answer, "no version is pinned any more")
    return 0


def _try(arguments: argparse.Namespace) -> int:
    who = f"session {arguments.session}" if arguments.session else "a session"
    what = "what WhatsApp serves" if arguments.revision is None else f"version {arguments.revision}"
    require_yes(arguments, f"{who} is loaded again, with {what}")
    body = {"revision": arguments.revision, "session_id": arguments.session}
    answer = called(connect(arguments), f"{_PATH}/try", body, arguments.session)
    print_either(
        arguments,
        answer,
        f"{who} is loaded with {what} as soon as it may; see `waguard versions list`",
    )
    return 0


def called(client: ApiClient, path: str, body: dict[str, Any], session: str | None) -> Any:
    """The answer; a session that is unknown is named with those that may be meant."""
    try:
        return client.call("POST", path, body)
    except ApiCallError as error:
        raise (client.named(error, session) if session else error) from None
