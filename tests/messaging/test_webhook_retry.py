"""A webhook that fails is tried again, until it is a dead letter; a receiver that is busy has its pause."""

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import Clock
from tests.messaging.gateway import QUICK, Gateway, gateway
from tests.messaging.receiver import (
    CLOSE,
    HANG,
    TORN,
    Receiver,
    Trouble,
    event,
    receiving,
)
from tests.waiting import wait_until
from waguard.core.metrics.families import WEBHOOK
from waguard.core.metrics.tally import Histogram
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import Cause
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.host.memory.lived import LivedTime
from waguard.messaging.timings import WebhookTimings


@pytest.mark.parametrize(
    "trouble",
    [500, 502, 503, 408, 425, CLOSE, (503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})],
    ids=str,
)
async def test_is_tried_again_with_a_new_signature_as_the_same_event(
    receiver: Receiver, tmp_path: Path, trouble: Trouble
) -> None:
    receiver.troubles.extend([trouble] * 3)
    times = itertools.count(1_732_240_000)
    async with gateway(tmp_path, receiver.url, wall=lambda: next(times)) as it:
        it.put(event(1))
        await receiver.wait_taken(1)
    assert len(receiver.attempts) == 4
    assert all(attempt.signed for attempt in receiver.attempts)
    assert len({attempt.headers["X-Timestamp"] for attempt in receiver.attempts}) == 4
    assert len({attempt.headers["X-Waguard-Event-Id"] for attempt in receiver.attempts}) == 1
    assert len({attempt.body for attempt in receiver.attempts}) == 1


async def test_each_attempt_is_counted_by_its_status(receiver: Receiver, tmp_path: Path) -> None:
    receiver.troubles.extend([503, CLOSE, (429, {"Retry-After": "0"})])
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        assert await it.drained()
    series = it.tally.series[WEBHOOK]
    assert {
        key[0]: found.below()[-1] for key, found in series.items() if isinstance(found, Histogram)
    } == {
        "2xx": 1,
        "3xx": 0,
        "4xx": 1,
        "5xx": 1,
        "none": 1,
    }


async def test_nobody_listens_yet(logged: list[str], tmp_path: Path, dead_port: int) -> None:
    async with gateway(tmp_path, f"http://127.0.0.1:{dead_port}/hook") as it:
        it.put(event(1))
        await wait_until(lambda: any("delivery failed" in line for line in logged), "it was tried")
        async with receiving(port=dead_port) as receiver:
            assert (await receiver.wait_taken(1))[0]["data"]["message"] == {"body": "body 1"}


async def test_attempts_of_an_earlier_daemon_let_nothing_wait_for_long(
    tmp_path: Path, dead_port: int
) -> None:
    def head(it: Gateway) -> Pending | None:
        return next((one.first for one in it.queue().state.partitions.values()), None)

    url = f"http://127.0.0.1:{dead_port}/hook"
    async with gateway(tmp_path, url) as it:
        await it.stored(event(1))
        await wait_until(lambda: (one := head(it)) and one.attempts >= 40, "it was tried often")
    async with gateway(tmp_path, url, policy=None) as it:
        await wait_until(lambda: it.queue().state.receiver.failing_since, "it was tried again")
        again = head(it)
        assert again is not None
        assert again.attempts >= 40
        assert again.next_at <= time.time() + DeliveryPolicy().circuit.max_pause


async def test_one_that_hangs_has_a_deadline(receiver: Receiver, tmp_path: Path) -> None:
    receiver.troubles.append(HANG)
    async with gateway(tmp_path, receiver.url, timings=WebhookTimings(attempt=0.1)) as it:
        it.put(event(1))
        await receiver.wait_taken(1)
    # a second one that the machine made late, too, is repeated
    assert [attempt.answer for attempt in receiver.attempts][:2] == [HANG, 200]


async def test_a_status_is_an_answer_also_when_its_body_is_torn(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append(TORN)
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        it.put(event(2))
        await receiver.wait_taken(2)
    # the application does not dedupe: 2xx was said, so it is never sent again
    assert [attempt.answer for attempt in receiver.attempts] == [TORN, 200]


NO_CLOCK = "Fri, 31 Dec 2024 23:59:59 +99999999999999999"


@pytest.mark.parametrize("status", [200, 500])
async def test_a_retry_after_that_no_clock_can_hold(
    receiver: Receiver, tmp_path: Path, logged: list[str], status: int
) -> None:
    receiver.troubles.append((status, {"Retry-After": NO_CLOCK}))
    async with gateway(tmp_path, receiver.url) as it:
        it.put(event(1))
        await wait_until(lambda: len(receiver.attempts) == (1 if status == 200 else 2), "answered")
        assert await it.drained()
    assert [attempt.answer for attempt in receiver.attempts][1:] == ([] if status == 200 else [200])
    assert not any("bug" in line for line in logged)


async def test_a_name_that_idna_refuses(tmp_path: Path, logged: list[str]) -> None:
    async with gateway(tmp_path, "http://a..b/hook") as it:
        it.put(event(1))
        assert await it.drained()
        assert [letter.cause for letter in await it.dead()] == [Cause.REFUSED]
    assert not any("bug" in line for line in logged)


class Picky(Receiver):
    """Answers whatever names poison with ``status``."""

    status = 500

    async def handle(self, request: Any) -> Any:
        bad = b"poison" in await request.read()
        answer = (self.status, {"Location": "/hook?a=b", "Set-Cookie": "a=b"})
        self.troubles.extend([answer] if bad else [])
        return await super().handle(request)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 410, 413, 422, 500])
async def test_one_message_that_is_refused_while_others_pass_is_a_dead_letter(
    tmp_path: Path, logged: list[str], status: int
) -> None:
    picky, policy = Picky(), replace(QUICK, refusals=3)
    picky.status = status
    async with receiving(picky), gateway(tmp_path, picky.url, policy=policy) as it:
        it.put(event(1, message={"id": "false_1@c.us_1", "body": "poison"}))
        it.put(event(2, message={"id": "false_1@c.us_2", "body": "behind it"}))
        await wait_until(lambda: picky.attempts, "it was refused")
        for number in range(10):
            it.put(event(3 + number, message={"id": f"false_2@c.us_{number}", "body": "good"}))
            await picky.wait_taken(number + 1)
        await picky.wait_taken(11)
        assert await it.drained()
        [letter] = await it.dead()
    assert letter.cause == Cause.REFUSED
    assert letter.attempts >= 3
    assert f"the receiver answered {status}" in letter.error
    assert "Cookie" not in picky.attempts[-1].headers
    [line] = [line for line in logged if "is a dead letter now" in line]
    assert str(status) in line
    assert "poison" not in "".join(logged)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405, 500])
async def test_a_receiver_that_refuses_everything_for_a_while_costs_nothing(
    receiver: Receiver, tmp_path: Path, status: int
) -> None:
    receiver.troubles.extend([status] * 60)
    policy = replace(QUICK, refusals=3)
    async with gateway(tmp_path, receiver.url, policy=policy) as it:
        it.put(
            *(
                event(n, message={"id": f"false_{n % 10}@c.us_{n}", "body": f"body {n}"})
                for n in range(50)
            )
        )
        taken = await receiver.wait_taken(50)
        assert await it.drained()
        assert await it.dead() == []
    for chat in range(10):
        bodies = [p["data"]["message"]["body"] for p in taken if f"_{chat}@" in str(p)]
        assert bodies == [f"body {n}" for n in range(50) if n % 10 == chat]


async def test_what_nobody_takes_in_time_is_a_dead_letter_and_the_next_goes_on(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.extend([500] * 3)
    times = iter([0.0] * 20)
    now = [1_000.0]

    def wall() -> float:
        now[0] += 1.0 if next(times, None) is None else 0.0
        return now[0] + len(receiver.attempts) * 40.0

    async with gateway(
        tmp_path, receiver.url, policy=replace(QUICK, give_up_after=100.0), wall=wall
    ) as it:
        it.put(event(1))
        await wait_until(lambda: len(receiver.attempts) >= 3, "it was tried for long")
        it.put(event(2))
        taken = await receiver.wait_taken(1)
        assert await it.drained()
        [letter] = await it.dead()
    assert [payload["data"]["message"]["body"] for payload in taken] == ["body 2"]
    assert "not accepted within" in letter.error
    assert "500" in letter.error


async def test_what_waits_behind_a_dead_receiver_for_too_long_is_not_tried(
    receiver: Receiver, tmp_path: Path
) -> None:
    now = [1_000.0]
    policy = replace(QUICK, give_up_after=100.0)
    async with gateway(tmp_path, None, policy=policy, wall=lambda: now[0]) as it:
        it.settings = type(it.settings)(url=receiver.url)
        receiver.free.clear()
        it.put(*(event(number, session=str(number % 20)) for number in range(40)))
        await wait_until(lambda: receiver.arrived == 8, "the places are full")
        now[0] += 200.0
        receiver.troubles.extend([500] * 8)
        receiver.free.set()
        assert await it.drained()
        letters = await it.dead()
    assert len(letters) == 40 - len(receiver.taken())
    assert len(letters) >= 32
    assert len(receiver.attempts) < 20


@pytest.mark.parametrize("hours", [1, 24, -1, -24, 24 * 365])
async def test_a_step_of_the_clock_ends_no_delivery(
    receiver: Receiver, tmp_path: Path, hours: int
) -> None:
    clock, policy = Clock(), replace(QUICK, give_up_after=100.0)
    ages = LivedTime(tmp_path / "state", clock)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=clock.wall, ages=ages) as it:
        receiver.free.clear()
        it.put(event(1), event(2), event(3, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "they are tried")
        clock.at += hours * 3600.0
        receiver.troubles.extend([500] * 4)
        receiver.free.set()
        await receiver.wait_taken(3)
        assert await it.drained()
        assert await it.dead() == []


async def test_days_without_power_end_no_delivery(receiver: Receiver, tmp_path: Path) -> None:
    clock, policy = Clock(), replace(QUICK, give_up_after=100.0)
    receiver.troubles.extend([500] * 1000)
    ages = LivedTime(tmp_path / "state", clock)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=clock.wall, ages=ages) as it:
        it.put(event(1), event(2))
        await wait_until(lambda: receiver.attempts, "it is tried")
    ages.save()
    clock.at, clock.up = clock.at + 2 * 86_400.0, 7.0
    before = len(receiver.attempts)
    ages = LivedTime(tmp_path / "state", clock)
    async with gateway(tmp_path, receiver.url, policy=policy, wall=clock.wall, ages=ages) as it:
        await wait_until(lambda: len(receiver.attempts) >= before + 2, "it is tried again")
        assert await it.dead() == []
        clock.live(200.0)  # that, however, is too long
        assert await it.drained()
        assert [letter.cause for letter in await it.dead()] == [Cause.EXPIRED] * 2


async def test_after_a_429_everybody_is_quiet(receiver: Receiver, tmp_path: Path) -> None:
    policy = replace(QUICK, too_many_pause=0.3)
    receiver.troubles.append(429)
    async with gateway(tmp_path, receiver.url, policy=policy) as it:
        it.put(event(1, session="a"))
        await wait_until(lambda: receiver.attempts, "it was answered")
        await wait_until(
            lambda: (
                len(receiver.attempts) > 1  # whoever looks late finds the pause over
                or ("*" in it.webhooks.queues and it.queue().state.receiver.circuit.opened_until)
            ),
            "it is quiet",
        )
        for number in range(2, 12):
            it.put(event(number, session=f"s{number}"))
        await receiver.wait_taken(11)
    first, *later = receiver.attempts
    assert min(attempt.at for attempt in later) - first.at >= 0.29


async def test_what_was_in_flight_at_a_429_does_not_end_the_pause(
    receiver: Receiver, tmp_path: Path
) -> None:
    policy = replace(QUICK, too_many_pause=0.4)
    receiver.free.clear()
    receiver.troubles.append(429)
    async with gateway(tmp_path, receiver.url, policy=policy) as it:
        it.put(event(1, session="a"), event(2, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "both are on their way")
        receiver.free.set()
        await receiver.wait_taken(1)
        it.put(event(3, session="c"))
        await receiver.wait_taken(3)
    limited, _, *later = receiver.attempts
    assert limited.answer == 429
    assert min(attempt.at for attempt in later) - limited.at >= 0.39


async def test_a_shorter_pause_does_not_end_a_longer_one(
    receiver: Receiver, tmp_path: Path
) -> None:
    policy = replace(QUICK, too_many_pause=0.5)
    receiver.free.clear()
    receiver.troubles.extend([429, (429, {"Retry-After": "0"})])
    async with gateway(tmp_path, receiver.url, policy=policy) as it:
        it.put(event(1, session="a"), event(2, session="b"))
        await wait_until(lambda: receiver.arrived == 2, "both are on their way")
        receiver.free.set()
        await receiver.wait_taken(2)
    first, _, *later = receiver.attempts
    assert min(attempt.at for attempt in later) - first.at >= 0.49
