"""A database that answers and takes no writes."""

import pytest
from sqlalchemy import make_url

from tests.store.application import SqlApplication
from tests.store.conftest import mariadb, postgresql, ready
from waguard.doctor.checks import database as checks
from waguard.doctor.checks.instance import Instance
from waguard.doctor.probes.database import database
from waguard.doctor.report import Check, Cli

__all__ = ["mariadb", "postgresql", "ready"]


async def _checked(url: str) -> Check:
    seen = await database(url)
    return checks.database(seen, Instance(runtime="/run/waguard"), "/run/waguard", Cli())[0]


@pytest.mark.parametrize("ready", ["postgresql"], indirect=True)
async def test_a_read_only_database_of_postgresql(ready: str) -> None:
    assert (await _checked(ready)).result == "ok"
    app, name = SqlApplication(ready), make_url(ready).database
    await app.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    check = await _checked(ready)
    assert check.result == "failed"
    assert "read-only transaction" in check.seen


@pytest.mark.parametrize("ready", ["mariadb"], indirect=True)
async def test_a_read_only_server_of_mariadb(ready: str) -> None:
    app, name = SqlApplication(ready), make_url(ready).database
    await app.run(
        "CREATE OR REPLACE USER writes@localhost",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO writes@localhost",
    )
    theirs = ready.replace("root@", "writes@")
    assert (await _checked(theirs)).result == "ok"
    await app.run("SET GLOBAL read_only = 1")
    try:
        check = await _checked(theirs)
        assert (await _checked(ready)).result == "ok", "who may write all the same"
    finally:
        await app.run("SET GLOBAL read_only = 0")
    assert check.result == "failed"
    assert "--read-only" in check.seen
    await app.run(f"REVOKE INSERT ON {name}.* FROM writes@localhost")
    check = await _checked(theirs)
    assert "denied" in check.seen
