"""MySQL and MariaDB: the application's TIMESTAMP columns, where the server's zone has summer time. It writes UTC wall times,
and one hour a year does not exist there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import PATIENT, Wall, new_database
from tests.store.tables import MYSQL_ENUMS
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.store.sql import SqlStore

# from 29 March 2026 01:00 UTC to 25 October 2026 01:00 UTC two hours ahead, else one
ZONE = (
    "INSERT IGNORE INTO mysql.time_zone VALUES (4711, 'N')",
    "INSERT IGNORE INTO mysql.time_zone_name VALUES ('Test/Summer', 4711)",
    "INSERT IGNORE INTO mysql.time_zone_transition_type VALUES (4711, 0, 3600, 0, 'W')",
    "INSERT IGNORE INTO mysql.time_zone_transition_type VALUES (4711, 1, 7200, 1, 'S')",
    "INSERT IGNORE INTO mysql.time_zone_transition VALUES (4711, 1774746000, 1)",
    "INSERT IGNORE INTO mysql.time_zone_transition VALUES (4711, 1792890000, 0)",
)
HOUR = timedelta(hours=1)
TIMES = ("created_at", "updated_at", "last_connected_at", "last_activity_at", "disconnected_at")
MARCH = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001  the column has no zone
OCTOBER = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("at", "read"),
    [
        (MARCH - HOUR, MARCH - HOUR),
        (MARCH, MARCH + HOUR / 2),  # the first time that exists there
        (MARCH + HOUR, MARCH + HOUR),
        (OCTOBER - HOUR, OCTOBER - HOUR),
        (OCTOBER, OCTOBER),
        (OCTOBER + HOUR, OCTOBER + HOUR),
    ],
    ids=str,
)
async def test_each_hour_of_the_year_can_be_written_and_reads_as_it_was(
    request: pytest.FixtureRequest, tmp_path: Path, at: datetime, read: datetime
) -> None:
    url = await new_database("mariadb", request, tmp_path)
    await SqlApplication(url).run(*ZONE)
    url += "&init_command=SET+time_zone='Test/Summer'"
    app, wall = SqlApplication(url), Wall()
    await app.run(MYSQL_ENUMS)
    wall.time = at.replace(tzinfo=UTC).timestamp()
    store = SqlStore(url, wall=wall, busy_timeout=PATIENT)
    await store.open()
    try:
        row = await store.create("a", 1, account_id=None, priority=0)
        assert await store.write_status("a", row.generation, DerivedStatus(Status.CONNECTED))
        await store.touch("a")
        timeout = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT)
        assert await store.write_status("a", row.generation, timeout)
        await store.set_metadata("a", {"x": 1})
        found = await store.session("a")
    finally:
        await store.close()
    written = await app.read("a")
    assert {name: written[name] for name in TIMES} == dict.fromkeys(TIMES, read)
    assert found
    assert found.last_activity == read.replace(tzinfo=UTC)
