"""``waguard sweep``: end what a daemon that is gone left running."""

import argparse

from waguard.cli.context import config_of, in_place
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import print_either
from waguard.config.sections import Paths
from waguard.host.files.acting import make_runtime
from waguard.host.files.lock import acquire
from waguard.ports.process import Swept


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    paths = config_of(arguments).paths
    make_runtime(paths.runtime, paths.state)
    with in_place("paths.runtime", paths.runtime):
        swept = _swept(paths)
    print_either(
        arguments,
        {"ended": list(map(str, swept.ended)), "left": list(map(str, swept.foreign))},
        f"{len(swept.ended)} processes ended",
        *(f"left alone: {foreign}" for foreign in swept.foreign),
    )
    return 0


def _swept(paths: Paths) -> Swept:
    lock = acquire(paths.runtime)  # a living daemon adopts what it wants, and ends the rest itself
    try:
        import asyncio  # noqa: PLC0415

        from waguard.host.process.strays import sweep  # noqa: PLC0415

        return asyncio.run(
            sweep(records=str(paths.runtime / "workers"), profiles=str(paths.sessions))
        )
    finally:
        lock.release()
