"""``waguard release``: end what waits since an installation was restored from a backup."""

import argparse

from waguard.cli.client import connect
from waguard.cli.confirmation import require_yes, with_yes
from waguard.cli.parsing import verb, verbs_of, with_daemon, with_json
from waguard.cli.render import print_either


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    groups = verb(verbs, "groups", _groups, "send to groups again, of all sessions")
    webhooks = verb(verbs, "webhooks", _webhooks, "deliver webhooks that may have been delivered")
    for one in (groups, webhooks):
        with_yes(one)
        with_json(one)
        with_daemon(one)


def _groups(arguments: argparse.Namespace) -> int:
    require_yes(arguments, "messages to groups go: members may be unable to read the first ones")
    answer = connect(arguments).call("POST", "/api/restored/groups/release")
    print_either(arguments, answer, f"sessions that send to groups again: {answer['released']}")
    return 0


def _webhooks(arguments: argparse.Namespace) -> int:
    require_yes(arguments, "these webhooks go: the receiver may get them for the second time")
    answer = connect(arguments).call("POST", "/api/restored/webhooks/release")
    print_either(arguments, answer, f"queued again: {answer['replayed']}")
    return 0
