"""DELETE of a session by the API, with all that others keep of it."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.supervision import surfaces as served
from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.surfaces import KEY, Surfaces, surfaces
from tests.supervision.world import World

ONE: Final = "/api/sessions/a"
RECEIVER: Final = {"url": "https://app.example/", "secret": "a secret of 16 letters"}


async def asked(it: Surfaces, method: str, path: str, body: Any = None) -> int:
    """The status of the answer."""
    headers = {"X-Api-Key": KEY}
    async with it.http.request(method, it.base + path, json=body, headers=headers) as response:
        return response.status


@pytest.mark.parametrize("query", ["", "?purge=1"])
async def test_one_of_the_same_id_is_created_only_when_nothing_of_the_deleted_one_is_left(
    bench: Bench, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Else it would lose the receiver that it has got, and its messages."""
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("a")
    await bench.restore()
    new = {"session_id": "a", "workspace_id": 7}
    meanwhile: list[int] = []
    async with surfaces(bench, tmp_path) as it:

        async def abandon(*_: object) -> None:
            meanwhile.append(await asked(it, "POST", "/api/sessions", new))
            await asked(it, "PUT", f"{ONE}/webhook", RECEIVER)

        monkeypatch.setattr(served._Outbox, "abandon", abandon)
        assert await asked(it, "DELETE", f"{ONE}{query}") == 200
        if meanwhile == [503]:
            assert await asked(it, "POST", "/api/sessions", new) in {200, 201}
            assert await asked(it, "PUT", f"{ONE}/webhook", RECEIVER) == 200
        assert await asked(it, "GET", f"{ONE}/webhook") == 200
    assert meanwhile == [503]
