"""Look-ups of names that are answered late, or never."""

import asyncio

import pytest

from tests.silent_names import ZONE, common_thread_is_free, silent_names
from tests.waiting import wait_until
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
