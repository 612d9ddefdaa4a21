"""What WhatsApp grants no more of: kept over a restart; pairing codes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from loguru import logger

from tests.supervision.bench import PHONE, QR_SHOWN, Bench
from tests.supervision.fake_host import FakeClock
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.messages import pairing_codes
from waguard.core.messages.first_contact_pauses import FIRST_GUESS, LONGEST_GUESS
from waguard.errors import UnavailableError
from waguard.supervision.session.answers import outcome_of
from waguard.supervision.session.whatsapp_quotas import Limits
from waguard.wire.calls import Call, Failed, PairingCode, Sent, Value

# ---- over a restart ----


class Row:
    """What the row keeps of one session."""

    def __init__(self) -> None:
        self.limits: str | None = None
        self.down = 0
        self.error: Exception = UnavailableError("the database is away")
        self.phone: str | None = PHONE

    async def write(self, limits: str | None) -> None:
        if self.down:
            self.down -= 1
            raise self.error
        self.limits = limits


@pytest.fixture
def row() -> Row:
    return Row()


def run(row: Row, clock: FakeClock) -> Limits:
    return Limits("s", row.limits, clock, phone=lambda: row.phone, write=row.write, retry=0.0)


async def kept(limits: Limits) -> None:
    keeping = asyncio.create_task(limits.keep())
    await wait_until(lambda: not limits.pending, "it is kept")
    keeping.cancel()


def refused(limits: Limits, times: int = 3) -> None:
    for number in range(times):
        name = f"true_{number}@c.us_1"
        answer = Sent(outcome="refused", message_id=name, timestamp=1, standing="first")
        limits.ended(name, outcome_of(answer))


@pytest.mark.parametrize(
    "error", [UnavailableError("the database is away"), RuntimeError("nobody expects it")]
)
async def test_a_pause_goes_on_after_a_restart_and_also_without_a_database_for_a_while(
    row: Row, error: Exception
) -> None:
    clock = FakeClock()
    first = run(row, clock)
    refused(first)
    row.down, row.error = 3, error
    await kept(first)
    second = run(row, clock)
    assert second.pause == first.pause
    assert second.paused_for == FIRST_GUESS
    clock.advance(FIRST_GUESS)
    refused(second, times=1)
    assert second.paused_for == 2 * FIRST_GUESS, "it goes on where it was"


async def test_a_bug_in_writing_is_logged_once_until_a_write_succeeds(row: Row) -> None:
    limits, lines = run(row, FakeClock()), list[str]()
    sink = logger.add(lines.append, level="CRITICAL", format="{extra[event]} {extra[task]}")
    keeping = asyncio.create_task(limits.keep())
    for times in (1, 2):
        row.down, row.error = 3, RuntimeError("nobody expects it")
        refused(limits)
        limits._unwritten.set()
        await wait_until(lambda: not limits.pending, "it is kept")
        assert [line.splitlines()[0] for line in lines] == ["bug limits"] * times
    logger.remove(sink)
    keeping.cancel()


@pytest.mark.parametrize("restarts", [True, False])
async def test_a_pause_that_began_while_the_clock_was_a_year_ahead_lasts_a_day_at_most(
    row: Row, *, restarts: bool
) -> None:
    clock = FakeClock()
    clock.ahead = 365 * 86_400.0
    limits = run(row, clock)
    refused(limits)
    assert limits.pause
    await kept(limits)
    clock.ahead = 0.0
    limits = run(row, clock) if restarts else limits
    assert limits.paused_for == LONGEST_GUESS
    await kept(limits)
    clock.advance(LONGEST_GUESS)
    assert run(row, clock).pause is None, "the row has it, too"
    assert limits.pause is None


async def test_another_number_is_not_concerned(row: Row) -> None:
    clock = FakeClock()
    first = run(row, clock)
    refused(first)
    await kept(first)
    row.phone = None
    assert run(row, clock).pause, "which number it is, is not known yet"
    row.phone = "4916"
    assert run(row, clock).pause is None


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "{",
        "[]",
        '{"pause": {"cause": "locked", "since": 0, "until": 1e300}}',
        '{"pause": {"cause": "odd", "since": 0, "until": 1}}',
        '{"codes": "many"}',
    ],
    ids=["empty", "cut off", "a list", "no date", "no cause", "no list"],
)
async def test_what_cannot_be_read_is_nothing(row: Row, odd: str) -> None:
    row.limits = odd
    limits = run(row, FakeClock())
    assert (limits.pause, limits.pending) == (None, False)


@pytest.mark.parametrize(
    "answer",
    [
        Failed(
            kind="refused", error="it has no WhatsApp", field="recipient_phone", standing="first"
        ),
        Failed(kind="refused", error="t is undefined", standing="first"),
        Failed(kind="timeout", error="463", standing="first"),
        Sent(outcome="refused", message_id="", timestamp=1, error="ERROR_UPLOAD", standing="first"),
        Sent(outcome="refused", message_id="", timestamp=1, standing=None),
        Sent(outcome="refused", message_id="", timestamp=1, standing="odd"),
        Sent(outcome="uncertain", message_id="", timestamp=1, standing="first"),
    ],
    ids=["no WhatsApp", "a bug", "no answer", "a file", "unknown", "odd", "not there"],
)
async def test_what_says_nothing_of_first_contacts(row: Row, answer: Sent | Failed) -> None:
    limits = run(row, FakeClock())
    for _ in range(9):
        limits.ended("true_1@c.us_1", outcome_of(answer))
    assert limits.pause is None


@pytest.mark.parametrize("error", ["server returned error 463", "ReachoutTimelock"])
async def test_where_it_is_thrown_its_words_count(row: Row, error: str) -> None:
    limits = run(row, FakeClock())
    for _ in range(3):
        answer = Failed(kind="refused", error=error, standing="first")
        limits.ended("true_1@c.us_1", outcome_of(answer))
    assert limits.pause


# ---- pairing codes ----


CODE = PairingCode(phone="6281180001")


@pytest.fixture
async def unpaired(empty: Bench, world: World) -> Bench:
    """It shows a QR code."""
    world.spawn.script = Script(reports=(QR_SHOWN,), answer=_granted)
    await empty.create("s")
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    return empty


async def _granted(_: Call) -> Value:
    return Value(text="ABCD1234")


async def _too_often(_: Call) -> Failed:
    return Failed(kind="too_often", error="429")


async def _not_ready(_: Call) -> Failed:
    return Failed(kind="not_ready", error="the page is loading")


async def ask(bench: Bench) -> UnavailableError | None:
    try:
        await bench.it.sessions.call("s", CODE, wait=0)
    except UnavailableError as error:
        return error
    return None


async def test_the_eighth_code_is_not_asked_for(unpaired: Bench, world: World) -> None:
    for _ in range(pairing_codes.AT_MOST):
        assert await ask(unpaired) is None
        world.clock.advance(60.0)
    error = await ask(unpaired)
    assert error
    assert error.retry_after == pairing_codes.PERIOD - 60.0 * pairing_codes.AT_MOST
    assert error.remedy == "scan the QR code instead: `waguard qr s`"
    assert unpaired.process().calls == [CODE] * pairing_codes.AT_MOST
    await unpaired.until_written()
    found = await world.store.session("s")
    assert found
    assert run_from(found.limits, world.clock)
    world.clock.advance(error.retry_after)
    assert await ask(unpaired) is None


def run_from(limits: str | None, clock: FakeClock) -> bool:
    """Whether the next daemon asks for none either."""
    row = Row()
    row.limits = limits
    with pytest.raises(UnavailableError, match="no further pairing code"):
        run(row, clock)._require_code()
    return True


async def test_a_429_is_enough(unpaired: Bench, world: World) -> None:
    unpaired.process().script.answer = _too_often
    for _ in range(2):
        error = await ask(unpaired)
        assert error
        assert error.retry_after == pairing_codes.PERIOD
        assert "waguard qr s" in str(error.remedy)
    assert unpaired.process().calls == [CODE]


@pytest.mark.parametrize("answer", [_not_ready])
async def test_what_whatsapp_was_not_asked_does_not_count(
    unpaired: Bench, world: World, answer: Callable[[Any], Any]
) -> None:
    unpaired.process().script.answer = answer
    for _ in range(2 * pairing_codes.AT_MOST):
        error = await ask(unpaired)
        assert error
        assert error.remedy is None
    assert len(unpaired.process().calls) == 2 * pairing_codes.AT_MOST
