"""``waguard phone``: the phone of the stand-in."""

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see `waguard phone --help`")
    parser.set_defaults(command=_phone)


def _phone(arguments: argparse.Namespace) -> int:
    from waguard.lab.standin.phone_cli import phone_main  # noqa: PLC0415

    return phone_main(arguments.arguments)
