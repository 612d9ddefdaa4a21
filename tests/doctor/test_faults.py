"""Each fault is planted on a host that is well, found by its check, and comes with its remedy."""

from typing import Any

import pytest

from tests.doctor.faults import installation, machine, sessions
from tests.doctor.host import GOOD, Host, require_runnable
from waguard.doctor.report import Result

FAULTS = installation.FAULTS | machine.FAULTS | sessions.FAULTS


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_is_found_with_its_remedy(
    host: Host, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    planted = FAULTS[name]
    if (waited := planted.plant(host, monkeypatch)) is not None:
        await waited
    wrong = await host.wrong()
    answer = [c for c in wrong if c.name == planted.check and planted.seen in c.seen]
    assert len(answer) == 1, wrong
    [check] = answer
    assert check.result is planted.result
    assert check.remedy
    assert (planted.command or "") in (check.command or "")
    assert (check.command is None) == (planted.command is None)
    for one in wrong:
        require_runnable(one.command)


@pytest.mark.parametrize(
    ("printed", "mode", "result", "seen"),
    [
        (
            {"versions": [GOOD | {"status": "latest"}]},
            "react",
            Result.OK,
            "1 stored, none proven",
        ),
        (None, "react", Result.SKIPPED, "no daemon answers"),
        (None, "off", Result.OK, "versions.mode is off"),
    ],
)
async def test_versions_of_which_nothing_is_known_are_no_fault(
    host: Host, printed: Any, mode: str, result: Result, seen: str
) -> None:
    host.daemon.answers["/api/versions"] = printed
    host.configure("versions", mode=mode)
    [check] = [it for it in await host.examine() if it.name == "versions"]
    assert check.result is result
    assert seen in check.seen


def test_there_are_many() -> None:
    assert len(FAULTS) >= 25
