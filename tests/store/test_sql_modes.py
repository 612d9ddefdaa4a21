"""MySQL and MariaDB: how the server reads a text does not depend on the modes that somebody gave it."""

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import PATIENT
from tests.store.test_messages import body_of, entry
from waguard.ports.webhooks import GLOBAL
from waguard.store.sql import SqlStore

TEXT = "it's \\ \"quoted\" \\' \\n, -- 100 % \U0001f600"


@pytest.mark.parametrize("ready", ["mariadb"], indirect=True)
async def test_a_text_with_backslashes_is_no_part_of_a_statement(ready: str) -> None:
    store = SqlStore(f"{ready}&sql_mode=NO_BACKSLASH_ESCAPES", busy_timeout=PATIENT)
    await store.open()
    try:
        received = entry("1", message={"body": TEXT})
        await store.messages.write([received])
        ((stored,), _) = await store.messages.pending(GLOBAL, after=0, limit=1)
        assert await store.messages.body(stored.id, stored.event_id) == body_of(received)
    finally:
        await store.close()


@pytest.mark.parametrize("ready", ["mariadb"], indirect=True)
async def test_the_quotes_of_names_may_change_while_waguard_runs(ready: str) -> None:
    app = SqlApplication(ready)
    [before] = await app.rows("SELECT @@GLOBAL.sql_mode AS it")
    try:
        for first, then in (("ANSI", ""), ("", "ANSI_QUOTES")):
            await app.run(f"SET GLOBAL sql_mode = '{first}'")
            store = SqlStore(ready, busy_timeout=PATIENT)
            await store.open()
            assert await store.audit("a") == [], first
            await store._database._opened()[0].dispose()
            await app.run(f"SET GLOBAL sql_mode = '{then}'")
            assert await store.audit("a") == [], then
            await store.close()
    finally:
        await app.run(f"SET GLOBAL sql_mode = '{before['it']}'")
