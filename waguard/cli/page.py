"""``waguard page``: the address of the status page, with a ticket for it instead of a key."""

import argparse

from waguard.cli import context, output
from waguard.cli.client import connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.render import print_either
from waguard.core.issued_keys import PAGE_LASTS
from waguard.core.keys import Right
from waguard.host.system.listen import called


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--right",
        choices=[*Right],
        default=Right.OPERATE,
        help="what its key may do; each includes those before (%(default)s)",
    )
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_page)


def _page(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    answer = client.call("POST", "/api/keys/ticket", {"right": arguments.right})
    config = context.read(arguments)[1].config
    base = config.alerts.page_url or config.api.public_url or called(client.base)
    address = f"{base.rstrip('/')}/#ticket={answer['ticket']}"
    print_either(arguments, {"address": address, "expires_in": answer["expires_in"]}, address)
    if not arguments.json:
        output.say(
            f"valid once, for {answer['expires_in']:.0f} s; the page may {arguments.right} for"
            f" {PAGE_LASTS / 3600:.0f} hours\n"
        )
    return 0
