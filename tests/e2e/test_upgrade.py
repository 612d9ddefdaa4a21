"""The daemon starts on a database of an older version with 450,000 rows, after chats got LIDs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.e2e.conftest import World
from tests.e2e.test_lids import FRIEND, LID, NUMBER, PHONE, bodies, hears
from tests.store.application import SqlApplication
from tests.store.conftest import new_database
from tests.store.past import SESSIONS, Past
from waguard.host.memory import installation_file
from waguard.store.migrate import configuration

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long]

SESSION = SESSIONS[1]  # the one that is really paired; the others have rows only


async def taken_back(database: str, sessions: Path, revision: str) -> None:
    """As a daemon of that version would have left both: none of them marked the folder."""

    def down(connection: Connection) -> None:
        command.downgrade(configuration(connection), revision)

    async with create_async_engine(database, poolclass=NullPool).begin() as connection:
        await connection.run_sync(down)
    (sessions / installation_file.FILE).unlink()


async def died_in_mid_send(app: SqlApplication, message_id: str) -> None:
    """What is known of it is that its command left."""
    await app.run(
        f"UPDATE waguard_outbox SET state = 'sending', ack = NULL WHERE message_id = '{message_id}'",
        f"DELETE FROM waguard_inbox WHERE kind IN ('ack', 'sent') AND chat = '{NUMBER}'",
    )


# tests/store/test_upgrade.py has the other pairs
@pytest.mark.parametrize(
    ("backend", "revision"), [("sqlite", "0004"), ("postgresql", "0004"), ("mariadb", "0003")]
)
async def test_a_start_on_450_000_rows(
    world: World, backend: str, revision: str, request: pytest.FixtureRequest
) -> None:
    daemon, phone = world.daemon, world.standin.phone
    url = await new_database(backend, request, daemon.folder)
    daemon.settings = {**daemon.settings, "WAGUARD_DATABASE__URL": url}
    await daemon.start()
    await daemon.pair(world.standin, SESSION, PHONE)
    for body in ("one", "two"):
        phone.incoming(from_=FRIEND, body=body)
        await hears(world, body)
    ids = []
    for body in ("first", "second"):
        code, sent = await daemon.send(SESSION, FRIEND, body)
        assert code == 200
        ids.append(sent["message_id"])
    await daemon.stop()

    await taken_back(url, daemon.folder / "sessions", revision)
    past = Past(time.time(), 320_000, 45_000, waits=1_000)
    await past.make(url, revision)
    app = SqlApplication(url)
    await died_in_mid_send(app, ids[1])
    phone.migrate(FRIEND, LID)
    phone.incoming(from_=FRIEND, body="three")

    before = len(world.receiver.received)
    began = time.perf_counter()
    await daemon.start(ready=False)
    answers = time.perf_counter() - began
    await daemon.until(lambda: daemon.answers("/health/ready"))
    restored = time.perf_counter() - began
    await daemon.wait_status(SESSION, "connected")
    connected = time.perf_counter() - began
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(
            f"\n{backend} from {revision}: /health answers after {answers:.2f} s, restored after "
            f"{restored:.2f} s, connected after {connected:.2f} s"
        )

    await hears(world, "three")
    phone.receipt(ids[0].rpartition("_")[2], 3)
    phone.incoming(from_=FRIEND, body="four")
    four = await hears(world, "four")
    assert (four["from"], four["chat_id"], four["sender_phone"]) == (NUMBER, NUMBER, FRIEND)

    async def are_known() -> bool:
        reported = [(await daemon.call("GET", f"/api/messages/{name}"))[1] for name in ids]
        return [one["status"] for one in reported] == ["read", "sent"]

    await daemon.until(are_known)
    for name in ids:
        known = [m for m in phone.messages(PHONE) if name.rpartition("_")[2] in m["id"]]
        assert [m["times_transmitted"] for m in known] == [1]

    async def waited_is_delivered() -> bool:
        query = f"SELECT id FROM waguard_deliveries WHERE state = 'pending' AND session_id = '{SESSION}'"
        return not await app.rows(query)

    await daemon.until(waited_is_delivered)
    own = [one for one in bodies(world) if one in {"one", "two", "three", "four"}]
    assert own == ["one", "two", "three", "four"]
    waited = [row for row in past.deliveries() if row["session_id"] == SESSION]
    old = [reported_id(row) for row in waited if row["state"] == "pending"]
    got = [reported_id(one) for one in world.receiver.received[before:]]
    assert [one for one in got if one in set(old)] == sorted(old, key=old.index)


def reported_id(one: Any) -> str:
    """Of the message in a webhook."""
    event = json.loads(one["body"]) if "body" in one else one
    return str(event["data"].get("message", {}).get("id"))
