"""``waguard doctor``: what is wrong here, and what repairs it."""

import argparse
import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waguard.cli.context import Context
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import paint, print_json
from waguard.errors import ConfigError

if TYPE_CHECKING:
    from waguard.doctor.probes.machine import Machine

_STYLES: Final = {"ok": "good", "warning": "wait", "failed": "bad", "skipped": "soft"}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = "Exit codes: 0 all is healthy, or only warnings; 5 something failed."
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--fix",
        action="store_true",
        help="repair what is safe: modes, missing folders, a missing key, what a dead daemon left",
    )
    what.add_argument(
        "--cutover",
        action="store_true",
        help="from the old service to waguard: what is left to do, in its order; changes nothing",
    )
    parser.add_argument(
        "--env", type=Path, metavar="FILE", help="the application's .env, for --cutover"
    )
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    if arguments.cutover:
        return _cutover(arguments)
    if arguments.env:
        raise ConfigError(
            "the application's .env is compared by --cutover only",
            field="--env",
            value=str(arguments.env),
            remedy="say --cutover, too",
        )
    return _examine(arguments)


def _examine(arguments: argparse.Namespace) -> int:
    from waguard.doctor.examination import examine  # noqa: PLC0415
    from waguard.doctor.report import as_json, exit_code  # noqa: PLC0415
    from waguard.doctor.text import lines  # noqa: PLC0415

    machine = _machine(arguments.context)
    checks, repairs = asyncio.run(examine(arguments.config, os.environ, machine)), []
    if arguments.fix:
        from waguard.doctor.repair import repair  # noqa: PLC0415

        repairs = repair(checks)
        if repairs:  # what is wrong now
            checks = asyncio.run(examine(arguments.config, os.environ, machine))
    if arguments.json:
        print_json(as_json(checks, repairs))
    else:
        _print(lines(checks, repairs))
    return exit_code(checks)


def _cutover(arguments: argparse.Namespace) -> int:
    from waguard.cutover.examination import examine  # noqa: PLC0415
    from waguard.cutover.text import as_json, lines  # noqa: PLC0415
    from waguard.doctor.report import exit_code  # noqa: PLC0415

    machine = _machine(arguments.context)
    found = asyncio.run(examine(arguments.config, os.environ, arguments.env, machine))
    if arguments.json:
        print_json(as_json(found.steps, found.back))
    else:
        _print(lines(found.plan, found.back))
    return exit_code(check for checks in found.plan.values() for check in checks)


def _machine(context: Context) -> "Machine":
    from waguard.doctor.probes.machine import Machine  # noqa: PLC0415

    return Machine(context.root, system_file=context.system_file)


def _print(lines: Iterable[str]) -> None:
    """With the results in colour."""
    for line in lines:
        word = line.strip().partition(" ")[0].rstrip(":")
        print(line.replace(word, paint(word, _STYLES[word]), 1) if word in _STYLES else line)
