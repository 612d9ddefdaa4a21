""" "Waiting for this message": it is delivered when it can be read, in whatever way, and exactly once."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.e2e.test_lids import bodies, hears, restarted
from tests.e2e.test_notices import incidents, reload
from waguard.core.messages.undecryptable import ADVISE_AFTER, KEPT_FOR
from waguard.profile.owner_mark import PAIRING

# what `make test` sees of it: test_undecryptable.py of tests/worker (the page), tests/supervision, tests/store
pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"
LID = "700000000000001"
DAY = 86_400.0


async def paired(world: World, *, interval: float | None = None) -> None:
    """``interval``: in seconds between two look-ups; None: an hour."""
    if interval is not None:
        more = {"WAGUARD_INBOX__UNDECRYPTABLE_INTERVAL": str(interval)}
        world.daemon.settings = {**world.daemon.settings, **more}
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)


async def counted(world: World, count: int) -> dict[str, Any]:
    """The session's status, when it shows so many."""

    async def check() -> dict[str, Any] | None:
        reported = await world.daemon.status("s1")
        return reported if reported["undecryptable"]["count"] == count else None

    found: dict[str, Any] = await world.daemon.until(check)
    return found


async def sealed(world: World, body: str, **more: Any) -> str:
    """A message that cannot be decrypted, when it is remembered; and another one after it."""
    phone = world.standin.phone
    message_id = phone.incoming(from_=FRIEND, body=body, sealed="e2e", **more)["id"]
    phone.incoming(from_=FRIEND, body=f"after {body}")
    await hears(world, f"after {body}")
    reported = await counted(world, 1)
    assert reported["undecryptable"]["since"]
    assert reported["conditions"] == []
    return message_id


async def is_reported_once(world: World, body: str) -> dict[str, Any]:
    """It is delivered once, marked as late, and never again: a message after it is a sign."""
    message = await hears(world, body)
    assert message["backfilled"] is True
    assert message["type"] == "chat"
    await counted(world, 0)
    await world.daemon.until_delivered()
    await reload(world)
    await world.daemon.wait_status("s1", "connected", link="connected")
    world.standin.phone.incoming(from_=FRIEND, body="last")
    await hears(world, "last")
    assert bodies(world) == [f"after {body}", body, "last"]
    assert "message_error" not in {one["event"] for one in world.receiver.received}
    return message


def database(world: World) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(world.daemon.folder / "state/waguard.db"))


def age(world: World, seconds: float) -> None:
    """It was remembered so much earlier; to be called while no daemon runs."""
    with database(world) as connection:
        connection.execute("UPDATE waguard_undecryptable SET since = since - ?", (seconds,))
        connection.commit()


def paired_long_ago(world: World) -> None:
    (path,) = world.daemon.folder.glob(f"sessions/*/*/{PAIRING}")
    reported = json.loads(path.read_text())
    path.write_text(json.dumps(reported | {"at": reported["at"] - 30 * DAY}))


@pytest.mark.long
async def test_in_its_place_with_an_event_it_is_delivered_at_once(world: World) -> None:
    await paired(world)
    message_id = await sealed(world, "event")
    world.standin.phone.decrypt(message_id, "event")
    assert (await is_reported_once(world, "event"))["id"] == message_id


@pytest.mark.long
async def test_in_its_place_without_an_event_it_is_found_in_time(world: World) -> None:
    await paired(world, interval=1.0)
    message_id = await sealed(world, "silent")
    world.standin.phone.decrypt(message_id, "silent")
    await is_reported_once(world, "silent")


@pytest.mark.long
async def test_as_a_new_message_with_the_same_id_after_a_reload(world: World) -> None:
    await paired(world)
    message_id = await sealed(world, "again")
    world.standin.phone.decrypt(message_id, "again")
    await reload(world)
    await is_reported_once(world, "again")


@pytest.mark.long
async def test_after_a_restart_of_the_browser_though_it_is_older_than_what_is_read_back(
    world: World,
) -> None:
    await paired(world)
    paired_long_ago(world)
    message_id = await sealed(world, "old", timestamp=int(time.time() - 10 * DAY))
    world.standin.phone.decrypt(message_id, "stored")
    os.kill((await world.daemon.status("s1"))["browser_pid"], signal.SIGKILL)
    await is_reported_once(world, "old")


@pytest.mark.long
@pytest.mark.parametrize("way", ["stored", "silent", "again"])
async def test_after_a_restart_of_the_daemon_and_of_its_worker(world: World, way: str) -> None:
    await paired(world)
    message_id = await sealed(world, way)
    await restarted(world, meanwhile=lambda: world.standin.phone.decrypt(message_id, way))
    await is_reported_once(world, way)


@pytest.mark.long
async def test_after_a_restart_of_the_daemon_alone(world: World) -> None:
    """Its worker goes on, and so does its page: no chat is read back."""
    await paired(world)
    message_id = await sealed(world, "silent")
    worker = (await world.daemon.status("s1"))["worker_pid"]
    await world.daemon.until_delivered()
    await world.daemon.stop(signal.SIGKILL)
    world.standin.phone.decrypt(message_id, "silent")
    await world.daemon.start()
    await is_reported_once(world, "silent")
    assert (await world.daemon.status("s1"))["worker_pid"] == worker


@pytest.mark.long
async def test_in_a_chat_that_has_another_name_meanwhile(world: World) -> None:
    await paired(world, interval=1.0)
    message_id = await sealed(world, "renamed")
    world.standin.phone.migrate(FRIEND, LID)
    world.standin.phone.decrypt(message_id.split("_")[2], "silent")
    message = await is_reported_once(world, "renamed")
    assert (message["id"], message["from"]) == (message_id, f"{FRIEND}@c.us")


@pytest.mark.long
async def test_one_that_never_can_be_read_is_said_and_then_a_dead_letter(world: World) -> None:
    daemon = world.daemon
    await paired(world)
    message_id = await sealed(world, "never")
    await daemon.stop()
    age(world, ADVISE_AFTER)
    await daemon.start()

    async def condition() -> Any:
        return (await daemon.status("s1"))["conditions"]

    (found,) = await daemon.until(condition)
    assert found["type"] == "undecryptable"
    assert "1 message cannot be decrypted" in found["message"]
    assert "phone" in found["remedy"]
    code, reported = await daemon.call("GET", "/api/webhooks/dead")
    assert (code, reported["dead"]) == (200, [])
    await daemon.stop()
    age(world, KEPT_FOR - ADVISE_AFTER)
    await daemon.start()

    async def letters() -> Any:
        return (await daemon.call("GET", "/api/webhooks/dead?state=undecryptable"))[1]["dead"]

    (letter,) = await daemon.until(letters)
    assert (letter["event"], letter["state"]) == ("message_error", "undecryptable")
    assert "could not decrypt it within 14 days" in letter["error"]
    code, reported = await daemon.call("GET", f"/api/webhooks/dead/{letter['id']}")
    assert (code, reported["body"]["data"]["message_id"]) == (200, message_id)
    await counted(world, 0)

    async def no_condition() -> bool:
        return not (await daemon.status("s1"))["conditions"]

    await daemon.until(no_condition)

    async def incident() -> Any:
        return [one for one in await incidents(world) if "were given up" in one]

    (said,) = await daemon.until(incident)
    assert "waguard webhooks list --state undecryptable" in said
    assert bodies(world) == ["after never"]
    world.standin.phone.decrypt(message_id, "again")  # better late than never
    assert (await hears(world, "never"))["id"] == message_id
