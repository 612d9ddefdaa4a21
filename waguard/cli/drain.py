"""``waguard drain``: empty a host of the cluster before it is switched off, and let it take sessions again."""

import argparse
import time
from typing import Any
from urllib.parse import quote

from waguard.cli.client import ApiCallError, ApiClient, connect
from waguard.cli.hosts import PATH
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.polling import polled
from waguard.cli.render import print_either
from waguard.cli.waiting import Waiting


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("host", nargs="?", metavar="HOST", help="(this one)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="until it has no session any more")
    how.add_argument("--end", action="store_true", help="let it take sessions again")
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_drain)


def _drain(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    host = arguments.host or client.call("GET", PATH)["host"]
    method = "DELETE" if arguments.end else "POST"
    body: dict[str, Any] | None = None if arguments.end else {}
    answer = client.call(method, f"{PATH}/{quote(host, safe='')}/drain", body)
    if arguments.end:
        print_either(arguments, answer, f"{host} takes sessions again")
        return 0
    if not arguments.wait:
        print_either(
            arguments, answer, f"{host} takes no session any more, and its own move: waguard hosts"
        )
        return 0
    _wait(client, host, arguments.context.link_poll)
    print_either(arguments, answer, f"{host} has no session any more")
    return 0


def _wait(client: ApiClient, host: str, pause: float) -> None:
    """Until the host has said of itself that it drains, and has nothing."""
    reason = "it has not said how many it has"
    with Waiting(f"the sessions of {host}", lambda: reason, after=client.says_after) as waiting:
        while True:
            listed = polled(client, lambda: client.call("GET", PATH), pause)["hosts"]
            found = {it["host"]: it for it in listed}.get(host)
            if found is None or not found["alive"]:
                raise ApiCallError(
                    f"{host} does not run any more",
                    answered=200,
                    remedy="its sessions are taken over as those of a dead host: waguard hosts",
                )
            if found["drain"]:
                if not found["owned"]:
                    return
                reason = f"{found['owned']} are still there{_where_to(listed)}"
                waiting.goes_on()
            time.sleep(pause)


def _where_to(listed: list[dict[str, Any]]) -> str:
    if any(it["alive"] and not it["drain"] for it in listed):
        return ""
    return ", and no host takes sessions: start another one, or `waguard drain --end` where one is drained"
