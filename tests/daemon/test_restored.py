"""What waits since a restore: read from its file, released once, and kept where that cannot be written."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.replace import replace
from waguard.core.restored import EVERY, KIND, Restored
from waguard.core.webhooks.delivery import Doubt
from waguard.daemon.restored import RestoredInstallation
from waguard.host.memory import restored_file

HERE: Final = Restored(backup_at=1.7e9, restored_at=1.75e9, database=True, groups=("a",))
FAR: Final = '{"backup_at":1e300,"restored_at":1.75e9,"database":true,"groups":["a"]}'
RECORD: Final = InboxRecord(
    session_id="a",
    workspace_id=7,
    key="k",
    kind=Kind.MESSAGE,
    at=1.72e9,
    events=(EventPayload("message_received", {}),),
)


def installation(state: Path, *, uses_lookup: bool = False) -> RestoredInstallation:
    return RestoredInstallation(state, uses_lookup=lambda: uses_lookup)


async def test_one_that_was_never_restored_has_nothing_that_waits(tmp_path: Path) -> None:
    it = installation(tmp_path)
    assert it.marked(RECORD) is RECORD
    assert not it.group_waits("a", "1@g.us")
    assert (it.conditions(["a"]), await it.release_groups()) == ([], 0)
    assert list(tmp_path.iterdir()) == []


async def test_a_release_is_for_good(tmp_path: Path) -> None:
    restored_file.write(tmp_path, HERE)
    it = installation(tmp_path)
    assert it.marked(RECORD).repeated is Doubt.WAIT
    assert installation(tmp_path, uses_lookup=True).marked(RECORD).repeated is Doubt.LOOKUP
    assert it.group_waits("a", "1@g.us")
    assert [one.type for one in it.conditions(["a"])] == [KIND]
    assert (await it.release_groups(), await it.release_groups()) == (1, 0)
    for now in (it, installation(tmp_path)):
        assert not now.group_waits("a", "1@g.us")
        assert now.conditions(["a"]) == []
        assert now.marked(RECORD).repeated is Doubt.WAIT  # webhooks are released apart


async def test_one_that_cannot_be_written_is_no_release(tmp_path: Path) -> None:
    restored_file.write(tmp_path, HERE)
    it = installation(tmp_path)
    (tmp_path / "restored.json.new").mkdir()  # in the place of the draft
    with pytest.raises(OSError, match="directory"):
        await it.release_groups()
    assert it.group_waits("a", "1@g.us")


def test_garbage_in_its_place_is_not_nothing(tmp_path: Path) -> None:
    (tmp_path / restored_file.FILE).write_text("half a fi")
    it = installation(tmp_path)
    assert it.group_waits("any", "1@g.us")
    assert it.marked(RECORD).repeated is Doubt.WAIT
    found = restored_file.read(tmp_path)
    assert found is not None
    assert found.groups == (EVERY,)
    assert (tmp_path / restored_file.FILE).read_text() == "half a fi"


@pytest.mark.parametrize("content", ["half a fi", FAR])
async def test_a_release_of_what_cannot_be_read_is_for_good_and_keeps_it(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / restored_file.FILE
    path.write_text(content)
    it = installation(tmp_path)
    assert [one.type for one in it.conditions(["a"])] == [KIND]
    assert await it.release_groups() == 1
    assert not installation(tmp_path).group_waits("a", "1@g.us")
    assert path.with_name("restored.json.unreadable").read_text() == content


async def test_groups_of_a_session_that_another_host_had_used_wait(tmp_path: Path) -> None:
    it = installation(tmp_path)
    await it.roll_back("b", 0.0)
    await it.roll_back("b", 1.7e9)
    for now in (it, installation(tmp_path)):
        assert now.group_waits("b", "1@g.us")
        assert not now.group_waits("a", "1@g.us")
        assert [one.type for one in now.conditions(["a", "b"])] == [KIND]
        assert now.marked(RECORD) is RECORD, "the database is the one that the other host used"
    assert await it.release_groups() == 1
    restored_file.write(tmp_path, HERE)
    older = installation(tmp_path)
    await older.roll_back("b", 1.72e9)
    assert older.group_waits("a", "1@g.us")
    assert older.group_waits("b", "1@g.us")
    assert older.marked(RECORD).repeated is Doubt.WAIT


async def test_groups_of_a_session_that_has_the_newest_credentials_wait_no_more(
    tmp_path: Path,
) -> None:
    it = installation(tmp_path)
    await it.undo_roll_back("b")
    assert list(tmp_path.iterdir()) == [], "it was never restored"
    for name in ("a", "b"):
        await it.roll_back(name, 1.7e9)
    await it.undo_roll_back("b")
    for now in (it, installation(tmp_path)):
        assert [name for name in ("a", "b") if now.group_waits(name, "1@g.us")] == ["a"]
    restored_file.write(tmp_path, replace(HERE, groups=(EVERY,)))
    whole = installation(tmp_path)
    await whole.undo_roll_back("b")
    assert whole.group_waits("b", "1@g.us"), "nobody knows which sessions there were"


async def test_sessions_that_are_taken_over_at_once_all_wait(tmp_path: Path) -> None:
    it = installation(tmp_path)
    names = [f"s{n}" for n in range(12)]
    await asyncio.gather(*(it.roll_back(name, 1.7e9) for name in names))
    for now in (it, installation(tmp_path)):
        assert [name for name in names if not now.group_waits(name, "1@g.us")] == []
    released, _ = await asyncio.gather(it.release_groups(), it.roll_back("late", 1.7e9))
    assert released == len(names)
    assert installation(tmp_path).group_waits("late", "1@g.us")
