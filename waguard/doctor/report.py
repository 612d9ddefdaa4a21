"""What a check says. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from waguard.core.exits import EXIT_UNHEALTHY

"""The exit code, as that of ``waguard status`` for a daemon that is degraded."""


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """What was checked works now, and may not for long."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """Nothing could be checked, or it does not apply; ``seen`` says why."""


# ---- what --fix may do ----


class SetMode(Struct, frozen=True):
    """Close a file or a folder to other users."""

    path: str
    mode: int


class MakeFolder(Struct, frozen=True):
    """Create a private folder for this user."""

    path: str
    uid: int
    gid: int


class MakeKey(Struct, frozen=True):
    """Generate the key file for this user."""

    path: str
    uid: int
    gid: int


class RemoveStale(Struct, frozen=True):
    """Remove what a dead daemon left in its runtime folder, while nobody holds the folder's lock."""

    runtime: str
    name: str


Repair = SetMode | MakeFolder | MakeKey | RemoveStale


class Check(Struct, frozen=True, kw_only=True):
    """``seen`` and ``remedy`` are sentences without a full stop; ``command`` is for a shell."""

    name: str
    result: Result
    seen: str
    remedy: str | None = None
    command: str | None = None
    repair: Repair | None = None


def ok(name: str, seen: str) -> Check:
    """Nothing is to be done."""
    return Check(name=name, result=Result.OK, seen=seen)


def skipped(name: str, why: str) -> Check:
    """A check that was not made."""
    return Check(name=name, result=Result.SKIPPED, seen=why)


def warning(
    name: str, seen: str, remedy: str, command: str | None = None, repair: Repair | None = None
) -> Check:
    """A check of what works, for now."""
    return Check(
        name=name,
        result=Result.WARNING,
        seen=seen,
        remedy=remedy,
        command=command,
        repair=repair,
    )


def failed(
    name: str, seen: str, remedy: str, command: str | None = None, repair: Repair | None = None
) -> Check:
    """A check of what does not work."""
    return Check(
        name=name,
        result=Result.FAILED,
        seen=seen,
        remedy=remedy,
        command=command,
        repair=repair,
    )


class Cli(Struct, frozen=True):
    """How this very waguard is called in a remedy: with the ``--config`` that the doctor was given."""

    config: str | None = None
    program: str = "waguard"
    """A path where the command is not installed, as in a checkout."""

    def __call__(self, words: str) -> str:
        """The command line for ``words``."""
        given = f" --config {shlex.quote(self.config)}" if self.config else ""
        return f"{self.program} {words}{given}"


def worst(checks: Iterable[Check]) -> Result:
    """The gravest of the results; skipped ones are as good as ok."""
    found = {check.result for check in checks}
    return next((r for r in (Result.FAILED, Result.WARNING) if r in found), Result.OK)


def exit_code(checks: Iterable[Check]) -> int:
    """0, or 5 where something failed."""
    return EXIT_UNHEALTHY if worst(checks) is Result.FAILED else 0


def as_json(checks: Sequence[Check], repairs: Sequence[str] = ()) -> dict[str, Any]:
    """The answer of ``--json``; docs/doctor.md has its schema."""
    return {
        "result": str(worst(checks)),
        "checks": [check_json(check) for check in checks],
        "repairs": list(repairs),
    }


def check_json(check: Check) -> dict[str, Any]:
    """One check, as both answers have it."""
    return {
        "check": check.name,
        "result": str(check.result),
        "seen": check.seen,
        "remedy": check.remedy,
        "command": check.command,
        "fixable": check.repair is not None,
    }
