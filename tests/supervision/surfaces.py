"""Every surface over one fake world: the API on a socket, the command line as a client of it, metrics."""

import asyncio
import contextlib
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.messaging.gateway import Gateway, gateway
from tests.messaging.receiver import Receiver, receiving
from tests.supervision.bench import Bench
from waguard.api import ApiDeps, LocalApi, create_app, serve
from waguard.api.auth import Keys
from waguard.api.key_table import IssuedKeys
from waguard.cli import main
from waguard.core.webhooks.session_gate import Connection
from waguard.host.system.listen import base_url, listen
from waguard.messaging.health import MessageHealth
from waguard.messaging.stored import StoredMessages
from waguard.ports.clock import WallAges

KEY: Final = "a key of the tests, long enough"
CONDITION: Final = "waguard_condition"

Found = set[tuple[str, str | None]]
"""Conditions: type, and session or None."""


@dataclass
class Surfaces:
    """``wall``: the clock of the messages, unix time."""

    bench: Bench
    gateway: Gateway
    receiver: Receiver
    wall: list[float]
    messages: MessageHealth
    stored: StoredMessages
    http: aiohttp.ClientSession
    base: str = ""
    file: Path = field(default_factory=Path)

    async def check(self) -> None:
        """As the daemon's ticks do."""
        await self.messages.count()
        self.bench.it.health.report("messages", self.messages.conditions())
        await self.stored.check()
        self.bench.it.health.report("stored", self.stored.conditions())

    async def get(self, path: str) -> Any:
        async with self.http.get(self.base + path, headers={"X-Api-Key": KEY}) as response:
            assert response.status == 200, (path, await response.text())
            text = await response.text()
            return json.loads(text) if response.content_type == "application/json" else text

    async def command(self, *arguments: str) -> tuple[int, Any]:
        """Exit code, and what it printed as JSON."""

        def run() -> tuple[int, str]:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                code = main([*arguments, "--json", "--config", str(self.file)])
            return code, out.getvalue()

        code, text = await asyncio.to_thread(run)
        return code, json.loads(text)

    async def all(self) -> dict[str, Found]:
        """What each surface shows."""
        detailed = await self.get("/health/detailed")
        _, status = await self.command("status")
        _, why = await self.command("why")
        names = [session.name for session in self.bench.it.registry.by_id]
        of_each, why_of_each = Found(), Found()
        for name in names:
            of_each |= _pairs((await self.get(f"/api/sessions/{name}/status"))["conditions"])
            why_of_each |= _pairs((await self.command("why", name))[1]["conditions"])
        families = text_string_to_metric_families(await self.get("/metrics"))
        labels = [it.labels for one in families for it in one.samples if it.name == CONDITION]
        return {
            "/health/detailed, the page": _pairs(detailed["conditions"]),
            "its details": {*_of_all(detailed), *_pairs(_flat(detailed["details"]))},
            "waguard status": _pairs(status["health"]["conditions"]),
            "waguard why": _pairs(why["conditions"]),
            "/metrics": {(it["type"], it["session"] or None) for it in labels},
            "status of each": {*_of_all(detailed), *of_each},
            "waguard why, of each": {*_of_all(detailed), *why_of_each},
        }

    async def counted(self) -> Counter[str]:
        """What /health shows without a key."""
        return Counter((await self.get("/health"))["conditions"])


def _flat(details: Iterable[Any]) -> list[Any]:
    return [it for view in details for it in view["conditions"]]


def _pairs(found: Iterable[Any]) -> Found:
    return {(it["type"], it["session_id"]) for it in found}


def _of_all(detailed: Any) -> Found:
    """What is of no session that has a row: no session's own surface can show that."""
    names = {view["session_id"] for view in detailed["details"]}
    return {pair for pair in _pairs(detailed["conditions"]) if pair[1] not in names}


class _Outbox:
    """Nothing is to be sent."""

    async def abandon(self, session_id: str, why: str) -> None: ...


@contextlib.asynccontextmanager
async def surfaces(bench: Bench, folder: Path) -> AsyncIterator[Surfaces]:
    """Served on a TCP port and on the local socket."""
    world, wall = bench.world, [bench.world.clock.wall()]
    paths = world.config.paths
    file = world.folder / "waguard.toml"
    lines = [f'{name} = "{getattr(paths, name)}"' for name in ("sessions", "runtime", "state")]
    file.write_text("\n".join(["[paths]", *lines]))
    file.chmod(0o600)
    nothing: Any = None  # what no route here asks for
    outbox: Any = _Outbox()
    async with (
        receiving() as receiver,
        gateway(folder, receiver.url, wall=lambda: wall[0]) as made,
        aiohttp.ClientSession() as http,
    ):
        ages = WallAges(lambda: wall[0])
        messages = MessageHealth(
            made.webhooks, made.journal, hold_limit=lambda: made.settings.hold_limit, ages=ages
        )
        stored = StoredMessages(made.store.stored, lambda: made.settings.stored, world.clock)
        deps = ApiDeps(
            config=lambda: world.config,
            keys=Keys(frozenset({KEY.encode()})),
            issued_keys=IssuedKeys(folder / "keys.json", world.clock),
            sessions=bench.it.sessions,
            passkeys=bench.it.passkeys,
            proxies=bench.it.proxies,
            reconciler=bench.it.reconciler,
            health=bench.it.health.read,
            store=world.store,
            database=nothing,
            audit=world.store.entries.append,
            events=world.bus,
            outbox=outbox,
            bulks=nothing,
            fetcher=nothing,
            outgoing=made.store.outbox,
            messages=made.store.messages,
            media=nothing,
            outgoing_files=nothing,
            deferred=nothing,
            webhooks=made.webhooks,
            message_health=messages,
            history=nothing,
            log=nothing,
            versions=bench.it.operators,
            restored=nothing,
        )
        listener = listen("127.0.0.1", 0)
        base = base_url(listener)
        runner = await serve(create_app(deps), listener)
        await LocalApi(runner, paths.runtime).listen()
        try:
            yield Surfaces(bench, made, receiver, wall, messages, stored, http, base, file)
        finally:
            await runner.cleanup()


AWAY: Final = Connection(why_not="it is disconnected")
