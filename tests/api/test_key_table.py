"""Issued keys as the daemon knows them: in memory and in their file."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from tests.clocks import Clock
from tests.waiting import wait_until
from waguard.api.auth import APPLICATION
from waguard.api.key_table import IssuedKeys, refuse
from waguard.core import issued_keys
from waguard.core.issued_keys import KEPT, PAGES, IssuedKey, Wanted
from waguard.core.keys import Caller, Right
from waguard.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from waguard.host.memory import key_memory


class Daemons:
    """One after the other in one folder, on one machine's clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state" / key_memory.FILE
        self.clock = Clock()
        self.keys = self.restarted()

    def restarted(self) -> IssuedKeys:
        self.keys = IssuedKeys(self.path, self.clock)
        self.keys.load()
        return self.keys

    async def make(self, maker: Caller = APPLICATION, **wanted: Any) -> tuple[str, IssuedKey]:
        asked = Wanted(**{"name": "shop", "right": Right.READ} | wanted)
        return await self.keys.create(maker, asked, {})

    async def revoke(self, key: IssuedKey) -> Sequence[IssuedKey]:
        return await self.keys.keep_end(refuse(self.keys, APPLICATION, key.id, {}))

    @property
    def listed(self) -> dict[str, IssuedKey]:
        return {it.name: it for it in self.keys.governed(APPLICATION, {})}

    @property
    def written(self) -> Any:
        return json.loads(self.path.read_bytes())["keys"]

    def disk(self, *, good: bool) -> None:
        """A folder in the place of its draft lets nobody write the file, root neither."""
        draft = self.path.with_name(f"{key_memory.FILE}.new")
        draft.rmdir() if good else draft.mkdir(parents=True)


@pytest.fixture
def daemons(short_path: Path) -> Daemons:
    return Daemons(short_path)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []
    sink = logger.add(found.append, level="DEBUG", format="{message} {extra}")
    yield found
    logger.remove(sink)


async def test_a_key_is_known_by_its_text_alone(daemons: Daemons) -> None:
    text, key = await daemons.make()
    found = daemons.keys.find(text)
    assert found == Caller(name="shop", right=Right.READ, key=key.id)
    other = "b" if text[-1] == "a" else "a"
    for wrong in (text[:-1], text[:-1] + other, text + "a", key.sha256, key.id, f"wg_{key.id}", ""):
        assert daemons.keys.find(wrong) is None
    assert daemons.restarted().find(text) == found


async def test_no_file_is_no_key_and_none_is_made_for_nothing(daemons: Daemons) -> None:
    await daemons.keys.save()
    assert daemons.listed == {}
    assert not daemons.path.exists()


async def test_names_are_each_used_once(daemons: Daemons) -> None:
    _, key = await daemons.make()
    with pytest.raises(ConflictError, match="a key of this name"):
        await daemons.make()
    await daemons.revoke(key)
    text, again = await daemons.make()
    assert again.id != key.id
    assert daemons.keys.find(text)


async def test_no_more_are_made_than_there_may_be(daemons: Daemons) -> None:
    daemons.keys = IssuedKeys(daemons.path, daemons.clock, most=1)
    _, key = await daemons.make()
    with pytest.raises(ConflictError, match="1 valid keys"):
        await daemons.make(name="other")
    await daemons.revoke(key)
    await daemons.make(name="other")


async def test_the_oldest_key_of_a_page_ends_where_there_are_too_many(daemons: Daemons) -> None:
    daemons.keys = IssuedKeys(daemons.path, daemons.clock, most=1)
    other, _ = await daemons.make()
    made = []
    for number in range(PAGES + 1):
        made.append((await daemons.make(name=f"page{number}", for_page=True))[0])
        daemons.clock.live(1.0)
    assert [daemons.keys.find(it) is None for it in made] == [True] + [False] * PAGES
    assert daemons.keys.find(other), "others do not count"
    admin = (await daemons.make(name="ani", right=Right.ADMIN, for_page=True))[1].caller
    by_admin = await daemons.make(admin, name="page-of-ani", for_page=True)
    assert [daemons.keys.find(it) is None for it in (made[1], made[2])] == [True, False]
    assert daemons.keys.find(by_admin[0])
    with pytest.raises(ConflictError, match="a key of this name"):
        await daemons.make(name="page2", for_page=True)


# ---- its end ----


async def test_a_key_expires_and_stays_so(daemons: Daemons, lines: list[str]) -> None:
    text, _ = await daemons.make(lasts=60.0)
    daemons.clock.live(59.0)
    assert daemons.keys.find(text)
    daemons.clock.live(1.0)
    assert daemons.keys.find(text) is None
    daemons.clock.at -= 3_600.0
    assert daemons.keys.find(text) is None, "the clock was set back"
    await daemons.keys.save()
    assert daemons.restarted().find(text) is None
    assert (daemons.listed["shop"].ended_at, daemons.listed["shop"].ended_by) != (None, "x")
    assert sum("key_expired" in it for it in lines) == 1


async def test_a_key_that_nobody_uses_expires_too(daemons: Daemons) -> None:
    await daemons.make(lasts=60.0)
    daemons.clock.live(61.0)
    await daemons.keys.save()
    assert daemons.written[0]["ended_at"] == daemons.clock.at


async def test_a_clock_that_is_set_back_prolongs_nothing(daemons: Daemons) -> None:
    text, _ = await daemons.make(lasts=60.0)
    daemons.clock.live(30.0)
    daemons.clock.at -= 3_600.0
    assert daemons.keys.find(text)
    daemons.clock.live(29.0)
    assert daemons.keys.find(text)
    daemons.clock.live(2.0)
    assert daemons.keys.find(text) is None


async def test_a_clock_that_is_set_back_prolongs_nothing_over_a_restart(daemons: Daemons) -> None:
    text, _ = await daemons.make(lasts=60.0)
    daemons.clock.live(30.0)
    daemons.clock.at -= 3_600.0
    await daemons.keys.save()
    assert daemons.restarted().find(text)
    daemons.clock.live(31.0)
    assert daemons.keys.find(text) is None


async def test_a_reload_prolongs_nothing_either(daemons: Daemons) -> None:
    text, _ = await daemons.make(lasts=60.0)
    daemons.clock.at -= 3_600.0
    daemons.keys.load()
    daemons.clock.live(61.0)
    assert daemons.keys.find(text) is None


async def test_a_clock_that_is_set_forward_ends_it_and_one_that_swings_does_not(
    daemons: Daemons,
) -> None:
    text, _ = await daemons.make(lasts=60.0)
    for step in (20.0, -20.0) * 5:
        daemons.clock.at += step
        await daemons.keys.save()
        assert daemons.keys.find(text)
    daemons.clock.at += 60.0
    assert daemons.keys.find(text) is None


async def test_a_new_key_of_a_key_ends_with_it_where_the_clock_was_set_back(
    daemons: Daemons,
) -> None:
    text, _ = await daemons.make(right=Right.ADMIN, lasts=60.0)
    maker = daemons.keys.find(text)
    assert maker
    daemons.clock.at -= 3_600.0
    child, _ = await daemons.make(maker, name="child")
    daemons.clock.live(61.0)
    assert daemons.keys.find(child) is None


async def test_a_revoked_key_is_refused_at_once_and_after_a_restart(
    daemons: Daemons, lines: list[str]
) -> None:
    text, key = await daemons.make()
    await daemons.revoke(key)
    assert daemons.keys.find(text) is None
    assert daemons.restarted().find(text) is None
    assert daemons.listed["shop"].ended_by == "the application"
    said = "".join(lines)
    assert "key_created" in said
    assert "key_revoked" in said
    assert text not in said
    assert text.removeprefix(f"wg_{key.id}_") not in said


async def test_the_keys_that_a_revoked_key_has_made_are_named(daemons: Daemons) -> None:
    text, key = await daemons.make(right=Right.ADMIN)
    maker = daemons.keys.find(text)
    assert maker
    _, child = await daemons.make(maker, name="child")
    _, ended = await daemons.make(maker, name="ended")
    await daemons.revoke(ended)
    assert await daemons.revoke(key) == [child]
    with pytest.raises(UnauthorizedError):
        await daemons.make(maker, name="late")


async def test_what_ended_long_ago_is_forgotten(daemons: Daemons) -> None:
    _, key = await daemons.make()
    await daemons.revoke(key)
    daemons.clock.live(KEPT + 1)
    await daemons.keys.save()
    assert daemons.written == []


async def test_an_unknown_key_cannot_be_revoked(daemons: Daemons) -> None:
    _, key = await daemons.make()
    scoped = Caller(name="ani", right=Right.ADMIN, workspaces=frozenset({7}))
    for caller, key_id in ((APPLICATION, "ffffffff"), (scoped, key.id)):
        with pytest.raises(NotFoundError):
            refuse(daemons.keys, caller, key_id, {})
    assert daemons.listed["shop"].ended_at is None


async def test_who_has_a_scope_makes_and_sees_what_is_within_it(daemons: Daemons) -> None:
    await daemons.make()
    scoped = Caller(name="ani", right=Right.ADMIN, workspaces=frozenset({7}))
    with pytest.raises(ForbiddenError, match="workspace 8"):
        await daemons.make(scoped, name="other", workspaces=(8,))
    _, mine = await daemons.make(scoped, name="mine")
    assert daemons.keys.governed(scoped, {}) == [mine]
    assert refuse(daemons.keys, scoped, mine.id, {}).ended_by == "ani"


# ---- its file ----


async def test_the_last_use_is_written_by_the_minute(daemons: Daemons) -> None:
    text, _ = await daemons.make()
    caller = daemons.keys.find(text)
    assert caller
    await daemons.keys.save()
    before = daemons.path.stat()
    daemons.clock.live(5.0)
    daemons.keys.record_use(caller)
    daemons.keys.record_use(APPLICATION)
    assert daemons.path.stat() == before
    await daemons.keys.save()
    assert daemons.written[0]["used_at"] == daemons.clock.at
    written = daemons.path.stat()
    await daemons.keys.save()
    assert daemons.path.stat().st_ino == written.st_ino, "nothing has changed"
    assert daemons.restarted().find(text)


async def test_a_key_that_cannot_be_written_is_not_made(daemons: Daemons) -> None:
    daemons.disk(good=False)
    with pytest.raises(UnavailableError, match=r"keys\.json cannot be written"):
        await daemons.make()
    assert daemons.listed == {}
    daemons.disk(good=True)
    text, _ = await daemons.make()
    assert daemons.keys.find(text)


async def test_a_key_is_refused_where_its_end_cannot_be_written(
    daemons: Daemons, lines: list[str]
) -> None:
    text, key = await daemons.make()
    daemons.disk(good=False)
    with pytest.raises(UnavailableError, match="a restart would accept it again"):
        await daemons.revoke(key)
    assert daemons.keys.find(text) is None
    await daemons.keys.save()
    await daemons.keys.save()
    assert sum("state_not_written" in it for it in lines) == 1
    daemons.keys.load()
    assert daemons.keys.find(text) is None, "the file says that it is valid"
    daemons.disk(good=True)
    await daemons.keys.save()
    assert daemons.restarted().find(text) is None


async def test_who_revokes_again_has_it_written(daemons: Daemons) -> None:
    text, key = await daemons.make()
    daemons.disk(good=False)
    with pytest.raises(UnavailableError):
        await daemons.revoke(key)
    daemons.disk(good=True)
    await daemons.revoke(key)
    assert daemons.restarted().find(text) is None


@pytest.fixture
def damaged() -> bytes:
    return b'{"version":1,"keys":[{"id":'


async def test_a_damaged_file_accepts_no_issued_key_and_stays_as_it_is(
    daemons: Daemons, damaged: bytes
) -> None:
    text, key = await daemons.make()
    good = daemons.path.read_bytes()
    daemons.path.write_bytes(damaged)
    keys = daemons.restarted()
    assert keys.find(text) is None
    assert "keys.json: it is not a file of keys" in (keys.unreadable or "")
    for asked in (daemons.make(name="other"), _listed(daemons)):
        with pytest.raises(ConflictError, match="the keys are unknown"):
            await asked
    with pytest.raises(NotFoundError):
        await daemons.revoke(key)
    await keys.save()
    assert daemons.path.read_bytes() == damaged
    daemons.path.write_bytes(good)
    keys.load()
    assert keys.unreadable is None
    assert keys.find(text)


async def _listed(daemons: Daemons) -> object:
    return daemons.listed


async def test_a_file_that_is_damaged_at_a_reload_changes_nothing(
    daemons: Daemons, damaged: bytes
) -> None:
    text, _ = await daemons.make()
    other, key = await daemons.make(name="other")
    daemons.path.write_bytes(damaged)
    daemons.keys.load()
    assert daemons.keys.find(text)
    with pytest.raises(UnavailableError):
        await daemons.revoke(key)
    assert daemons.keys.find(other) is None
    await daemons.keys.save()
    assert daemons.path.read_bytes() == damaged


async def test_a_file_that_was_moved_away_is_no_key(daemons: Daemons) -> None:
    text, _ = await daemons.make()
    daemons.path.unlink()
    daemons.keys.load()
    assert daemons.keys.find(text) is None
    assert daemons.listed == {}


async def _saves(daemons: Daemons) -> None:
    await daemons.keys.save()


async def _makes(daemons: Daemons) -> None:
    await daemons.make(name="third")


async def _revokes(daemons: Daemons) -> None:
    await daemons.revoke(daemons.listed["other"])


@pytest.mark.parametrize("write", [_saves, _makes, _revokes])
async def test_what_was_taken_out_of_the_file_by_hand_does_not_come_back_with_the_next_write(
    daemons: Daemons, write: Callable[[Daemons], Awaitable[None]]
) -> None:
    text, key = await daemons.make()
    other, _ = await daemons.make(name="other")
    caller = daemons.keys.find(other)
    assert caller
    key_memory.write(daemons.path, [it for it in daemons.listed.values() if it.id != key.id])
    daemons.keys.record_use(caller)
    await write(daemons)
    assert "shop" not in {it["name"] for it in daemons.written}
    assert daemons.keys.find(text) is None
    assert "other" in daemons.listed


async def test_what_somebody_has_damaged_since_is_not_written_over(
    daemons: Daemons, damaged: bytes
) -> None:
    text, _ = await daemons.make()
    caller = daemons.keys.find(text)
    assert caller
    daemons.path.write_bytes(damaged)
    daemons.keys.record_use(caller)
    await daemons.keys.save()
    assert daemons.path.read_bytes() == damaged
    assert daemons.keys.unreadable
    assert daemons.keys.find(text)


async def test_a_file_that_is_gone_is_written_again(daemons: Daemons) -> None:
    text, _ = await daemons.make()
    caller = daemons.keys.find(text)
    assert caller
    daemons.path.unlink()
    daemons.keys.record_use(caller)
    await daemons.keys.save()
    assert [it["name"] for it in daemons.written] == ["shop"]


# ---- several at a time ----


class Slow:
    """Writes when it may; how many write at a time."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.began = 0
        self.at_once = 0
        self.most = 0
        self._write = key_memory.write

    def __call__(self, path: Path, keys: Sequence[IssuedKey]) -> None:
        self.began += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.free.wait(60.0)
        self._write(path, keys)
        self.at_once -= 1


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()
    monkeypatch.setattr(key_memory, "write", made)
    return made


async def begun(slow: Slow, times: int = 1) -> None:
    await wait_until(lambda: slow.began >= times, "it is being written")


async def test_two_never_write_at_a_time_not_even_where_one_gives_up(
    daemons: Daemons, slow: Slow
) -> None:
    making = asyncio.create_task(daemons.make())
    await begun(slow)
    making.cancel()
    saving = asyncio.create_task(daemons.keys.save())
    other = asyncio.create_task(daemons.make(name="other"))
    await asyncio.sleep(0)
    slow.free.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    await asyncio.gather(saving, other)
    await daemons.keys.save()
    assert slow.most == 1
    assert [it["name"] for it in daemons.written] == ["other"], "nobody has the first one"


async def test_a_key_that_is_revoked_while_it_makes_one_makes_none(
    daemons: Daemons, slow: Slow
) -> None:
    slow.free.set()
    text, key = await daemons.make(right=Right.ADMIN)
    maker = daemons.keys.find(text)
    assert maker
    slow.free.clear()
    making = asyncio.create_task(daemons.make(maker, name="child"))
    await begun(slow, 2)
    revoking = asyncio.create_task(daemons.revoke(key))
    await wait_until(lambda: daemons.keys.find(text) is None, "it is revoked")
    slow.free.set()
    with pytest.raises(UnauthorizedError):
        await making
    assert await revoking == []
    assert list(daemons.listed) == ["shop"]
    assert [it["name"] for it in daemons.written] == ["shop"]


async def test_what_is_used_while_it_is_written_is_written_the_next_time(
    daemons: Daemons, slow: Slow
) -> None:
    slow.free.set()
    text, _ = await daemons.make()
    caller = daemons.keys.find(text)
    assert caller
    slow.free.clear()
    daemons.keys.record_use(caller)
    saving = asyncio.create_task(daemons.keys.save())
    await begun(slow, 2)
    daemons.clock.live(5.0)
    daemons.keys.record_use(caller)
    slow.free.set()
    await saving
    await daemons.keys.save()
    assert daemons.written[0]["used_at"] == daemons.clock.at


# ---- what lasts as long as a key ----


async def stays(keys: IssuedKeys, caller: Caller, entered: asyncio.Event) -> None:
    async with keys.lasting(caller):
        entered.set()
        await asyncio.Event().wait()


Ending = Callable[[Daemons, IssuedKey], Any]


async def _revoked(daemons: Daemons, key: IssuedKey) -> None:
    await daemons.revoke(key)


async def _expired(daemons: Daemons, _: IssuedKey) -> None:
    daemons.clock.at += 3_600.0
    await daemons.keys.save()


async def _taken_out(daemons: Daemons, _: IssuedKey) -> None:
    daemons.path.unlink()
    daemons.keys.load()


@pytest.mark.parametrize("end", [_revoked, _expired, _taken_out])
async def test_what_uses_a_key_ends_with_it(daemons: Daemons, end: Ending) -> None:
    text, key = await daemons.make(lasts=3_600.0)
    other, _ = await daemons.make(name="other")
    caller, beside = daemons.keys.find(text), daemons.keys.find(other)
    assert caller
    assert beside
    entered, second = asyncio.Event(), asyncio.Event()
    staying = asyncio.create_task(stays(daemons.keys, caller, entered))
    going_on = asyncio.create_task(stays(daemons.keys, beside, second))
    await asyncio.gather(entered.wait(), second.wait())
    await end(daemons, key)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(staying, 60.0)
    assert going_on.done() == (end is _taken_out)
    going_on.cancel()
    await asyncio.gather(going_on, return_exceptions=True)


async def test_nothing_begins_with_a_key_that_has_ended_and_its_end_comes_by_itself(
    daemons: Daemons,
) -> None:
    text, key = await daemons.make(lasts=0.05)
    caller = daemons.keys.find(text)
    assert caller
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stays(daemons.keys, caller, asyncio.Event()), 60.0)
    await daemons.revoke(key)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stays(daemons.keys, caller, asyncio.Event()), 60.0)
    assert issued_keys.is_key(text)


async def test_a_key_of_the_key_file_has_no_end(daemons: Daemons) -> None:
    assert daemons.keys.accepts(APPLICATION)
    entered = asyncio.Event()
    staying = asyncio.create_task(stays(daemons.keys, APPLICATION, entered))
    await entered.wait()
    staying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staying
