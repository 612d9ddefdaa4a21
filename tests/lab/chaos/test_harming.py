"""What is seen to while a fault lasts: the proof of a fault is worth no more than what ends it."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.lab.chaos.test_invariants import FACTS, LIES, QUIET, WELL
from tests.waiting import DEADLINE
from waguard.cli.client import ApiCallError
from waguard.core.replace import replace
from waguard.lab.chaos import daemon_faults, host_faults
from waguard.lab.chaos.harming import Pace, endure
from waguard.lab.chaos.invariants import BrokenError, Facts, Harm
from waguard.lab.chaos.world import NotInTimeError, World

WAITING = replace(FACTS, reported={"s1": replace(WELL, waits="for Chromium")})
PARKED = replace(FACTS, reported={"s1": replace(WELL, lifecycle="parked")})
POLL = 0.001  # s
BLAMELESS = Harm(began=100.0, restarts={"s1": 1})


@dataclass
class Seen:
    """Of a world nothing but what is seen of it: the last for ever."""

    series: list[Facts]
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def receiver(self) -> "Seen":
        return self

    async def facts(self, _: Harm, *, since: int) -> Facts:
        assert since == 0
        return self.series.pop(0) if len(self.series) > 1 else self.series[0]


def waits(facts: Facts) -> bool:
    return facts.reported is not None and facts.reported["s1"].waits != ""


async def watched(
    *series: Facts, harm: Harm = QUIET, stays: float = 0.05, within: float = DEADLINE
) -> None:
    world = cast("World", Seen([*series]))
    pace = Pace(poll=POLL, row_limit=0.01)
    await endure(world, harm, shows=waits, what="it waits", within=within, stays=stays, pace=pace)


async def test_an_effect_may_take_a_moment_and_then_stays() -> None:
    await watched(FACTS, FACTS, WAITING)


async def test_what_never_shows_is_said() -> None:
    with pytest.raises(NotInTimeError, match="it waits"):
        await watched(FACTS, within=0.05)


@pytest.mark.parametrize(
    ("series", "reported"),
    [
        ((FACTS, WAITING, FACTS), "it did not stay so: it waits"),
        ((FACTS, PARKED), "while it lasts: s1: it is parked, and nothing is wrong with it"),
        (
            (WAITING, replace(WAITING, codes={"s1": 1})),
            "while it lasts: s1: a QR code is shown, its credentials were lost",
        ),
    ],
)
async def test_what_breaks_while_it_lasts_is_broken(
    series: tuple[Facts, ...], reported: str
) -> None:
    with pytest.raises(BrokenError) as raised:
        await watched(*series, harm=BLAMELESS)
    assert raised.value.broken == [reported]


async def test_a_row_that_lies_while_it_lasts_is_broken() -> None:
    with pytest.raises(BrokenError, match="the row says connected, the API disconnected"):
        await watched(LIES, stays=1.0)


@dataclass
class Sending:
    """Each answer in turn: an HTTP status, or how often the phone has the message."""

    answers: Iterator[ApiCallError | int]

    async def send(self, _: str, text: str) -> list[dict[str, Any]]:
        answer = next(self.answers)
        if isinstance(answer, ApiCallError):
            raise answer
        return [{"body": text}] * answer


def answered(status: int) -> ApiCallError:
    return ApiCallError(f"status {status}", answered=status)


async def sent(*answers: ApiCallError | int, within: float = DEADLINE) -> None:
    world = cast("World", Sending(iter(answers)))
    await daemon_faults.sends(world, "s1", within=within, poll=POLL)


async def test_a_send_waits_for_its_daemon_and_its_session() -> None:
    await sent(answered(0), answered(503), 1)


@pytest.mark.parametrize(
    ("answers", "reported"),
    [
        ((answered(409),), "s1: a send was answered status 409"),
        ((answered(503), 2), "s1: the phone saw a message 2 times"),
        ((0,), "s1: the phone saw a message 0 times"),
    ],
)
async def test_a_send_that_fails_is_broken(
    answers: tuple[ApiCallError | int, ...], reported: str
) -> None:
    with pytest.raises(BrokenError) as raised:
        await sent(*answers)
    assert raised.value.broken == [reported]


async def test_a_send_that_waits_for_ever_is_broken() -> None:
    with pytest.raises(BrokenError, match="s1: not sent: status 503"):
        await sent(answered(503), answered(503), answered(503), within=0.0)


async def test_a_browser_that_dies_of_the_full_disk_by_itself_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing starts on a full disk: what is to be ended is looked for before."""
    alive, ended = {7}, list[int]()

    async def census() -> Any:
        running = {"s1": frozenset(alive)} if alive else {}
        return SimpleNamespace(browsers=running, workers=running)

    @contextlib.contextmanager
    def filled(_: Path) -> Iterator[None]:
        alive.clear()
        yield

    monkeypatch.setattr(host_faults, "filled", filled)
    monkeypatch.setattr(host_faults, "kill", ended.append)
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    world = SimpleNamespace(
        disk=tmp_path, sessions=("s1",), census=census, incoming=lambda session, _: session
    )
    harm = await host_faults.fill_disk(cast("World", world), "s1", random.Random(1))
    assert (ended, set(harm.gone), set(harm.hurt)) == ([7], {7}, {"s1"})
