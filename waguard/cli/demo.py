"""``waguard demo``: a session's life, on the stand-in of WhatsApp Web."""

import argparse

from waguard.cli.lab import require_lab


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--once", action="store_true", help="end after the tour; non-zero where a step failed"
    )
    parser.add_argument("--port", type=int, default=0, help="the API's port (any free one)")
    parser.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    require_lab()
    from waguard.lab import demo  # noqa: PLC0415 - heavy

    return demo.run(once=arguments.once, port=arguments.port)
