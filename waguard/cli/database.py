"""``waguard database``: what a person decides about the database."""

import argparse

from waguard.cli.client import connect
from waguard.cli.parsing import verb, verbs_of, with_config, with_json
from waguard.cli.render import print_either


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    accept = verb(verbs, "accept", _accept, "the new or empty database is meant: use it")
    with_json(accept)
    with_config(accept)


def _accept(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("POST", "/api/database/accept")
    said = f"{answer['database']} is used from now on; see `waguard status`"
    print_either(arguments, answer, said)
    return 0
