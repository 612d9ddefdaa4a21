"""``waguard standin``: the stand-in of WhatsApp Web alone."""

import argparse
from pathlib import Path

from waguard.cli.lab import require_lab
from waguard.errors import PortInUseError


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--port", type=int, default=8443, help="port of the page (%(default)s)")
    parser.add_argument(
        "--phone-port", type=int, default=8480, help="port of its phone (%(default)s)"
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        default=Path("~/.local/state/waguard/standin.key"),
        metavar="FILE",
        help="keeps the key of its certificate, so that Chromium trusts the next one, too (%(default)s)",
    )
    parser.set_defaults(command=_standin)


def _standin(arguments: argparse.Namespace) -> int:
    require_lab()
    import asyncio  # noqa: PLC0415

    from waguard.lab.standin import serve  # noqa: PLC0415

    try:
        asyncio.run(
            serve(
                arguments.port,
                arguments.phone_port,
                key_file=arguments.key_file.expanduser().absolute(),
            )
        )
    except OSError as error:
        raise PortInUseError(
            f"the stand-in cannot listen: {error.strerror or error}",
            remedy="name other ports: --port, --phone-port",
        ) from None
    return 0
