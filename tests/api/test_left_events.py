"""POST /api/cluster/events: what another host has received is taken by its session's owner, and by nobody else."""

import base64
from typing import Any, Final

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_cluster import Pair
from tests.api.fake_sessions import SESSION
from waguard.api.forwarding import CALLS
from waguard.api.host_calls import AnsweredError
from waguard.api.left_events import PATH
from waguard.errors import (
    InvalidInputError,
    NoRoomError,
    RefusedError,
    UnavailableError,
    WaguardError,
)

CONTENT: Final = b"\x00\xff what was received"


def body(**changes: Any) -> dict[str, Any]:
    content = base64.b64encode(CONTENT).decode()
    return {"session": SESSION, "generation": 3, "content": content} | changes


async def handed(hosts: Pair, it: dict[str, Any]) -> int:
    try:
        await hosts.one.app[CALLS].own("POST", PATH, hosts.two.base, it, within=60.0)
    except AnsweredError as error:
        return error.answer
    return 200


async def test_its_owner_takes_it(hosts: Pair) -> None:
    assert await handed(hosts, body()) == 200
    assert await handed(hosts, body(generation=None)) == 200
    taken = hosts.hosts["h2"].taken
    assert taken == [(SESSION, 3, CONTENT), (SESSION, None, CONTENT)]
    assert not hosts.hosts["h1"].taken
    assert not hosts.two.store.entries, "nobody has changed anything"


async def test_a_file_of_16_mb(hosts: Pair) -> None:
    large = base64.b64encode(bytes(17 << 20)).decode()
    assert await handed(hosts, body(content=large)) == 200
    assert await handed(hosts, body(content=large + large)) == 413


async def test_no_key_may_hand_anything(hosts: Pair) -> None:
    """A program that could would write messages that nobody has received."""
    assert (await hosts.two.call("POST", PATH, body(), key=KEY)).status == 403
    assert (await hosts.two.call("POST", PATH, body(), key=None)).status == 401
    forged = {"Authorization": "Bearer waguard-host-2.e30.00"}
    assert (await hosts.two.call("POST", PATH, body(), key=None, headers=forged)).status == 401
    assert not hosts.hosts["h2"].taken


async def test_who_does_not_own_it_takes_nothing(hosts: Pair) -> None:
    """The host that asks reads again whose it is."""
    for owner in ("h1", "nobody"):
        hosts.all.owners[SESSION] = owner
        assert await handed(hosts, body()) == 409
    assert not hosts.hosts["h2"].taken


async def test_who_loses_it_meanwhile_has_not_stored_it(hosts: Pair) -> None:
    hosts.hosts["h2"].loses_to = "h1"
    assert await handed(hosts, body()) == 409


@pytest.mark.parametrize(
    "changes",
    [
        {"session": "no session"},
        {"session": None},
        {"generation": "three"},
        {"generation": -1},
        {"content": None},
        {"content": 7},
        {"content": "no base64!"},
        {"content": "ü"},
    ],
    ids=str,
)
async def test_what_is_not_well_formed(hosts: Pair, changes: dict[str, Any]) -> None:
    assert await handed(hosts, body(**changes)) == 400
    assert not hosts.hosts["h2"].taken


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("it cannot be read"), 400),
        (RefusedError("it is of an earlier pairing"), 422),
        (UnavailableError("not stored yet", retry_after=5), 503),
    ],
    ids=str,
)
async def test_why_it_is_not_stored(hosts: Pair, error: WaguardError, status: int) -> None:
    hosts.hosts["h2"].fails = error
    assert await handed(hosts, body()) == status


async def test_a_full_disk_takes_nothing(hosts: Pair) -> None:
    """A file that came with a message would be left out, and its only copy deleted on the other host."""

    def require_room() -> None:
        raise NoRoomError("the disk is full", retry_after=60)

    object.__setattr__(hosts.two.deps, "require_room", require_room)
    assert await handed(hosts, body()) == 507
    assert not hosts.hosts["h2"].taken


async def test_one_host_alone_takes_nothing(api: Api) -> None:
    assert (await api.call("POST", PATH, body())).status == 403
