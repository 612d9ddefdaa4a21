"""The tick of each second: a part that fails costs neither the others nor the sign to systemd."""

from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from loguru import logger

from waguard.daemon import watch as module
from waguard.daemon.watch import Watch

PARTS = ("messages", "stored", "alerts", "restored")


def made() -> tuple[Watch, dict[str, Any], MagicMock]:
    """A watch of parts that do nothing, and the notifier."""
    supervisor, notifier = MagicMock(), MagicMock()
    supervisor.watchdog.watch = AsyncMock()
    supervisor.registry.by_id = []
    names = ("runtime", "disk", "webhooks", "restore", *PARTS)
    parts = {name: MagicMock() for name in names}
    parts["local"] = MagicMock(keep=AsyncMock())
    parts["ticker"] = MagicMock(under_way={})
    parts["restore"].why_not = "waiting"
    parts["supervisor"] = supervisor
    given = {name: part for name, part in parts.items() if name != "supervisor"}
    return Watch(supervisor, MagicMock(), notifier, **given), parts, notifier


@pytest.mark.parametrize(
    ("part", "call"), [*((it, "conditions") for it in PARTS), ("alerts", "tick")]
)
async def test_a_part_that_fails_is_logged_once_and_takes_no_sign_of_life(
    part: str, call: str
) -> None:
    watch, parts, notifier = made()
    getattr(parts[part], call).side_effect = LookupError
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}", level="ERROR")
    await watch.tick()
    await watch.tick()
    assert notifier.alive.call_count == 2
    assert len(lines) == 1
    reported = {call.args[0] for call in parts["supervisor"].health.report.call_args_list}
    assert reported == {it for it in PARTS if (it, call) != (part, "conditions")}
    getattr(parts[part], call).side_effect = None
    await watch.tick()
    getattr(parts[part], call).side_effect = LookupError
    await watch.tick()
    logger.remove(sink)
    assert len(lines) == 2


async def test_a_release_that_came_back_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, outages = made()[0], MagicMock()
    monkeypatch.setattr(watch, "_outages", outages)
    monkeypatch.setattr(module, "rolled_back", lambda: "2.0 does not run")
    await watch.tick()
    outages.update.assert_any_call("release_rolled_back", "2.0 does not run")


async def test_scheduled_work_that_does_not_end_is_an_outage() -> None:
    watch, parts, _ = made()
    under_way = parts["ticker"].under_way
    outages = watch._outages = MagicMock()

    async def said(ticks: int) -> str | None:
        for _ in range(ticks):
            await watch.tick()
        why: str | None
        [*_, why] = [
            it.args[1] for it in outages.update.call_args_list if it.args[0] == "task_hangs"
        ]
        return why

    under_way.update(reconcile=10.0, measure=10.0)
    assert await said(module.HANGS_AFTER) is None
    under_way["measure"] = 900.0
    assert await said(1) == "reconcile: not ended after 15 minutes", "each measuring ended"
    del under_way["reconcile"]
    assert await said(1) is None
