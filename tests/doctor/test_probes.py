"""Probes where they find little, or something odd."""

import asyncio
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine

from tests.doctor.host import Application, Host
from waguard.config.reading import load
from waguard.config.sections import Api, Config, Database, Lease
from waguard.core.profile.ownership import Us
from waguard.core.proxy import parse
from waguard.core.replace import replace
from waguard.cutover import probes as cutover
from waguard.doctor.checks import database as checks_of
from waguard.doctor.checks import files as checks_of_files
from waguard.doctor.checks import receiver as receivers
from waguard.doctor.checks.instance import Instance, Socket
from waguard.doctor.probes import database, files, receiver
from waguard.doctor.probes.instance import Daemon
from waguard.doctor.report import Cli
from waguard.host.memory import proxies

DOWN = Instance(runtime="/run/waguard")
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give things away")


# ---- whose daemon it is ----


@as_root
def test_whose_daemon_it_is(tmp_path: Path) -> None:
    config = load(None, {"WAGUARD_PATHS__STATE": str(tmp_path)})
    service = Us(uid=5, gid=6)
    nobody = pwd.getpwnam("nobody")

    def who(pid: int | None, unit: Us | None) -> tuple[int, int]:
        found = files.daemons_user(config, pid, unit)
        return found.uid, found.gid

    assert who(os.getpid(), service) == (os.geteuid(), os.getegid()), "who runs it"
    assert who(None, service) == (5, 6), "whom the unit names"
    assert who(None, None) == (0, 0), "who asks"
    os.chown(tmp_path, nobody.pw_uid, 0)
    assert who(None, None) == (nobody.pw_uid, nobody.pw_gid), "whose the state is"
    os.chown(tmp_path, 12_345, 12_346)
    assert who(None, None) == (12_345, 12_346), "also of a user without a name"
    tmp_path.rmdir()
    assert who(None, None) == (0, 0)


@as_root
async def test_what_root_made_is_no_place_for_the_daemon_to_write(host: Host) -> None:
    os.chown(host.state, 12_345, 12_345)
    await host.stop()
    [first, *_] = [c for c in await host.wrong() if "paths.sessions" in c.seen]
    assert first.seen.endswith("belongs to user 0: the daemon cannot write there")
    assert first.command == f"chown 12345:12345 {host.sessions} && chmod 700 {host.sessions}"


@as_root
async def test_roots_secret_that_the_daemon_reads_by_its_group_is_one(host: Host) -> None:
    os.chown(host.state / "secret", 0, 12_345)
    (host.state / "secret").chmod(0o640)
    assert [c for c in await host.wrong() if c.name == "secret"] == []


# ---- a database that is new, or was left ----


async def test_before_the_first_start(host: Host) -> None:
    await host.stop()
    host.database.unlink()
    seen = await database.database(f"sqlite+aiosqlite:///{host.database}")
    [check] = checks_of.database(seen, DOWN, "/run/waguard", Cli())
    assert (check.result, "a start makes it" in check.seen) == ("ok", True)
    assert not host.database.exists()
    assert checks_of.rows(seen, DOWN).seen == "there are none yet"


async def test_a_host_of_several_reads_its_own_rows(host: Host) -> None:
    """The profiles of all others are on other disks."""
    url = f"sqlite+aiosqlite:///{host.database}"
    owner = "INSERT INTO waguard_owners (session_id, host, incarnation, epoch) VALUES"
    await host.sql(f"{owner} ('s1', 'a', 'i', 1)")
    found = await database.database(url)
    assert found.rows is not None
    assert len(found.rows) == 1
    for name, count in (("a", 1), ("b", 0)):
        engine = create_engine(f"sqlite:///{host.database}")
        with engine.connect() as connection:
            rows = database._seen(connection, "it", name).rows
        engine.dispose()
        assert rows is not None
        assert len(rows) == count


async def test_an_older_database_waits_for_the_next_start(host: Host) -> None:
    await host.sql("UPDATE waguard_alembic_version SET version_num = '0003'")
    seen = await database.database(f"sqlite+aiosqlite:///{host.database}")
    checks = {c.name: c for c in checks_of.database(seen, DOWN, "/run/waguard", Cli())}
    assert checks["migrations"].result == "ok"
    assert "a start brings it to" in checks["migrations"].seen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("released = 1", "nobody supervises this database"),
        (
            "released = 0, lasts = 1e12, machine = 'cluster', runtime = 'etcd'",
            "the cluster etcd since",
        ),
        ("renewed_at = 1, host = 'other'", "it may be taken over"),
    ],
)
async def test_a_lease_that_is_no_trouble(host: Host, change: str, said: str) -> None:
    await host.sql(f"UPDATE waguard_lease SET {change}")
    seen = await database.database(f"sqlite+aiosqlite:///{host.database}")
    checks = {c.name: c for c in checks_of.database(seen, DOWN, "/run/other", Cli())}
    assert (checks["lease"].result, said in checks["lease"].seen) == ("ok", True)


def test_a_standby_that_does_not_get_the_proxies_is_named(tmp_path: Path) -> None:
    plain = load(None, {"WAGUARD_PATHS__STATE": str(tmp_path)})
    standby = msgspec.structs.replace(plain, lease=Lease(standby=True))
    shares = msgspec.structs.replace(standby, database=Database(key_file=tmp_path / "key"))
    assert checks_of_files.kept_back(files.kept_back(standby)).result == "ok"
    proxies.write(tmp_path, "s", parse("socks5://proxy.example:1080", None, None, mark="m1"))
    check = checks_of_files.kept_back(files.kept_back(standby))
    assert (check.result, "does not start 1 of" in check.seen) == ("warning", True)
    assert [files.kept_back(it) for it in (plain, shares)] == [0, 0]


async def test_no_advice_of_a_standby_stops_the_holder(host: Host) -> None:
    await host.sql("UPDATE waguard_lease SET released = 0, lasts = 1e12, host = 'other'")
    seen = await database.database(f"sqlite+aiosqlite:///{host.database}")
    seen = replace(seen, name="postgresql")
    by_standby = {
        standby: checks_of.database(seen, DOWN, "/run/other", Cli(), standby=standby)[-1]
        for standby in (False, True)
    }
    assert [by_standby[it].result for it in (False, True)] == ["failed", "ok"]
    assert by_standby[True].command is None


async def test_the_address_of_a_standby_leads_to_itself(host: Host) -> None:
    """``host.receiver`` answers at the address; the daemon here waits."""
    url = f"http://127.0.0.1:{host.hook}"
    config = msgspec.structs.replace(Config(), api=Api(public_url=url), lease=Lease(standby=True))
    up = Instance(runtime="/run/waguard", socket=Socket.ANSWERS)
    here = {"status": "standby", "uptime": 60.0}
    cases: list[tuple[int, Any, str, str]] = [
        (503, here, "ok", "leads to this daemon, which waits as the standby"),
        (200, here | {"status": "healthy"}, "failed", "by something else"),  # the holder
        (503, here | {"uptime": 900.0}, "failed", "by something else"),
        (503, [], "failed", "by something else"),
        (500, here, "failed", "/health answers 500"),
    ]
    for status, answer, result, seen in cases:
        host.receiver.status, host.receiver.answers["/health"] = status, answer
        found = await receiver.call_back(config, up, here)
        check = receivers.call_back(replace(found, loopback=False), up)
        assert (check.result, seen in check.seen) == (result, True), check
        assert "own address" in (check.remedy or "own address")
    host.receiver.status = 200
    host.receiver.answers["/health"] = here | {"status": "healthy"}
    found = await receiver.call_back(config, up, here | {"status": "healthy"})
    assert receivers.call_back(replace(found, loopback=False), up).result == "ok", "the holder"


async def test_a_daemon_that_supervises_nothing_now_has_its_address_all_the_same(
    host: Host,
) -> None:
    """A cluster's host without its lease answers 503, and is repaired elsewhere."""
    config = msgspec.structs.replace(Config(), api=Api(public_url=f"http://127.0.0.1:{host.hook}"))
    up = Instance(runtime="/run/waguard", socket=Socket.ANSWERS)
    here = {"status": "degraded", "uptime": 60.0}
    host.receiver.status, host.receiver.answers["/health"] = 503, here
    found = await receiver.call_back(config, up, here)
    assert receivers.call_back(found, up).result == "ok"
    found = await receiver.call_back(config, up, here | {"uptime": 900.0})
    assert receivers.call_back(found, up).result == "failed"
    host.receiver.answers["/health"] = []
    found = await receiver.call_back(config, up, here)
    assert receivers.call_back(found, up).result == "failed"


async def test_a_file_that_may_not_be_read(host: Host) -> None:
    host.database.unlink()
    host.database.mkdir()
    seen = await database.database(f"sqlite+aiosqlite:///{host.database}")
    assert seen.error == "disk I/O error"
    assert seen.command == f"ls -l {host.database}"


async def test_a_damaged_index(host: Host) -> None:
    content = bytearray(host.database.read_bytes())
    page = int.from_bytes(content[16:18])
    for at in range(page * 4, page * 8):
        content[at] = 0xFF
    host.database.write_bytes(content)
    seen = await database.database(f"sqlite+aiosqlite:///{host.database}")
    assert seen.damage


async def test_an_address_that_is_none() -> None:
    seen = await database.database("sqlite+aiosqlite:///:memory:")
    assert seen.error == "a database in memory would be forgotten"


# ---- profiles ----


async def test_a_profile_where_the_old_service_had_it_is_one(host: Host) -> None:
    (host.sessions / "1").mkdir(mode=0o700)
    host.at().profile.rename(host.sessions / "1/s1")
    shutil.rmtree(host.at().snapshots.parents[1])
    [check] = [c for c in await host.examine() if c.name == "profiles"]
    assert (check.result, check.seen) == ("ok", "none of 1 profiles is damaged")


# ---- answers that are none ----


async def test_what_is_no_answer(short_path: Path) -> None:
    odd = Application({"/list": [], "/object": {"a": 1}})
    async with odd.on(short_path / "waguard.sock"):
        daemon = Daemon(short_path, within=20.0)
        assert await asyncio.to_thread(daemon.ask, "/object") == {"a": 1}
        assert await asyncio.to_thread(daemon.ask, "/list") is None
        assert await asyncio.to_thread(daemon.ask, "/none") is None


def test_dates_that_are_none() -> None:
    assert receiver.ahead(None, 0.0) is None
    assert receiver.ahead("yesterday", 0.0) is None
    assert receiver.ahead("Thu, 01 Jan 1970 00:00:07 GMT", 5.0) == 2.0


# ---- the application's .env ----


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ('A="b c" # note', "b c"),
        ("A='b#c'", "b#c"),
        ("A=b # note", "b"),
        ("export A=b", "b"),
        ('A="b', "b"),
        ("A=", ""),
        ("A=b#c", "b#c"),
    ],
)
def test_values_are_read_as_php_reads_them(tmp_path: Path, line: str, value: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# a comment\n{line}\n")
    assert cutover._variables(path) == {"A": value}


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("mysql+asyncmy://me:x@localhost/wa?charset=utf8", "mysql+asyncmy://127.0.0.1:3306/wa"),
        ("mariadb+asyncmy://db:3307/wa", "mysql+asyncmy://db:3307/wa"),
        ("postgresql+asyncpg://me@db/wa", "postgresql+asyncpg://db:5432/wa"),
        ("sqlite+aiosqlite:////var/wa.db", "sqlite+aiosqlite:///var/wa.db"),
        ("not an address", "unknown"),
    ],
)
def test_databases_are_compared_by_their_place(url: str, place: str) -> None:
    assert cutover._place(url) == place
