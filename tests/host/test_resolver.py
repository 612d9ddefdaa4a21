"""Look-ups of names that are answered late, or never, and addresses that do the same."""

import asyncio
import socket

import pytest

from tests.silent_names import LONG, ZONE, common_thread_is_free, half_silent, silent_names
from tests.waiting import DEADLINE, wait_until
from waguard.host.system.network import Network, Timings
from waguard.host.system.resolver import Resolver


async def test_a_name_is_resolved_once_at_a_time_beside_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Resolver()
    with silent_names(monkeypatch) as names:
        asking = [
            asyncio.create_task(it.addresses(host + ZONE)) for host in ("one", "one", "other")
        ]
        await wait_until(lambda: len(names.asked) == 2, "both names are looked up")
        asking.pop(0).cancel()
        assert await it.addresses("localhost")
        assert await common_thread_is_free()
        names.answers.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["[Errno -3] it is silent"] * 2
        assert sorted(names.asked) == [f"one{ZONE}", f"other{ZONE}"]
        with pytest.raises(OSError, match="it is silent"):
            await it.addresses(f"one{ZONE}")
        assert len(names.asked) == 3, "an answer is not kept"


async def test_an_address_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("socket.getaddrinfo")
    assert await Resolver().addresses("::1") == ["::1"]


async def test_where_one_address_is_silent_the_next_one_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Resolver()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with half_silent(port, monkeypatch) as name:
            for each in (0.1, LONG):  # the second time it is the first to be tried
                async with asyncio.timeout(DEADLINE):
                    _, writer = await it.connect(name, port, each=each)
                assert writer.get_extra_info("peername")[0] == "127.0.0.1"
                writer.close()


async def test_the_network_is_there_where_one_address_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with half_silent(port, monkeypatch) as name:
            it = Network(lambda: f"http://{name}:{port}/", timings=Timings(ask_each=0.0))
            await wait_until(lambda: it.read().reachable, "the other one accepts it")
            await it.close()
