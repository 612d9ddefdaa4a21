"""The plan of the cut-over, for people and for machines. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from waguard.cutover.checks.plan import TITLES, Plan
from waguard.doctor.report import Check, check_json, worst
from waguard.doctor.text import check_lines

_WIDTH: Final = 20


def lines(plan: Plan, back: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The steps in their order, then the way back."""
    for step, checks in plan.items():
        yield f"{step.value}. {TITLES[step]}"
        for check in checks:
            yield from check_lines(check, "   ", _WIDTH)
    yield ""
    yield "The way back:"
    for number, (what, command) in enumerate(back, 1):
        yield f"{number}. {what}"
        yield f"   $ {command}"


def as_json(
    steps: Sequence[tuple[str, Sequence[Check]]], back: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The answer of ``--cutover --json``."""
    return {
        "result": str(worst(check for _, checks in steps for check in checks)),
        "steps": [
            {"step": number, "title": title, "checks": [check_json(check) for check in checks]}
            for number, (title, checks) in enumerate(steps, 1)
        ],
        "way_back": [{"what": what, "command": command} for what, command in back],
    }
