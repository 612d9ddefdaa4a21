"""The report for people. Pure."""

from collections.abc import Iterator, Sequence

from waguard.doctor.report import Check, Result, worst
from waguard.errors import printable

_WIDTH = 15
_SUMMARY = {
    Result.OK: "no problem was found",
    Result.WARNING: "it works; the warnings say what may fail",
    Result.FAILED: "something failed",
}


def lines(checks: Sequence[Check], repairs: Sequence[str] = ()) -> Iterator[str]:
    """One line a check, and below it what to do."""
    yield from (line for check in checks for line in check_lines(check))
    if repairs:
        yield ""
        yield "repaired:"
        yield from (f"  {printable(one)}" for one in repairs)
    yield ""
    yield f"{worst(checks)}: {_SUMMARY[worst(checks)]}"


def check_lines(check: Check, indent: str = "", width: int = _WIDTH) -> Iterator[str]:
    """One check, and below it what to do."""
    yield f"{indent}{check.result:<8}{check.name:<{width}} {printable(check.seen)}"
    if check.result in {Result.OK, Result.SKIPPED}:
        return
    margin = indent + " " * (8 + width + 1)
    if check.remedy:
        yield f"{margin}{printable(check.remedy)}"
    if check.command:
        yield f"{margin}$ {printable(check.command)}"
