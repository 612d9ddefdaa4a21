"""The doctor and real members of etcd: each fault is made, found, and comes with its remedy."""

import base64
import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster import etcd_servers
from tests.cluster.certificates import certificates
from tests.cluster.etcd_servers import Member
from tests.config.configured import loaded
from tests.config.test_cluster import text
from tests.doctor.host import require_runnable
from waguard.config.sections import Cluster
from waguard.core.replace import replace
from waguard.doctor.checks import etcd as checks
from waguard.doctor.checks.etcd import Endpoint, Etcd, Listed
from waguard.doctor.probes import etcd as probes
from waguard.doctor.report import Check, Result

PATIENT: Final = 20.0  # s for a member, on a machine that is busy
KEY = base64.b64encode(b"waguard/i/hosts/a").decode()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cluster(*members: Member, **keys: Any) -> Cluster:
    return loaded(text(endpoints=[it.endpoint for it in members], **keys)).cluster


async def ask(of: Cluster, *, kept: int = checks.KEPT, within: float = PATIENT) -> Etcd:
    return await probes.ask(of, kept=kept, within=within)


async def found(
    *members: Member, kept: int = checks.KEPT, within: float = PATIENT, **keys: Any
) -> list[Check]:
    made = checks.etcd(await ask(cluster(*members, **keys), kept=kept, within=within))
    for check in made:
        require_runnable(check.command)
        assert check.remedy or check.result is Result.OK
    return made


def one(found: Sequence[Check], result: Result, seen: str) -> None:
    fitting = [it for it in found if seen in it.seen]
    assert [it.result for it in fitting] == [result], found


@pytest.fixture
def three() -> Iterator[Sequence[Member]]:
    with etcd_servers.etcd(3) as made:
        yield made


@pytest.mark.long
async def test_members_that_are_away(
    three: Sequence[Member],
) -> None:
    a, b, c = three
    [check] = await found(a, b, c)
    assert (check.result, check.seen[:24]) == (Result.OK, "3 of 3 members answer; i")
    [check] = await found(a, b)
    one([check], Result.WARNING, "does not name member m2")
    with c.frozen():
        [check] = await found(a, b, c, within=3.0)
        one([check], Result.WARNING, f"member m2 ({c.endpoint}) does not answer: 2 of 3 do")
        assert "none of them may fail" in check.seen
    b.kill()
    c.kill()
    while (await ask(cluster(a), within=3.0)).endpoints[0].leader:  # it does not know yet
        pass
    failed = await found(a, b, c, within=3.0)
    one(failed, Result.FAILED, "0 of 3 members work, and 2 are needed")
    a.kill()
    refused = await found(a, within=3.0)
    one(refused, Result.FAILED, f"{a.endpoint}: Cannot connect")


@pytest.fixture(scope="module")
def alone() -> Iterator[Member]:
    with etcd_servers.etcd() as (made,):
        yield made


async def test_one_member_is_no_majority_of_more(alone: Member) -> None:
    one(await found(alone), Result.WARNING, "etcd has 1 member, and none may be away")


async def test_two_etcd(alone: Member) -> None:
    with etcd_servers.etcd() as (other,):
        [check] = await found(alone, other)
    one([check], Result.FAILED, "members of different etcd")
    assert alone.endpoint in check.seen
    assert other.endpoint in check.seen


async def test_another_etcd_than_that_of_the_owners(alone: Member) -> None:
    seen = await ask(cluster(alone))
    [check] = checks.of_owners(seen, "17")
    one([check], Result.FAILED, "in another etcd (cluster_id 17) than that of")
    require_runnable(check.command)
    own = seen.endpoints[0].cluster
    assert own
    assert checks.of_owners(seen, own) == checks.of_owners(seen, "") == []


async def test_nothing_compacts_it(alone: Member) -> None:
    for _ in range(20):
        revision = int(alone.ask("kv/put", key=KEY)["header"]["revision"])
    grows = "keeps more than"
    one(await found(alone, kept=10), Result.WARNING, grows)
    alone.ask("kv/compaction", revision=revision - 5)
    assert not [it for it in await found(alone, kept=10) if grows in it.seen]
    assert not [it for it in await found(alone) if grows in it.seen], "it has not so many"


async def test_it_is_full() -> None:
    with etcd_servers.etcd(options=["--quota-backend-bytes=1000000"]) as (small,):
        value = base64.b64encode(secrets.token_bytes(100_000)).decode()
        with contextlib.suppress(OSError):
            for number in range(100):
                small.ask("kv/put", key=base64.b64encode(b"%d" % number).decode(), value=value)
        wrong = await found(small)
    one(wrong, Result.FAILED, "alarm NOSPACE is on: it takes no write")
    one(wrong, Result.WARNING, "of 1 MB: when it is full")


@pytest.mark.long
async def test_certificates_end(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    keys = {
        "ca_file": str(made.ca),
        "certificate_file": str(made.client),
        "private_key_file": str(made.client_key),
    }
    with etcd_servers.etcd(certificates=made) as (encrypted,):
        while (seen := await ask(cluster(encrypted, **keys))).endpoints[0].error:
            pass
        assert not [it for it in checks.etcd(seen) if "certificate" in it.seen], "in 30 days"
        [alone] = await found(encrypted, ca_file=str(made.ca))
    one([alone], Result.FAILED, encrypted.endpoint)  # it wants a certificate
    later = checks.etcd(replace(seen, now=time.time() + 20 * 86_400))
    one(later, Result.WARNING, f"the certificate of {encrypted.endpoint} ends in")
    one(later, Result.WARNING, "cluster.certificate_file ends in")
    over = checks.etcd(replace(seen, now=time.time() + 40 * 86_400))
    one(over, Result.FAILED, "cluster.certificate_file ended")


@pytest.mark.long
async def test_a_login(tmp_path: Path) -> None:
    (tmp_path / "user").touch(mode=0o600)

    async def as_user(login: str) -> list[Check]:
        (tmp_path / "user").write_text(login)
        return await found(closed, user_file="user")

    with etcd_servers.etcd() as (closed,):
        closed.ask("auth/user/add", name="root", password="root's")
        closed.ask("auth/user/grant", user="root", role="root")
        closed.ask("auth/user/add", name="waguard", password="sesame")
        closed.ask("auth/role/add", name="waguard")
        folder = {"key": "d2FndWFyZC8=", "range_end": "d2FndWFyZDA="}  # waguard/ to waguard0
        closed.ask("auth/role/grant", name="waguard", perm={"permType": "READWRITE", **folder})
        closed.ask("auth/user/grant", user="waguard", role="waguard")
        closed.ask("auth/user/add", name="guest", password="guest's")
        closed.ask("auth/enable")
        assert {it.result for it in await as_user("waguard:sesame")} == {Result.WARNING}
        one(await as_user("waguard:sesame"), Result.WARNING, "etcd has 1 member")
        one(await as_user("waguard:other"), Result.FAILED, "invalid user ID or password")
        one(await as_user("guest:guest's"), Result.FAILED, "permission denied")
        one(await found(closed), Result.FAILED, "user name is empty")
    [check] = await found(closed, user_file="none")
    assert check.result is Result.FAILED


def test_a_slow_disk_in_what_etcd_counts() -> None:
    """No disk here is slow: etcd's own text, with other numbers."""
    text = """etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 900
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.512"} 999
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 1000
etcd_disk_backend_commit_duration_seconds_bucket{le="0.001"} 9
etcd_disk_backend_commit_duration_seconds_bucket{le="+Inf"} 10
etcd_server_quota_backend_bytes 2.147483648e+09
"""
    assert probes._measured(text) == (2_147_483_648, 0.512)
    assert probes._measured("") == (None, None)
    slow = Endpoint(url="http://e", cluster="1", member="2", leader="2", slowest=0.512)
    seen = Etcd(endpoints=(slow,), listed=(Listed(member="2", name="m", urls=("http://e",)),))
    one(checks.etcd(seen), Result.WARNING, "takes 0.512 s or longer")
