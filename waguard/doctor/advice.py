"""What of the advice may be printed: no command harms waguard, and each names a program that is there. Pure."""

import re
import shlex
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from waguard.core.replace import replace
from waguard.doctor.report import Check, Cli, Result, skipped

_KILLED: Final = re.compile(r"\bkill (\d+)")
_UNIT: Final = re.compile(r"\bsystemctl (?:[a-z-]+ )+waguard\b")
_BETWEEN: Final = frozenset("&|;")
_OF_THE_SHELL: Final = frozenset({"unset"})


class Here(Struct, frozen=True, kw_only=True):
    """This machine, read after all checks. ``spared``: whether a process is waguard's own, or gone by now; ``has``:
    whether a program is installed; ``unit``: whether waguard's unit is."""

    spared: Callable[[int], bool]
    has: Callable[[str], bool]
    unit: bool


def advised(checks: Sequence[Check], here: Here, cli: Cli) -> list[Check]:
    """The checks, with commands that can be followed."""
    return [_advised(check, here, cli) for check in checks]


def _advised(check: Check, here: Here, cli: Cli) -> Check:
    command = check.command
    if command is None or check.result in {Result.OK, Result.SKIPPED}:
        return check
    if any(here.spared(int(pid)) for pid in _KILLED.findall(command)):
        return skipped(check.name, f"{check.seen}: that process is waguard's own, or gone by now")
    if not here.unit and _UNIT.search(command):
        return _without_unit(check, command, cli)
    missing = [name for name in programs(command) if not here.has(name)]
    if not missing:
        return check
    needed = f"it needs {' and '.join(missing)}, not installed here: {command}"
    return replace(check, command=None, remedy=f"{check.remedy} ({needed})")


def _without_unit(check: Check, command: str, cli: Cli) -> Check:
    if command == "systemctl start waguard":
        return replace(check, command=cli("run"))
    remedy = (
        f"{check.remedy} (no unit is installed: end it where it was started, then `{cli('run')}`)"
    )
    return replace(check, command=None, remedy=remedy)


def programs(command: str) -> list[str]:
    """The programs that a command line runs, without what the shell itself does."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    named, begins = [], True
    for word in lexer:
        if begins and not _BETWEEN.issuperset(word):
            named.append(word)
        begins = _BETWEEN.issuperset(word) or word == "sudo"
    return [name for name in dict.fromkeys(named) if name not in _OF_THE_SHELL]
