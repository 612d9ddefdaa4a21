"""``waguard events``: what happens, as the event stream has it."""

import argparse
import json

from waguard.cli import event_stream, output
from waguard.cli.client import connect
from waguard.cli.parsing import with_config


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "-f", "--follow", action="store_true", help="events from now on, until Ctrl-C"
    )
    parser.add_argument("--session", help="events of this session alone")
    parser.add_argument(
        "--json", action="store_true", help="one object a line, with all that webhooks have"
    )
    with_config(parser)
    parser.set_defaults(command=_events)


def _events(arguments: argparse.Namespace) -> int:
    if arguments.follow:
        events = event_stream.follow(lambda: connect(arguments), broken=_broke, noted=_say)
    else:
        events = event_stream.known(connect(arguments), noted=_say)
    for event in events:
        if arguments.session in {None, event["session_id"]}:
            shown = json.dumps(event) if arguments.json else event_stream.sentence(event)
            print(shown, flush=True)
    return 0


def _broke(why: str) -> None:
    _say(f"{why}; trying again")


def _say(what: str) -> None:
    output.say(f"waguard: {what}\n")
