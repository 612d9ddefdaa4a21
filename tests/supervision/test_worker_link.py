"""The line to one worker: every outcome becomes the right error, and nothing is sent twice."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tests.supervision.fakes import START, World, message
from tests.supervision.line import HELLO, Line
from tests.waiting import wait_until
from waguard.errors import RefusedError, UnavailableError, UncertainError, WaguardError
from waguard.supervision import worker_link
from waguard.supervision.worker_link import WorkerLink
from waguard.wire.protocol import (
    Call,
    Event,
    Exists,
    Failed,
    Heartbeat,
    Report,
    Screenshot,
    SendMedia,
    SendText,
    Sent,
    Unlink,
    Value,
)

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


SENDS = [TEXT, MEDIA]


OTHERS: list[Call] = [Exists(chat="49170@c.us"), Unlink(), Screenshot()]


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


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(WaguardError, match=r"s\.sock"):
        await WorkerLink.connect(Path("/tmp/waguard-nobody/s.sock"), HELLO, lambda _: None)


async def test_somebody_else_listens_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    path = world.folder / "s.sock"
    async with await asyncio.start_unix_server(listen, path):
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        with pytest.raises(WaguardError, match=r"s\.sock: user [0-9]+ listens there"):
            await WorkerLink.connect(path, HELLO, lambda _: None)
        assert await heard.get() == b""  # not even a greeting


@pytest.mark.parametrize("call", SENDS, ids=["text", "media"])
async def test_a_send_that_went_out(line: Line, call: Call) -> None:
    answers(line, sent("sent"))
    assert await line.link.call(call) == sent("sent")
    assert line.process.calls == [call]


@pytest.mark.parametrize(
    "value", [Value(text="ABCD1234"), Value(flag=False), Value(content=b"\x89PNG"), Value()]
)
async def test_the_other_calls_give_their_value(line: Line, value: Value) -> None:
    answers(line, value)
    assert await line.link.call(Screenshot()) == value


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        (sent("refused", "ERROR_UNKNOWN"), RefusedError, "ERROR_UNKNOWN"),
        (sent("uncertain", "no answer"), UncertainError, "no answer"),
        (sent("a word of tomorrow"), UncertainError, "did not answer"),
        (Failed(kind="not_ready", error="it is offline"), UnavailableError, "offline"),
        (Failed(kind="paused", error="too many new"), UnavailableError, "^too many new"),
        (Failed(kind="refused", error="bad chat"), RefusedError, "page refused: bad chat"),
        (Failed(kind="refused", error="no such", field="quoted_message_id"), RefusedError, "^no"),
        (Failed(kind="timeout", error="20 s"), UncertainError, "may have been sent"),
        (Failed(kind="error", error="odd"), UncertainError, "may have been sent"),
        (Failed(kind="a word of tomorrow", error="odd"), UncertainError, "odd"),
    ],
)
@pytest.mark.parametrize("call", SENDS, ids=["text", "media"])
async def test_what_can_become_of_a_send(
    line: Line, call: Call, outcome: Sent | Failed, error: type[WaguardError], words: str
) -> None:
    """A plain 5xx only where it surely did not leave: the application repeats on those."""
    answers(line, outcome)
    with pytest.raises(error, match=words) as raised:
        await line.link.call(call)
    assert type(raised.value) is error
    if isinstance(raised.value, UncertainError):
        assert raised.value.value == ID
    if isinstance(raised.value, UnavailableError):
        assert raised.value.retry_after


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
    line: Line, call: Call, outcome: Failed, error: type[WaguardError]
) -> None:
    answers(line, outcome)
    with pytest.raises(error) as raised:
        await line.link.call(call)
    assert type(raised.value) is error


@pytest.mark.parametrize("call", SENDS, ids=["text", "media"])
async def test_a_line_lost_in_mid_send_is_uncertain_and_never_retried(
    line: Line, call: Call
) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.call(call))
    await wait_until(lambda: line.process.calls, "the worker has it")
    line.process.hang_up()
    with pytest.raises(UncertainError, match="may have been sent") as raised:
        await sending
    assert raised.value.value == ID
    await line.listening
    assert line.process.calls == [call]


async def test_all_open_calls_end_with_the_line(line: Line) -> None:
    line.process.script.answer = never
    calls = [TEXT, *OTHERS]
    waiting = [asyncio.create_task(line.link.call(call)) for call in calls]
    await wait_until(lambda: len(line.process.calls) == len(calls), "the worker has all")
    line.process.exit(-9)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(o) for o in outcomes] == [UncertainError, *[UnavailableError] * len(OTHERS)]


async def test_no_answer_by_the_deadline(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_link, "REPLY_MARGIN", 0.05)
    monkeypatch.setattr(worker_link, "DEFAULT_DEADLINE", 0.05)
    line.process.script.answer = never
    with pytest.raises(UncertainError) as raised:
        await line.link.call(SendText(chat="c", text="t", message_id=ID, timeout=0.05))
    assert raised.value.value == ID
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
    await line.link.call(TEXT)
    assert asked == [TEXT.timeout + worker_link.REPLY_MARGIN]


async def test_a_late_reply_is_harmless(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def late(call: Call) -> Sent:
        await release.wait()
        return sent("sent")

    monkeypatch.setattr(worker_link, "REPLY_MARGIN", 0.0)
    line.process.script.answer = late
    with pytest.raises(UncertainError):
        await line.link.call(SendText(chat="c", text="t", message_id=ID, timeout=0.02))
    release.set()
    answers(line, Value(flag=True))
    # the line still serves, and the late answer is nobody else's
    assert await line.link.call(Exists(chat="c")) == Value(flag=True)


async def test_a_caller_that_gives_up_leaves_nothing(line: Line) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.call(TEXT))
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
    assert [value.text for value in await asyncio.gather(*waiting[1:])] == list("1234")  # type: ignore[union-attr]
    first.set()
    assert await waiting[0] == Value(text="0")


async def test_a_call_on_a_dead_line_surely_left_nothing(line: Line) -> None:
    """So it may be repeated: not uncertain."""
    line.process.exit(0)
    await line.listening
    for call in (TEXT, Unlink()):
        with pytest.raises(UnavailableError) as raised:
            await line.link.call(call)
        assert raised.value.retry_after


async def test_nonsense_ends_the_line_and_its_calls(line: Line) -> None:
    line.process.script.answer = never
    sending = asyncio.create_task(line.link.call(TEXT))
    await wait_until(lambda: line.process.calls, "the worker has it")
    line.process.send(HELLO)  # a daemon's word from a worker
    with pytest.raises(UncertainError):
        await sending
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
    line: Line, call: Call, outcome: Sent | Value
) -> None:
    answers(line, outcome)
    with pytest.raises(UncertainError, match="another answer") as raised:
        await line.link.call(call)
    assert raised.value.value == ID


async def test_an_answer_to_a_send_says_nothing_of_another_call(line: Line) -> None:
    answers(line, sent("sent"))
    with pytest.raises(UnavailableError, match="another answer"):
        await line.link.call(Unlink())
