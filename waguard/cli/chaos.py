"""``waguard chaos``: break a waguard of its own, and see it heal."""

import argparse
from pathlib import Path

from waguard.cli.lab import require_lab
from waguard.errors import ConfigError


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.set_defaults(command=_chaos)
    parser.add_argument(
        "--yes-break-things",
        action="store_true",
        help="without it nothing is done: processes are killed and a small disk is mounted",
    )
    parser.add_argument("--seed", type=int, help="the same seed draws the same faults (any)")
    parser.add_argument("--faults", type=int, default=50, help="how many (%(default)s)")
    parser.add_argument("--sessions", type=int, default=4, help="how many (%(default)s)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FAULT",
        help="draw from these faults alone; may be said again (all)",
    )
    parser.add_argument(
        "--messages",
        type=int,
        default=0,
        help="so many messages arrive meanwhile, a quarter as many are sent, and all are accounted for by"
        " a double of the application",
    )
    parser.add_argument(
        "--database", metavar="URL", help="an empty one for --messages (SQLite in its own folder)"
    )
    parser.add_argument(
        "--quiet",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds of the application's limiter (%(default)s)",
    )
    parser.add_argument(
        "--hold-limit", type=float, metavar="S", help="webhook.hold_limit for --messages"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="append one line of JSON for this run"
    )


def _chaos(arguments: argparse.Namespace) -> int:
    if not arguments.yes_break_things:
        raise ConfigError(
            "chaos kills processes and damages files, all of a waguard of its own",
            field="--yes-break-things",
            remedy="say --yes-break-things to have that",
        )
    require_lab()
    for name in ("faults", "sessions"):
        if getattr(arguments, name) < 1:
            raise ConfigError("at least 1 is needed", field=f"--{name}")
    if arguments.messages < 0:
        raise ConfigError("0 or more are needed", field="--messages")
    if arguments.quiet <= 0:
        raise ConfigError("more than 0 s are needed", field="--quiet")
    if arguments.database and not arguments.messages:
        raise ConfigError(
            "another database is for a campaign with messages",
            field="--database",
            remedy="say --messages too",
        )
    if arguments.report:
        _try_to_write(arguments.report)

    import secrets  # noqa: PLC0415

    from waguard.lab.chaos import campaign  # noqa: PLC0415

    known = campaign.known(messages=arguments.messages > 0)
    if unknown := [name for name in arguments.only if name not in known]:
        raise ConfigError(
            "there is no such fault",
            field="--only",
            value=unknown[0],
            remedy=f"known: {', '.join(known)}",
        )
    seed = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    return campaign.run(
        campaign.Plan(
            seed=seed,
            faults=arguments.faults,
            sessions=arguments.sessions,
            only=tuple(arguments.only),
            messages=arguments.messages,
            report=arguments.report,
            database=arguments.database,
            quiet=arguments.quiet,
            hold_limit=arguments.hold_limit,
        )
    )


def _try_to_write(report: Path) -> None:
    """Before the work, not after it."""
    try:
        report.open("a", encoding="utf-8").close()
    except OSError as error:
        raise ConfigError(
            f"{report} cannot be written: {error.strerror}",
            field="--report",
            value=str(report),
            remedy="name a file in a folder that is there",
        ) from None
