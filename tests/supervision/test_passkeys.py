"""Linkings by passkey in the daemon: who may go on, which answers reach the page, and what is recorded of it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest

from tests.passkeys import UP, Passkey, request
from tests.supervision.bench import QR_SHOWN, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from waguard.core.incidents import sentences
from waguard.core.link import Link
from waguard.core.passkey import SENTENCES, Wrong
from waguard.core.passkey_link import PasskeyStage
from waguard.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    WaguardError,
)
from waguard.ports.passkeys import PasskeyView
from waguard.wire import reports
from waguard.wire.calls import (
    Call,
    Failed,
    PasskeyAnswer,
    PasskeyCancel,
    PasskeyConfirm,
    PasskeyRequest,
    PasskeyStart,
    Value,
)

ANN, BOB = "user 1000 of this machine", "a caller at 192.0.2.7"
KEY: Final = Passkey()
CODE: Final = "ABCD-1234"


@dataclass
class Page:
    """The page of a worker, with the hook in it: as ``passkey.js`` answers, and tests see in a real Chromium."""

    bench: Bench
    asked: dict[str, Any] = field(default_factory=request)
    held: str | None = None
    got: list[dict[str, Any]] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    clicks: int = 0
    dies: bool = False
    """Its worker is killed when the answer comes."""
    free: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is clear, an answer takes its time."""

    def __post_init__(self) -> None:
        self.free.set()

    @property
    def process(self) -> FakeProcess:
        return self.bench.process()

    def report(self, stage: str | None, *, left: float = 600.0, **fields: Any) -> None:
        """It says how far it is; None: the linking is over."""
        if stage is None:
            self.process.report("qr_pending")
            return
        now = self.bench.world.clock.wall()
        said = reports.Passkey(stage=PasskeyStage(stage), until=now + left, **fields)
        self.process.report("passkey_required", passkey=said)

    async def says(self, stage: str | None, **fields: Any) -> None:
        """The same, and it was read."""
        self.report(stage, **fields)

        def read(found: PasskeyView) -> bool:
            return found.stage == stage and all(
                getattr(found, name) == value for name, value in fields.items() if name != "left"
            )

        passkeys, name = self.bench.it.passkeys, "s"
        async with asyncio.timeout(30):
            while not read(await passkeys.view(name)):
                await self.bench.session().moved()

    async def answer(self, call: Call) -> Value | Failed | None:
        match call:
            case PasskeyStart():
                if self.held is None:
                    self.clicks += 1
                    self.held = f"request-{self.clicks}"
                    self.report("asked", request=self.held)
                options = json.dumps(self.asked)
                return Value(passkey=PasskeyRequest(request=self.held, options=options, left=600.0))
            case PasskeyAnswer(request=name, assertion=assertion):
                await self.free.wait()
                if self.dies:
                    self.process.exit(-9)
                    return None
                if name != self.held:
                    return Value(flag=False)
                self.held = None
                self.got.append(assertion)
                self.report("answered", left=120.0)
                return Value(flag=True)
            case PasskeyConfirm(code=code):
                self.confirmed.append(code)
                return Value(flag=True)
            case PasskeyCancel(request=name):
                if name not in {None, self.held}:
                    return Value(flag=False)
                held, self.held = self.held, None
                if held:
                    self.report("failed", error="cancelled")
                return Value(flag=held is not None)
            case _:
                return Value()


@pytest.fixture
async def page(empty: Bench) -> Page:
    """A code was scanned, and WhatsApp Web shows its prompt."""
    made = Page(empty)
    empty.world.spawn.script = Script(reports=(QR_SHOWN,), answer=made.answer)
    await empty.create()
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    await made.says("offered", unattended_until=empty.world.clock.wall() + 300.0)
    return made


async def audit(bench: Bench, *, of: str = "passkey_") -> list[tuple[str, str]]:
    """What is on the log of who did what, when all of it is written."""
    await bench.until_written()
    entries = await bench.world.store.audit("s")
    return [
        (it.kind, it.reason or "")
        for it in entries
        if it.kind.startswith(of) and "required" not in it.kind
    ]


async def refused(bench: Bench, request: str, answer: object, *, by: str = ANN) -> WaguardError:
    with pytest.raises(WaguardError) as found:
        await bench.it.passkeys.answer("s", request, answer, by=by)
    return found.value


async def test_an_answer_goes_from_the_desk_to_the_page(page: Page) -> None:
    passkeys, wall = page.bench.it.passkeys, page.bench.world.clock.wall()
    assert await passkeys.view("s") == PasskeyView(
        stage=PasskeyStage.OFFERED, until=wall + 600, expires_in=600.0, unattended_until=wall + 300
    )
    started = await passkeys.start("s", by=ANN)
    assert (started.options, started.expires_in) == (page.asked, 600.0)
    assert (await passkeys.view("s")).stage is PasskeyStage.ASKED
    await passkeys.answer("s", started.request, KEY.sign(started.options), by=BOB)
    (got,) = page.got
    KEY.verify(got, page.asked)
    assert (await passkeys.view("s")).stage is PasskeyStage.ANSWERED
    assert await audit(page.bench) == [("passkey_started", ANN), ("passkey_answered", BOB)]


async def test_what_is_recorded_stands_before_the_page_has_the_answer(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)
    page.free.clear()
    answering = asyncio.create_task(
        passkeys.answer("s", started.request, KEY.sign(started.options), by=BOB)
    )
    while not any(isinstance(call, PasskeyAnswer) for call in page.process.calls):
        await asyncio.sleep(0.01)
    assert (await audit(page.bench))[-1] == ("passkey_answered", BOB)
    assert page.got == []
    page.free.set()
    await answering


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (KEY.sign(request()), Wrong.CHALLENGE),
        ({"origin": "https://evil.test"}, Wrong.ORIGIN),
        ({"flags": UP}, Wrong.USER_VERIFIED),
        (None, Wrong.NOT_AN_OBJECT),
    ],
)
async def test_a_wrong_answer_never_reaches_the_page_which_still_waits(
    page: Page, answer: dict[str, Any] | None, wrong: Wrong
) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)
    given = answer if not answer or "id" in answer else KEY.sign(started.options, **answer)
    error = await refused(page.bench, started.request, given)
    assert (type(error), error.status, error.field) == (RefusedError, 422, "assertion")
    assert error.message == f"{wrong}: {SENTENCES[wrong]}"
    assert str(error.remedy).startswith("The page still waits.")
    assert not any(isinstance(call, PasskeyAnswer) for call in page.process.calls)
    assert (await passkeys.view("s")).stage is PasskeyStage.ASKED
    assert (await audit(page.bench))[-1] == ("passkey_refused", f"{ANN}: {error.message}")
    await passkeys.answer("s", started.request, KEY.sign(started.options), by=ANN)
    assert len(page.got) == 1


def gone(error: WaguardError, why: str, now: str) -> None:
    assert (type(error), error.status, error.field) == (ConflictError, 409, "request")
    assert error.message.startswith(f"{why}: ")
    assert now in error.message
    assert error.remedy == (
        "Start again, `waguard passkey s` or POST /api/sessions/s/passkey/start, and answer the request of that reply."
    )


async def test_a_second_answer_is_one_too_many_also_while_the_first_is_on_its_way(
    page: Page,
) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)
    signed = KEY.sign(started.options)
    page.free.clear()
    first = asyncio.create_task(passkeys.answer("s", started.request, signed, by=ANN))
    while not any(isinstance(call, PasskeyAnswer) for call in page.process.calls):
        await asyncio.sleep(0.01)
    gone(await refused(page.bench, started.request, signed, by=BOB), "answered", "waits until")
    page.free.set()
    await first
    gone(await refused(page.bench, started.request, signed), "answered", "waits for the phone")
    assert len(page.got) == 1
    assert (await audit(page.bench))[-1][1].startswith(f"{ANN}: answered: ")


async def test_two_operators_get_the_same_request_and_one_answers_it(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    first, second = await asyncio.gather(passkeys.start("s", by=ANN), passkeys.start("s", by=BOB))
    assert (first.request, first.options) == (second.request, second.options)
    assert page.clicks == 1
    signed = KEY.sign(first.options)
    results = await asyncio.gather(
        passkeys.answer("s", first.request, signed, by=ANN),
        passkeys.answer("s", second.request, signed, by=BOB),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], ConflictError)
    gone(results[1], "answered", "")
    assert len(page.got) == 1
    assert [kind for kind, _ in await audit(page.bench)] == [
        *("passkey_started", "passkey_started", "passkey_answered", "passkey_refused")
    ]


async def test_a_late_answer_is_409(page: Page) -> None:
    started = await page.bench.it.passkeys.start("s", by=ANN)
    page.bench.world.clock.advance(599.9)
    wrong = await refused(page.bench, started.request, None)
    assert wrong.status == 422  # it is in time
    page.bench.world.clock.advance(0.2)
    gone(await refused(page.bench, started.request, KEY.sign(started.options)), "late", "")
    assert page.got == []


async def test_what_the_page_gave_up_is_409_and_can_be_started_again(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)
    page.held = None
    await page.says("failed", error="timeout")
    error = await refused(page.bench, started.request, KEY.sign(started.options))
    gone(error, "not_held", "its time ran out; it can be started again")
    again = await passkeys.start("s", by=ANN)
    assert again.request != started.request
    await passkeys.answer("s", again.request, KEY.sign(again.options), by=ANN)
    assert len(page.got) == 1


async def test_after_a_reload_of_the_page_it_is_409(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)
    page.held = None
    await page.says(None)
    error = await refused(page.bench, started.request, KEY.sign(started.options))
    gone(
        error, "not_held", "no linking of this session needs a passkey now, its link is qr_pending"
    )
    with pytest.raises(ConflictError, match="needs a passkey now") as not_started:
        await passkeys.start("s", by=ANN)
    assert "shows the code to scan" in str(not_started.value.remedy)
    assert await passkeys.view("s") == PasskeyView()


async def test_a_session_that_is_connected_needs_no_passkey(empty: Bench) -> None:
    await empty.connected("c")
    with pytest.raises(ConflictError, match="its link is connected") as not_started:
        await empty.it.passkeys.start("c", by=ANN)
    assert not_started.value.remedy is None
    assert await empty.it.passkeys.view("c") == PasskeyView()


async def test_a_request_that_was_replaced_is_409(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    earlier = await passkeys.start("s", by=ANN)
    page.held, page.asked = None, request()
    await page.says("failed", error="server_error")
    newer = await passkeys.start("s", by=BOB)
    gone(await refused(page.bench, earlier.request, KEY.sign(earlier.options)), "unknown", "")
    error = await refused(page.bench, newer.request, KEY.sign(earlier.options))  # a replay
    assert error.message.startswith("challenge: ")
    await passkeys.answer("s", newer.request, KEY.sign(newer.options), by=BOB)
    assert len(page.got) == 1


async def test_a_daemon_that_was_restarted_knows_no_request_and_gets_it_by_a_start(
    page: Page, world: World
) -> None:
    bench = page.bench
    started = await bench.it.passkeys.start("s", by=ANN)
    page.process.script = Script(
        reports=(
            {
                "link": "passkey_required",
                "passkey": reports.Passkey(
                    stage=PasskeyStage.ASKED, until=world.clock.wall() + 600, request=page.held
                ),
            },
        ),
        answer=page.answer,
    )
    (left,) = await bench.die()
    at = left.process.spec.socket
    await bench.restore((msgspec.structs.replace(left.record, socket=at), left.process))
    await until(bench.session(), lambda s: s.link is Link.PASSKEY_REQUIRED)
    signed = KEY.sign(started.options)
    gone(await refused(bench, started.request, signed), "unknown", "waits until")
    again = await bench.it.passkeys.start("s", by=ANN)
    assert again.request == started.request  # the page has held it all the time
    await bench.it.passkeys.answer("s", again.request, signed, by=ANN)
    assert len(page.got) == 1


async def test_a_worker_that_is_killed_takes_the_request_with_it(page: Page) -> None:
    passkeys, bench = page.bench.it.passkeys, page.bench
    started = await passkeys.start("s", by=ANN)
    signed, killed, page.dies = KEY.sign(started.options), page.process, True
    error = await refused(bench, started.request, signed)
    assert (type(error), error.status) == (UnavailableError, 503)
    await until(bench.session(), lambda s: s.runner.process is not killed)
    # whether the page had the first one nobody knows
    error = await refused(bench, started.request, signed)
    assert (error.status, error.message.split(":")[0]) == (409, "answered")
    assert page.got == []


async def test_a_request_of_a_worker_that_was_replaced_is_409(page: Page) -> None:
    bench = page.bench
    started = await bench.it.passkeys.start("s", by=ANN)
    killed = page.process
    killed.exit(-9)
    await until(bench.session(), lambda s: s.runner.process is not killed)
    gone(
        await refused(bench, started.request, KEY.sign(started.options)), "page_gone", "its link is"
    )
    assert page.got == []


async def test_a_code_is_confirmed_by_who_compared_it_and_by_nobody_else(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    with pytest.raises(ConflictError, match="asks for the account's passkey"):
        await passkeys.confirm("s", CODE, by=ANN)  # there is none yet
    await page.says("confirm", left=120.0, code=CODE)
    for other in ("ABCD-1235", "ABCD", "-", ""):
        with pytest.raises(RefusedError, match="not the one that WhatsApp Web shows") as refusal:
            await passkeys.confirm("s", other, by=BOB)
        assert (refusal.value.status, refusal.value.field) == (422, "code")
    assert page.confirmed == []
    await passkeys.confirm("s", " abcd 1234 ", by=ANN)
    assert page.confirmed == [CODE]
    recorded = await audit(page.bench)
    assert recorded[0] == (
        "passkey_refused",
        f"{BOB}: the code is not the one that WhatsApp Web shows",
    )
    assert recorded[-1] == ("passkey_confirmed", ANN)


async def test_a_code_that_the_page_does_not_show_any_more_is_409(page: Page) -> None:
    await page.says("confirm", left=120.0, code=CODE)

    async def shows_nothing(call: Call) -> Value:
        return Value(flag=False)

    page.process.script.answer = shows_nothing
    with pytest.raises(ConflictError, match="shows a code"):
        await page.bench.it.passkeys.confirm("s", CODE, by=ANN)


async def test_a_held_request_is_refused_and_the_next_start_asks_again(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    with pytest.raises(ConflictError, match="asks for the account's passkey"):
        await passkeys.cancel("s", by=ANN)  # nothing is held
    started = await passkeys.start("s", by=ANN)
    await passkeys.cancel("s", by=BOB)
    found = await passkeys.view("s")
    assert (found.stage, found.error, found.unattended_until) == ("failed", "cancelled", None)
    gone(await refused(page.bench, started.request, KEY.sign(started.options)), "unknown", "")
    await passkeys.start("s", by=ANN)
    page.held = None  # the page ends it at the same moment
    with pytest.raises(ConflictError):
        await passkeys.cancel("s", by=BOB)
    assert [it for it in await audit(page.bench) if it[0] == "passkey_cancelled"] == [
        ("passkey_cancelled", BOB)
    ] * 2


async def test_who_names_an_earlier_request_refuses_no_other(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    earlier = await passkeys.start("s", by=ANN)
    page.held, page.asked = None, request()
    await page.says("failed", error="timeout")
    newer = await passkeys.start("s", by=BOB)
    with pytest.raises(ConflictError) as refusal:
        await passkeys.cancel("s", earlier.request, by=ANN)
    gone(refusal.value, "unknown", "waits until")
    assert not any(isinstance(call, PasskeyCancel) for call in page.process.calls)
    await passkeys.cancel("s", newer.request, by=BOB)
    assert page.process.calls[-1] == PasskeyCancel(request=newer.request)
    assert (await passkeys.view("s")).error == "cancelled"


async def test_a_request_that_could_not_be_refused_is_answered(page: Page) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)

    async def fails(call: Call) -> Failed:
        return Failed(kind="error", error="the page does not answer")

    page.process.script.answer = fails
    with pytest.raises(WaguardError, match="does not answer"):
        await passkeys.cancel("s", started.request, by=ANN)
    page.process.script.answer = page.answer
    await passkeys.answer("s", started.request, KEY.sign(started.options), by=ANN)
    assert len(page.got) == 1


async def test_who_starts_late_has_the_rest_of_the_offer(page: Page) -> None:
    passkeys, clock = page.bench.it.passkeys, page.bench.world.clock
    clock.advance(550)
    started = await passkeys.start("s", by=ANN)
    assert started.expires_in == pytest.approx(50.0)
    clock.advance(50.1)
    gone(await refused(page.bench, started.request, KEY.sign(started.options)), "late", "")
    assert page.got == []


@pytest.mark.parametrize("stage", ["answered", "confirm"])
async def test_nobody_starts_again_while_whatsapp_has_the_answer(page: Page, stage: str) -> None:
    await page.says(stage, left=120.0, code=CODE)
    with pytest.raises(ConflictError, match="WhatsApp"):
        await page.bench.it.passkeys.start("s", by=ANN)
    assert page.process.calls == []


async def test_a_page_that_cannot_start_says_why(page: Page) -> None:
    async def shows_no_prompt(call: Call) -> Failed:
        return Failed(kind="no_passkey", error="the page does not show the prompt for a passkey")

    page.process.script.answer = shows_no_prompt
    with pytest.raises(ConflictError, match="does not show the prompt"):
        await page.bench.it.passkeys.start("s", by=ANN)
    assert await audit(page.bench) == [("passkey_started", ANN)]
    (entry,) = [it for it in await page.bench.world.store.audit("s") if it.reason == ANN]
    # nothing was given to anybody
    assert sentences.done(entry) == f"the request for the account's passkey was asked for by {ANN}"


@pytest.mark.parametrize("options", ["null", "[]", json.dumps(request(rpId="example.org"))])
async def test_a_request_that_is_not_whatsapps_is_not_passed_on(page: Page, options: str) -> None:
    async def asks_for_another(call: Call) -> Value:
        return Value(passkey=PasskeyRequest(request="r", options=options, left=1.0))

    page.process.script.answer = asks_for_another
    with pytest.raises(ConflictError, match="something else than a passkey"):
        await page.bench.it.passkeys.start("s", by=ANN)
    gone(await refused(page.bench, "r", None), "unknown", "")


async def test_an_unknown_session_is_404(empty: Bench) -> None:
    passkeys = empty.it.passkeys
    for asked in (
        passkeys.view("x"),
        passkeys.start("x", by=ANN),
        passkeys.answer("x", "r", None, by=ANN),
        passkeys.confirm("x", CODE, by=ANN),
        passkeys.cancel("x", by=ANN),
    ):
        with pytest.raises(NotFoundError):
            await asked


async def test_nothing_of_request_or_answer_is_recorded_logged_or_published(
    page: Page, world: World
) -> None:
    passkeys = page.bench.it.passkeys
    started = await passkeys.start("s", by=ANN)
    signed = KEY.sign(started.options)
    await refused(
        page.bench, started.request, KEY.sign(started.options, origin="https://evil.test")
    )
    await passkeys.answer("s", started.request, signed, by=ANN)
    await refused(page.bench, started.request, signed)
    secrets = [started.request, page.asked["challenge"], signed["id"], *signed["response"].values()]
    entries = await world.store.audit("s")
    assert any(it.kind == "passkey_answered" for it in entries)
    seen = repr([entries, world.events(), world.store.accounts, started, page.process.calls])
    assert [it for it in secrets if str(it) in seen] == []
