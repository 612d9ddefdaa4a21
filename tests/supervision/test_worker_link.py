"""The line to one worker: every outcome becomes the right error, and nothing is sent twice."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.sends import not_sent
from tests.supervision.fake_host import START
from tests.supervision.line import HELLO, Line
from tests.supervision.reports import message
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.messages.first_contact_pauses import ChatHistory
from waguard.errors import RefusedError, UnavailableError, UncertainError, WaguardError
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain
from waguard.supervision.session.worker_link import WorkerLink
from waguard.supervision.timings import Timings
from waguard.wire.calls import (
    Ask,
    Call,
    Exists,
    Failed,
    Operation,
    Screenshot,
    Send,
    SendMedia,
    SendText,
    Sent,
    Unlink,
    Value,
)
from waguard.wire.channel import FRAME_LIMIT, ChannelError
from waguard.wire.events import Event
from waguard.wire.reports import Heartbeat, Report

ID = "true_49170@c.us_3EB0"


TEXT = SendText(chat="49170@c.us", text="hi", message_id=ID, timeout=20.0)


MEDIA = SendMedia(
    chat="49170@c.us",
    content=b"\0" * 100_000,
    mimetype="image/png",
    kind="image",
    message_id=ID,
    timeout=20.0,
)


SENDS: list[Send] = [TEXT, MEDIA]
OTHERS: list[Operation] = [Exists(chat="49170@c.us"), Unlink(), Screenshot()]


def later(error: str) -> UnavailableError:
    return UnavailableError(error, retry_after=5.0)


def shown(outcome: Outcome) -> tuple[Any, ...]:
    """With errors as what they say: two are never equal."""
    fields = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
    if isinstance(error := fields.get("error"), WaguardError):
        fields["error"] = (type(error), vars(error))
    return type(outcome), fields


async def never(call: Call) -> None:
    return None


def answers(line: Line, outcome: Sent | Value | Failed) -> None:
    async def answer(call: Call) -> Sent | Value | Failed:
        return outcome

    line.process.script.answer = answer


def sent(outcome: str, error: str | None = None) -> Sent:
    return Sent(outcome=outcome, message_id=ID, timestamp=int(START), error=error)


async def test_the_worker_is_greeted_first_and_what_it_says_is_taken_in_order(line: Line) -> None:
    assert line.process.greeting == HELLO
    line.process.report("qr_pending")
    line.process.beat()
    line.process.event(message(1))
    await wait_until(lambda: len(line.reported) == 3, "all was taken")
    assert [type(reported) for reported in line.reported] == [Report, Heartbeat, Event]


async def test_a_socket_where_nobody_listens_is_named(tmp_path: Path) -> None:
    with pytest.raises(WaguardError, match=r"s\.sock"):
        await WorkerLink.connect(
            Path("/tmp/waguard-nobody/s.sock"), HELLO, lambda _: None, Timings()
        )


async def test_somebody_else_listens_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    path = world.folder / "s.sock"
    async with await asyncio.start_unix_server(listen, path):
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        with pytest.raises(WaguardError, match=r"s\.sock: user [0-9]+ listens there"):
            await WorkerLink.connect(path, HELLO, lambda _: None, Timings())
        assert await heard.get() == b""  # not even a greeting


@pytest.mark.parametrize("call", SENDS, ids=["text", "media"])
async def test_a_send_that_went_out(line: Line, call: Send) -> None:
    answers(line, sent("sent"))
    assert await line.link.send(call) == Acked(ID, int(START))
    assert line.process.calls == [call]


@pytest.mark.parametrize(
    "value", [Value(text="ABCD1234"), Value(flag=False), Value(content=b"\x89PNG"), Value()]
)
async def test_the_other_calls_give_their_value(line: Line, value: Value) -> None:
    answers(line, value)
    assert await line.link.call(Screenshot()) == value


def refused(error: str, field: str | None = None, word: str | None = None) -> Outcome:
    return Refused(RefusedError(error, field=field), word)


@pytest.mark.parametrize("word", ["ERROR_NETWORK", "ERROR_EXPIRED", "ERROR_UPLOAD"])
async def test_a_refusal_for_the_connection_is_no_fault_of_the_message(
    line: Line, word: str
) -> None:
    answers(line, sent("refused", word))
    outcome = await line.link.send(SENDS[0])
    assert isinstance(outcome, Refused)
    assert outcome.error.remedy == "do not repeat it; look at the chat on the phone"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            sent("refused", "ERROR_X"),
            refused("WhatsApp refused the message: ERROR_X", None, "ERROR_X"),
        ),
        (sent("refused"), refused("WhatsApp refused the message: without a reason", None, "")),
        (sent("uncertain", "silence"), Uncertain("WhatsApp did not answer: silence")),
        (sent("a word of tomorrow"), Uncertain("WhatsApp did not answer: without a reason")),
        (
            msgspec.structs.replace(sent("uncertain", "20 s"), ack=0),
            Uncertain("WhatsApp has not acknowledged it yet: 20 s", at_page=True),
        ),
        (Failed(kind="not_ready", error="x"), NotSent(later("Session not ready: x"))),
        (Failed(kind="too_often", error="429"), NotSent(later("429"))),
        (Failed(kind="paused", error="too many new"), NotSent(later("too many new"), "paused")),
        (Failed(kind="held", error="they pause"), NotSent(later("they pause"), "held")),
        (Failed(kind="refused", error="bad chat"), refused("WhatsApp's page refused: bad chat")),
        (Failed(kind="refused", error="no such", field="media"), refused("no such", "media")),
        (Failed(kind="timeout", error="20 s"), Uncertain("20 s; it may have been sent")),
        (Failed(kind="error", error="odd"), Uncertain("odd; it may have been sent")),
        (Failed(kind="a word of tomorrow", error="x"), Uncertain("x; it may have been sent")),
    ],
    ids=str,
)
@pytest.mark.parametrize("call", SENDS, ids=["text", "media"])
async def test_what_can_become_of_a_send(
    line: Line, call: Send, answer: Sent | Failed, expected: Outcome
) -> None:
    """Not sent is only what surely did not leave: the application repeats those."""
    answers(line, answer)
    outcome = await line.link.send(call)
    assert shown(outcome) == shown(expected)


@pytest.mark.parametrize(
    "answer",
    [
        sent("sent"),
        sent("refused"),
        sent("uncertain"),
        Failed(kind="held", error="x"),
        Failed(kind="not_ready", error="x"),
        Failed(kind="refused", error="x"),
        Failed(kind="timeout", error="x"),
    ],
    ids=str,
)
async def test_what_the_page_says_beside_it_comes_along(line: Line, answer: Sent | Failed) -> None:
    answers(line, msgspec.structs.replace(answer, standing="first", thrown="TypeError: x"))
    outcome = await line.link.send(TEXT)
    assert (outcome.history, outcome.thrown) == (ChatHistory.FIRST, "TypeError: x")
    answers(line, msgspec.structs.replace(answer, standing="a word of tomorrow"))
    outcome = await line.link.send(TEXT)
    assert (outcome.history, outcome.thrown) == (None, None)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Failed(kind="not_ready", error="x"), UnavailableError),
        (Failed(kind="refused", error="x"), RefusedError),
        (Failed(kind="timeout", error="x"), UnavailableError),
        (Failed(kind="error", error="x"), WaguardError),
    ],
)
@pytest.mark.parametrize("call", OTHERS, ids=lambda call: type(call).__name__)
async def test_what_can_become_of_the_other_calls(
    line: Line, call: Operation, outcome: Failed, error: type[WaguardError]
) -> None:
    answers(line, outcome)
    with pytest.raises(error) as raised:
        await line.link.call(call)
    assert type(raised.value) is error


@pytest.mark.parametrize("call", SENDS, ids=["text", "media"])
async def test_a_line_lost_in_mid_send_is_uncertain_and_never_retried(
    line: Line, call: Send
) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.send(call))
    await wait_until(lambda: line.process.calls, "the worker has it")
    line.process.hang_up()
    assert await sending == Uncertain("the worker is gone; it may have been sent")
    await line.listening
    assert line.process.calls == [call]


async def test_all_open_calls_end_with_the_line(line: Line) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.send(TEXT))
    waiting = [asyncio.create_task(line.link.call(call)) for call in OTHERS]
    await wait_until(lambda: len(line.process.calls) == 1 + len(OTHERS), "the worker has all")
    line.process.exit(-9)
    assert isinstance(await sending, Uncertain)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [UnavailableError] * len(OTHERS)


@pytest.mark.timings(call=0.05, reply_margin=0.05)
async def test_no_answer_by_the_deadline(line: Line) -> None:
    line.process.script.answer = never
    outcome = await line.link.send(SendText(chat="c", text="t", message_id=ID, timeout=0.05))
    assert outcome == Uncertain("the worker did not answer; it may have been sent")
    with pytest.raises(UnavailableError, match="did not answer"):
        await line.link.call(Unlink())


async def test_the_deadline_is_the_calls_own_and_a_margin(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looks a silent send up before it answers: it must be given that time."""
    asked: list[float | None] = []
    real = asyncio.timeout

    def timeout(seconds: float | None) -> asyncio.Timeout:
        asked.append(seconds)
        return real(seconds)

    monkeypatch.setattr(asyncio, "timeout", timeout)
    answers(line, sent("sent"))
    await line.link.send(TEXT)
    assert asked == [TEXT.timeout + Timings().reply_margin]


@pytest.mark.timings(reply_margin=0.0)
async def test_a_late_reply_is_harmless(line: Line) -> None:
    release = asyncio.Event()

    async def late(call: Call) -> Sent:
        await release.wait()
        return sent("sent")

    line.process.script.answer = late
    outcome = await line.link.send(SendText(chat="c", text="t", message_id=ID, timeout=0.02))
    assert isinstance(outcome, Uncertain)
    release.set()
    answers(line, Value(flag=True))
    # the line still serves, and the late answer is nobody else's
    assert await line.link.call(Exists(chat="c")) == Value(flag=True)


async def test_a_caller_that_gives_up_leaves_nothing(line: Line) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.send(TEXT))
    await wait_until(lambda: line.process.calls, "the worker has it")
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    answers(line, Value())
    assert await line.link.call(Unlink()) == Value()


async def test_answers_find_their_callers_in_any_order(line: Line) -> None:
    first = asyncio.Event()

    async def answer(call: Call) -> Value:
        assert isinstance(call, Exists)
        if call.chat == "0":
            await first.wait()
        return Value(text=call.chat)

    line.process.script.answer = answer
    waiting = [asyncio.create_task(line.link.call(Exists(chat=str(n)))) for n in range(5)]
    assert [value.text for value in await asyncio.gather(*waiting[1:])] == list("1234")
    first.set()
    assert await waiting[0] == Value(text="0")


async def test_a_call_on_a_dead_line_surely_left_nothing(line: Line) -> None:
    """So it may be repeated: not uncertain."""
    line.process.exit(0)
    await line.listening
    assert (await not_sent(line.link.send(TEXT), UnavailableError)).retry_after
    with pytest.raises(UnavailableError) as raised:
        await line.link.call(Unlink())
    assert raised.value.retry_after


CREATES = Ask(name="createGroup", given="[]", timeout=5.0, changes=True)


async def test_what_is_asked_after_the_daemon_hung_up_surely_left_nothing(line: Line) -> None:
    """Nobody has heard of the end yet."""
    line.link.close()
    assert not line.link.ended.is_set()
    assert (await not_sent(line.link.send(TEXT), UnavailableError)).retry_after
    with pytest.raises(UnavailableError):
        await line.link.ask(CREATES)
    await line.listening
    assert line.process.calls == []


async def test_what_is_being_sent_is_answered_before_the_daemon_hangs_up(line: Line) -> None:
    release = asyncio.Event()

    async def answer(call: Call) -> Sent | None:
        await release.wait()
        return sent("sent") if isinstance(call, SendText) else None

    line.process.script.answer = answer
    sending = asyncio.create_task(line.link.send(TEXT))
    reading = asyncio.create_task(line.link.call(Exists(chat="c")))
    await wait_until(lambda: len(line.process.calls) == 2, "the worker has both")
    ending = asyncio.create_task(line.link.hang_up())
    await asyncio.sleep(0)
    await not_sent(line.link.send(MEDIA), UnavailableError)
    assert not line.listening.done()
    release.set()
    assert await sending == Acked(ID, int(START))
    await ending
    await line.listening
    with pytest.raises(UnavailableError):  # nobody waits for what may be asked again
        await reading
    assert line.process.calls == [TEXT, Exists(chat="c")]


@pytest.mark.timings(last_answers=0.05)
async def test_the_daemon_does_not_wait_long_before_it_hangs_up(line: Line) -> None:
    line.process.script.answer = never
    creating = asyncio.create_task(line.link.ask(CREATES))
    await wait_until(lambda: line.process.calls, "the worker has it")
    await line.link.hang_up()
    with pytest.raises(UncertainError):
        await creating


async def test_a_send_that_is_too_large_for_the_line_surely_left_nothing(line: Line) -> None:
    huge = msgspec.structs.replace(MEDIA, content=b"\0" * (FRAME_LIMIT + 1))
    assert "over the limit" in (await not_sent(line.link.send(huge), ChannelError)).message
    answers(line, Value())
    assert await line.link.call(Unlink()) == Value(), "the line still serves"


async def test_nonsense_ends_the_line_and_its_calls(line: Line) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.send(TEXT))
    await wait_until(lambda: line.process.calls, "the worker has it")
    line.process.send(HELLO)  # a daemon's word from a worker
    assert isinstance(await sending, Uncertain)
    assert line.link.ended.is_set()


async def test_stored_and_what_follows_after_the_end(line: Line) -> None:
    line.link.stored(4)
    await wait_until(lambda: line.process.stored == [4], "the worker was told")
    line.process.exit(0)
    await line.listening
    line.link.stored(5)
    line.link.close()
    assert line.process.stored == [4]


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (TEXT, Value()),  # else it would be taken for sent
        (MEDIA, Value(flag=True)),
        (TEXT, Sent(outcome="sent", message_id="true_49170@c.us_OTHER", timestamp=1)),
    ],
)
async def test_an_answer_to_something_else_says_nothing_of_a_send(
    line: Line, call: Send, outcome: Sent | Value
) -> None:
    answers(line, outcome)
    why = "the worker sent another answer; it may have been sent"
    assert await line.link.send(call) == Uncertain(why)


async def test_an_answer_to_a_send_says_nothing_of_another_call(line: Line) -> None:
    answers(line, sent("sent"))
    with pytest.raises(UnavailableError, match="another answer"):
        await line.link.call(Unlink())
