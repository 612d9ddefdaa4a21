"""What came of a send: sent, refused, or uncertain. Never once more."""

import time
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from waguard.core.messages.people import People
from waguard.supervision.timings import Timings as DaemonTimings
from waguard.wire.calls import Acks, Failed, SendMedia, SendText, Sent, Value
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsError,
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
    TargetCrashedError,
)
from waguard.worker.messages.sending import acks, evaluate, send
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_answers import SendOutcome
from waguard.worker.page.page_errors import NotSendableError, PageLoadingError
from waguard.worker.timings import TIMINGS

ID = "true_49170@c.us_3EB0"
NOW = 1_732_233_600
DAEMON = DaemonTimings()
TEXT = SendText(chat="49170@c.us", text="hi", message_id=ID, timeout=20.0)
MEDIA = SendMedia(
    chat="49170@c.us",
    content=b"\x89PNG",
    mimetype="image/png",
    kind="image",
    message_id=ID,
    timeout=30.0,
    caption="look",
)


@dataclass
class Page:
    """Answers a send, and a later look at the message's ack, as it is told to."""

    answer: SendOutcome | Exception
    ack: int | Exception | None = None
    sent: list[Any] = field(default_factory=list)
    searched: list[tuple[str, float]] = field(default_factory=list)
    aliases: list[tuple[str, ...]] = field(default_factory=list)
    chat_state: str | None = None

    def chat_state_of(self, message_id: str) -> str | None:
        return self.chat_state

    async def send(self, way: str, *arguments: Any, timeout: float) -> SendOutcome:
        assert way == "sendText"
        return self._send((*arguments, timeout))

    async def send_file(
        self, chat: str, content: bytes, options: dict[str, Any], *, timeout: float
    ) -> SendOutcome:
        return self._send((chat, content, options, timeout))

    async def ack_of(
        self, message_id: str, aliases: tuple[str, ...], *, timeout: float
    ) -> int | None:
        self.searched.append((message_id, timeout))
        self.aliases.append(aliases)
        if isinstance(self.ack, Exception):
            raise self.ack
        return self.ack

    def _send(self, what: Any) -> SendOutcome:
        self.sent.append(what)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def do(page: Page, call: SendText | SendMedia = TEXT) -> Sent | Failed:
    return await send(cast("WhatsAppPage", page), call)


def outcome(ack: int | None, result: str | None, at: int | None = NOW) -> SendOutcome:
    return SendOutcome(ack=ack, result=result, at=at)


@pytest.mark.parametrize(
    ("ack", "result", "expected"),
    [
        (1, "OK", "sent"),
        (2, "OK", "sent"),
        (3, None, "sent"),
        (1, "ERROR_UNKNOWN", "sent"),  # the server has it, whatever the page thinks
        (0, "OK", "sent"),
        (None, "OK", "sent"),
        (-1, "ERROR_UNKNOWN", "refused"),  # a refusal resolves too
        (-1, "OK", "refused"),
        (-1, None, "refused"),
        (0, "ERROR_NETWORK", "uncertain"),  # it goes out by itself after a reconnect
        (0, "ERROR_EXPIRED", "uncertain"),
        (0, None, "uncertain"),
        (None, None, "uncertain"),
        (None, "ERROR_NETWORK", "uncertain"),
    ],
)
def test_both_the_ack_and_the_result_count(
    ack: int | None, result: str | None, expected: str
) -> None:
    said = evaluate(outcome(ack, result), ID, NOW + 9)
    assert (said.outcome, said.message_id, said.timestamp) == (expected, ID, NOW)
    assert (said.error is None) == (
        expected == "sent" or (result is None and expected != "refused")
    )


def test_without_whatsapps_time_it_is_ours() -> None:
    assert evaluate(outcome(1, "OK", None), ID, NOW).timestamp == NOW


async def test_a_text_goes_out_with_its_id_and_deadline() -> None:
    page = Page(outcome(1, "OK"))
    assert await do(page) == Sent(outcome="sent", message_id=ID, timestamp=NOW)
    assert page.sent == [("49170@c.us", "hi", {"messageId": ID}, 20.0)]
    assert page.searched == []


async def test_a_file_goes_out_with_what_is_known_of_it() -> None:
    page = Page(outcome(1, "OK"))
    assert await do(page, MEDIA) == Sent(outcome="sent", message_id=ID, timestamp=NOW)
    options = {"type": "image", "mimetype": "image/png", "caption": "look", "messageId": ID}
    assert page.sent == [("49170@c.us", b"\x89PNG", options, 30.0)]


@pytest.mark.parametrize("call", [TEXT, MEDIA], ids=["text", "media"])
async def test_what_it_answers_and_whom_it_names_goes_with_it(call: SendText | SendMedia) -> None:
    page = Page(outcome(1, "OK"))
    also = {"49171@c.us": ("7000001@lid",)}
    more = {"quoted": "false_49170@c.us_A", "mentions": ("49171@c.us",), "aliases": also}
    await do(page, msgspec.structs.replace(call, first_contact_check=True, **more))
    [(_, _, options, _)] = page.sent
    assert options["quotedMsg"] == "false_49170@c.us_A"
    assert options["mentionedList"] == ["49171@c.us"]
    assert options["aliases"] == also
    assert options["firstContactCheck"] == TIMINGS.first_contact_check * 1000


@pytest.mark.parametrize(
    ("reason", "field", "error"),
    [
        ("not_in_chat", "quoted_message_id", "the chat has no message false_49170@c.us_A"),
        ("no_whatsapp", "recipient_phone", "+49170 is not on WhatsApp"),
    ],
)
async def test_what_the_page_sees_before_it_sends_names_its_field(
    reason: str, field: str, error: str
) -> None:
    page = Page(NotSendableError(reason))
    said = await do(page, msgspec.structs.replace(TEXT, quoted="false_49170@c.us_A"))
    assert said == Failed(kind="refused", error=error, field=field)
    assert page.searched == []


@pytest.mark.parametrize(
    "answer", [SendOutcome(ack=-1, result="ERROR_UNKNOWN", at=1), DevToolsTimeoutError("")]
)
async def test_what_the_chat_was_before_is_said_however_it_ended(
    answer: SendOutcome | Exception,
) -> None:
    said = await do(Page(answer, chat_state="first"))
    assert said.standing == "first"


async def test_a_first_contact_is_held() -> None:
    said = await do(Page(NotSendableError("held"), chat_state="first"))
    assert isinstance(said, Failed)
    assert (said.kind, said.field, said.standing) == ("held", "recipient_phone", "first")


async def test_a_first_contact_waits_where_whatsapp_was_asked_too_often() -> None:
    said = await do(Page(NotSendableError("asked_too_often")))
    assert isinstance(said, Failed)
    assert (said.kind, said.field) == ("paused", "recipient_phone")


async def test_a_refusal_is_one() -> None:
    said = await do(Page(outcome(-1, "ERROR_UNKNOWN")))
    assert said == Sent(outcome="refused", message_id=ID, timestamp=NOW, error="ERROR_UNKNOWN")


NO_ANSWER = [
    DevToolsTimeoutError("no answer within 20 s"),
    DevToolsClosedError("the browser ended"),
    TargetCrashedError("the page crashed"),
    DevToolsError("the execution context was destroyed"),
]


@pytest.mark.parametrize("error", NO_ANSWER, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("ack", "expected"),
    [(1, "sent"), (3, "sent"), (-1, "refused"), (0, "uncertain"), (None, "uncertain")],
)
@pytest.mark.parametrize("call", [TEXT, MEDIA], ids=["text", "media"])
async def test_without_an_answer_the_message_is_searched_and_never_sent_again(
    call: SendText | SendMedia, ack: int | None, expected: str, error: DevToolsError
) -> None:
    page = Page(error, ack)
    said = await do(page, call)
    assert isinstance(said, Sent)
    assert (said.outcome, said.message_id) == (expected, ID)
    assert page.searched == [(ID, TIMINGS.find)]
    assert len(page.sent) == 1


@pytest.mark.parametrize("error", [*NO_ANSWER, EvaluationError("TypeError: undefined")])
async def test_where_it_cannot_be_searched_it_is_uncertain(error: Exception) -> None:
    page = Page(DevToolsTimeoutError("no answer within 20 s"), error)
    said = await do(page)
    assert isinstance(said, Sent)
    assert (said.outcome, said.error) == ("uncertain", "no answer within 20 s")


async def test_what_wajs_throws_before_it_sends_is_a_refusal() -> None:
    page = Page(EvaluationError("Error: chat not found"), None)
    said = await do(page)
    assert said == Failed(kind="refused", error="the page threw Error: chat not found")
    assert page.searched == [(ID, TIMINGS.find)]


@pytest.mark.parametrize(("ack", "expected"), [(1, "sent"), (0, "uncertain"), (-1, "refused")])
async def test_what_it_throws_when_the_message_stands_in_its_chat(ack: int, expected: str) -> None:
    said = await do(Page(EvaluationError("Error: odd"), ack))
    assert isinstance(said, Sent)
    assert said.outcome == expected


async def test_thrown_and_the_page_is_gone() -> None:
    said = await do(Page(EvaluationError("Error: odd"), DevToolsClosedError("gone")))
    assert isinstance(said, Sent)
    assert said.outcome == "uncertain"


async def test_a_send_that_waits_for_the_server_says_so() -> None:
    found = await do(Page(DevToolsTimeoutError("no answer"), ack=0))
    assert isinstance(found, Sent)
    assert (found.outcome, found.ack) == ("uncertain", 0)
    lost = await do(Page(DevToolsTimeoutError("no answer"), ack=None))
    assert isinstance(lost, Sent)
    assert (lost.outcome, lost.ack) == ("uncertain", None)


LID, FORMER = "7000001@lid", "7000002@lid"


async def test_a_message_is_searched_under_each_lid_that_its_chat_ever_had() -> None:
    page = Page(EvaluationError("Error: odd"), None)
    people = People([(FORMER, "49170@c.us"), (LID, "49170@c.us")])
    said = await send(cast("WhatsAppPage", page), TEXT, people)
    assert isinstance(said, Failed)
    assert page.aliases == [(LID, FORMER)]


async def test_thrown_and_not_everywhere_searched_it_is_uncertain() -> None:
    said = await do(Page(EvaluationError("Error: odd"), EvaluationError("Error: no chat")))
    assert isinstance(said, Sent)
    assert (said.outcome, said.error) == ("uncertain", "the page threw Error: odd")


async def test_a_chat_that_cannot_be_opened_is_refused_with_the_reason() -> None:
    said = await do(Page(NotSendableError("no_chat", "Error: Failed to find or create chat")))
    assert isinstance(said, Failed)
    assert (said.kind, said.field) == ("refused", "recipient_phone")
    assert said.error.endswith("Failed to find or create chat")


async def test_the_acks_of_earlier_sends_are_those_that_the_page_knows() -> None:
    checked: dict[str, tuple[str, ...]] = {}

    @dataclass
    class Chats:
        async def ack_of(
            self, message_id: str, aliases: tuple[str, ...], *, timeout: float
        ) -> int | None:
            checked[message_id] = aliases
            if message_id == "odd":
                raise EvaluationError("Error: no chat")
            return {ID: 0, "b": 2}.get(message_id)

    call = Acks(ids=(ID, "odd", "b", "c"), aliases={ID: (FORMER,)})
    people = People([(LID, "49170@c.us")])
    assert await acks(cast("WhatsAppPage", Chats()), call, people) == Value(acks={ID: 0, "b": 2})
    assert checked == {ID: (FORMER, LID), "odd": (), "b": (), "c": ()}


async def test_a_search_that_hangs_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all together take no longer than the daemon waits: what was not looked up is named."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    class Chats:
        async def ack_of(self, name: str, _: tuple[str, ...], *, timeout: float) -> int:
            if not name.startswith("hangs"):
                return 0
            clock[0] += timeout
            raise DevToolsTimeoutError(f"no answer within {timeout:g} s")

    page = cast("WhatsAppPage", Chats())
    call = Acks(ids=("a", "hangs", "b"))
    assert await acks(page, call, People()) == Value(acks={"a": 0, "b": 0}, unread=("hangs",))
    hang = tuple(f"hangs {number}" for number in range(20))
    call, began = Acks(ids=("a", *hang, "b")), clock[0]
    assert await acks(page, call, People()) == Value(acks={"a": 0}, unread=(*hang, "b"))
    assert clock[0] - began < DAEMON.call


@pytest.mark.parametrize("error", [PageLoadingError(), ElsewhereError("https://x.example")])
async def test_a_page_without_its_hook_is_not_asked_for_acks(error: EvaluationError) -> None:
    """No ack at all would be the answer, and mean that none of them waits for one."""
    with pytest.raises(type(error)):
        await acks(cast("WhatsAppPage", Page(outcome(1, "OK"), error)), Acks(ids=(ID,)), People())


BROKEN = "TypeError: e.sendMsg is not a function"


@pytest.mark.parametrize(
    ("answer", "ack", "kind"),
    [
        (EvaluationError(f"{BROKEN}\n    at x"), None, "refused"),
        (EvaluationError(BROKEN), 0, "uncertain"),
        (EvaluationError(BROKEN), EvaluationError(BROKEN), "uncertain"),
        (NotSendableError("no_chat", BROKEN), None, "refused"),
    ],
)
async def test_broken_code_of_the_page_is_named_beside_the_outcome(
    answer: Exception, ack: int | Exception | None, kind: str
) -> None:
    reported = await do(Page(answer, ack))
    assert reported.thrown == BROKEN
    assert (reported.kind if isinstance(reported, Failed) else reported.outcome) == kind


@pytest.mark.parametrize(
    ("answer", "ack"),
    [
        (EvaluationError("Error: Chat not found"), None),
        (EvaluationError(BROKEN), 1),  # and it was sent all the same
        (NotSendableError("no_chat", "Error: Invalid WID"), None),
        (NotSendableError("no_whatsapp"), None),
        (DevToolsTimeoutError("20 s"), None),
        (outcome(-1, "ERROR_UNKNOWN"), None),
    ],
)
async def test_a_refusal_names_no_broken_code(
    answer: SendOutcome | Exception, ack: int | None
) -> None:
    assert (await do(Page(answer, ack))).thrown is None
