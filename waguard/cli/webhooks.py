"""``waguard webhooks``: dead letters, and chats that wait."""

import argparse
from typing import Any, Final

from waguard.cli.client import connect
from waguard.cli.confirmation import require_yes, with_yes
from waguard.cli.parsing import verb, verbs_of, with_daemon, with_json
from waguard.cli.render import print_either, print_json, print_table

_DEAD: Final = "/api/webhooks/dead"
_HELD: Final = "/api/webhooks/held"
_UNIDENTIFIED: Final = "/api/webhooks/unidentified"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _dead_list, "the newest dead letters, without their bodies")
    with_json(listing)
    listing.add_argument(
        "--state",
        choices=["dead", "uncertain", "unidentified", "undecryptable", "stored", "restored"],
        help="uncertain: the receiver said yes, and may have dropped it; unidentified: of a LID whose "
        "number is not known; undecryptable: of a message that WhatsApp Web could not decrypt; stored: the "
        "receiver has it, and answered with an error; restored: it may have been delivered before a restore",
    )
    with_daemon(listing)
    held = verb(verbs, "held", _held_list, "chats that wait until their session is connected")
    with_json(held)
    with_daemon(held)
    drop = verb(verbs, "drop", _held_drop, "make dead letters of what waits for a session")
    drop.add_argument("session")
    with_json(drop)
    with_daemon(drop)
    show = verb(verbs, "show", _dead_show, "one dead letter, with its body")
    show.add_argument("number", type=int)
    with_json(show)
    with_daemon(show)
    replay = verb(verbs, "replay", _dead_replay, "deliver one once more, or all of them")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=int, nargs="?")
    which.add_argument("--all", action="store_true")
    _with_chat(which)
    with_json(replay)
    with_daemon(replay)
    discard = verb(verbs, "discard", _dead_discard, "delete a dead letter for good")
    which = discard.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=int, nargs="?")
    _with_chat(which)
    with_yes(discard)
    with_json(discard)
    with_daemon(discard)
    unknown = verb(
        verbs, "unidentified", _unidentified_list, "chats of LIDs whose numbers are not known"
    )
    with_json(unknown)
    with_daemon(unknown)


def _with_chat(which: Any) -> None:
    which.add_argument(
        "--chat",
        nargs=2,
        metavar=("SESSION", "LID"),
        help="all that waits for the number of this LID",
    )


def _dead_list(arguments: argparse.Namespace) -> int:
    state = f"?state={arguments.state}" if arguments.state else ""
    answer = connect(arguments).call("GET", f"{_DEAD}{state}")
    if arguments.json:
        print_json(answer)
    elif answer["dead"]:
        columns = ("id", "session_id", "event", "state", "endpoint", "attempts", "died_at", "error")
        print_table(answer["dead"], columns)
        if answer["before"]:
            print(f"there are more: GET {_DEAD}?before={answer['before']}{state.replace('?', '&')}")
    else:
        print("no dead letters")
    return 0


def _held_list(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("GET", f"{_HELD}")
    if arguments.json:
        print_json(answer)
    elif answer["held"]:
        print_table(answer["held"], ("session_id", "chat_id", "since", "reason"))
    else:
        print("no webhook waits for its session")
    return 0


def _held_drop(arguments: argparse.Namespace) -> int:
    body = {"session_id": arguments.session}
    answer = connect(arguments).call("POST", f"{_HELD}/discard", body)
    line = f"dead letters now: {answer['discarded']}; see waguard webhooks list"
    print_either(arguments, answer, line)
    return 0


def _dead_show(arguments: argparse.Namespace) -> int:
    print_json(connect(arguments).call("GET", f"{_DEAD}/{arguments.number}"))
    return 0


def _unidentified_list(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("GET", _UNIDENTIFIED)
    if arguments.json:
        print_json(answer)
    elif answer["unidentified"]:
        print_table(answer["unidentified"], ("session_id", "chat_id", "since", "count"))
    else:
        print("no chat waits for somebody's number")
    return 0


def _of_chat(arguments: argparse.Namespace, verb: str) -> Any:
    session, chat = arguments.chat
    body = {"session_id": session, "chat_id": chat}
    return connect(arguments).call("POST", f"{_UNIDENTIFIED}/{verb}", body)


def _dead_replay(arguments: argparse.Namespace) -> int:
    if arguments.chat:
        answer = _of_chat(arguments, "replay")
    else:
        one = "" if arguments.all else f"/{arguments.number}"
        answer = connect(arguments).call("POST", f"{_DEAD}{one}/replay")
    print_either(arguments, answer, f"queued again: {answer['replayed']}")
    return 0


def _dead_discard(arguments: argparse.Namespace) -> int:
    what = f"webhooks of {arguments.chat[1]}" if arguments.chat else f"webhook {arguments.number}"
    require_yes(arguments, f"{what}: deleted permanently; the receiver never gets it")
    if arguments.chat:
        answer = _of_chat(arguments, "discard")
        line = f"webhooks of {arguments.chat[1]} are deleted: {answer['discarded']}"
    else:
        answer = connect(arguments).call("DELETE", f"{_DEAD}/{arguments.number}")
        line = f"dead letter {arguments.number} is deleted"
    print_either(arguments, answer, line)
    return 0
