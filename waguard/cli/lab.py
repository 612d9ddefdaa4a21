"""``waguard lab``, and what the commands of the lab need besides waguard."""

import argparse
from importlib.util import find_spec

from waguard.cli.parsing import verb, verbs_of
from waguard.errors import ConfigError


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    about = "three hosts, three etcd and a database on this machine to play with; Ctrl-C ends all"
    cluster = verb(verbs_of(parser), "cluster", _cluster, about)
    cluster.add_argument(
        "--sessions", type=int, default=2, metavar="N", help="paired on each host (2)"
    )


def _cluster(arguments: argparse.Namespace) -> int:
    require_lab()
    from waguard.lab import cluster  # noqa: PLC0415 - heavy

    return cluster.run(sessions=arguments.sessions)


def require_lab() -> None:
    """Raises ``ConfigError`` where the extra is not installed."""
    if find_spec("cryptography") is None:
        raise ConfigError(
            "the stand-in of WhatsApp Web needs the package cryptography, which is not installed",
            remedy="pipx inject waguard cryptography",
        )
