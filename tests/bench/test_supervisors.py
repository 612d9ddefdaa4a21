"""What is measured of a supervisor: on the floor, which is one, and on one that does nothing more after its start."""

from pathlib import Path

import pytest

from bench.rig import left_behind
from bench.supervisors.fleet import ROWS, Plan, Turn
from bench.supervisors.peers import Floor, Peer

QUICK = Plan(count=3, few=2, kills=2, bursts=1, pause=0.1, window=0.1)


class Idle(Peer):
    """Starts its workers and never another one, and ignores SIGTERM."""

    def command(self) -> list[str | Path]:
        workers = self.each("{1} {0} & ")
        return ["sh", "-c", f"trap '' TERM; {workers} while :; do sleep 1; done"]


class Workless(Peer):
    """Starts none."""

    deadline = 0.2

    def command(self) -> list[str | Path]:
        return ["sleep", "600"]


async def test_the_floor_has_every_row_but_one(tmp_path: Path) -> None:
    async with Floor(tmp_path / "many", QUICK.count, tmp_path / "tools") as fleet:
        found = await Turn(fleet, QUICK).whole()
    async with Floor(tmp_path / "few", QUICK.few, tmp_path / "tools") as fleet:
        found |= await Turn(fleet, QUICK).few()
    assert found.keys() == ROWS.keys()
    assert found.pop("silent") == "a silent worker is not noticed"
    assert {key: isinstance(figure, list) and len(figure) for key, figure in found.items()} == {
        **dict.fromkeys(found, 1),
        "restart": QUICK.kills,
        "restart_10": QUICK.kills,
        "start": 3,
    }


async def test_what_does_not_happen_is_a_reason_and_no_figure(tmp_path: Path) -> None:
    async with Idle(tmp_path / "idle", QUICK.count, tmp_path / "tools") as fleet:
        await fleet.up()
        fleet.deadline = 0.2
        turn = Turn(fleet, QUICK)
        await turn._restarts("restart")
        await turn._burst()
        assert not await turn._measure("stop", fleet.down())
        keys = ("restart", "burst", "burst_cpu", "burst_cpu_after", "stop")
        assert turn.found == dict.fromkeys(keys, "not within 0.2 s")
        assert left_behind(fleet.folder) == []
    assert not fleet.folder.exists()


async def test_one_that_does_not_start_ends_the_turn(tmp_path: Path) -> None:
    async with Workless(tmp_path / "workless", QUICK.count, tmp_path / "tools") as fleet:
        with pytest.raises(RuntimeError, match="it did not start"):
            await Turn(fleet, QUICK).whole()
