"""Faults that are planted on a host that is well."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.doctor.host import Host
from waguard.doctor.report import Result

FAILED, WARNING = Result.FAILED, Result.WARNING
Plant = Callable[[Host, pytest.MonkeyPatch], Awaitable[None] | None]


@dataclass(frozen=True)
class Fault:
    """``seen`` and ``command``: a part of what is said; None: there is no command for it."""

    check: str
    result: Result
    seen: str
    command: str | None
    plant: Plant


class Faults(dict[str, Fault]):
    """By the names of the functions that plant them."""

    def fault(
        self, check: str, result: Result, seen: str, command: str | None
    ) -> Callable[[Plant], Plant]:
        def keep(plant: Plant) -> Plant:
            self[getattr(plant, "__name__", check)] = Fault(check, result, seen, command, plant)
            return plant

        return keep
