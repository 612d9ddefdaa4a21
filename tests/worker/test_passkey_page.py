"""The hook that holds a page's request for the account's passkey, in a real Chromium."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from tests.passkeys import Passkey, request
from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core import passkey as core
from waguard.core.passkey_link import PasskeyEvent, PasskeyStage, PasskeyStep
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import (
    Failed,
    PasskeyAnswer,
    PasskeyCall,
    PasskeyCancel,
    PasskeyConfirm,
    PasskeyRequest,
    PasskeyStart,
    Value,
)
from waguard.worker.page.link_watch import LinkWatch
from waguard.worker.page.page_reports import passkey_step
from waguard.worker.page.passkey import PasskeyCalls

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
CODE: Final = "ABCD-1234"
# what WhatsApp Web's published source does: a click, one plain get, five fields read
PROMPT: Final = """(() => {
  document.querySelector('#passkey')?.remove();
  const un = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const b = (x) => btoa(String.fromCharCode(...new Uint8Array(x))).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=+$/, '');
  const it = { options: OPTIONS, clicks: 0, confirmed: 0, ended: [], got: [] };
  it.ask = (extra) => {
    const { challenge, allowCredentials, ...key } = structuredClone(it.options);
    const publicKey = { ...key, challenge: un(challenge), allowCredentials: allowCredentials.map((one) => ({ ...one, id: un(one.id) })) };
    return navigator.credentials.get({ publicKey, ...extra }).then((got) => {
      const { response: r } = got;
      it.credential = got;
      it.got.push({ id: got.id, rawId: b(got.rawId), type: got.type, clientExtensionResults: {}, response: {
        clientDataJSON: b(r.clientDataJSON), authenticatorData: b(r.authenticatorData), signature: b(r.signature),
        userHandle: r.userHandle ? b(r.userHandle) : null } });
    }, (error) => { it.ended.push(`${error.name}: ${error.message}`); });
  };
  const box = document.createElement('div');
  box.id = 'passkey';
  box.innerHTML = '<button data-testid=shortcake_passkey_continue_button>Continue</button>'
    + '<p data-testid=shortcake_verification_code_display>ABCD<b>-1234</b></p><button data-testid=shortcake_code_confirm_button>They match</button>';
  const [go, yes] = box.querySelectorAll('button');
  go.onclick = () => { it.clicks += 1; if (!it.dead) it.ask(); };
  yes.onclick = () => { it.confirmed += 1; };
  document.body.append(box);
  window.prompt_ = it;
})()"""


class Heard(list[tuple[str, Any]]):
    """The page's reports, which the watch reads as they come."""

    def __init__(self, watch: LinkWatch) -> None:
        super().__init__()
        self._watch = watch

    def append(self, it: tuple[str, Any]) -> None:
        super().append(it)
        if it[0] == "passkey" and (step := passkey_step(it[1])):
            self._watch.passkey_step(step)


class Prompt:
    """A page that shows the prompt, and the worker's end of it."""

    def __init__(self, browser: BrowserSession, asked: dict[str, Any]) -> None:
        self.browser = browser
        self.asked = asked
        self.watch = LinkWatch()
        self.calls = PasskeyCalls(self.watch, timeout=LONG)
        browser.reports = Heard(self.watch)

    async def show(self) -> None:
        await self.do(PROMPT.replace("OPTIONS", json.dumps(self.asked)))
        self.watch.passkey_step(PasskeyStep(event=PasskeyEvent.OFFERED))

    async def do(self, expression: str) -> Any:
        return await self.browser.session.evaluate(expression, timeout=LONG)

    async def read(self, name: str) -> Any:
        return await self.do(f"prompt_.{name}")

    @property
    def reports(self) -> list[Any]:
        """What was reported of passkeys since it is there."""
        return [data for kind, data in self.browser.reports if kind == "passkey"]

    async def call(self, call: PasskeyCall) -> Value | Failed:
        return await self.calls.perform(self.browser.session, call)

    async def start(self) -> PasskeyRequest:
        answer = await self.call(PasskeyStart())
        assert isinstance(answer, Value), answer
        assert answer.passkey
        return answer.passkey

    async def answer(self, request: str, signed: dict[str, Any]) -> bool | None:
        options = core.options(self.asked)
        assert options
        checked = core.check(signed, options).to_json()
        answer = await self.call(PasskeyAnswer(request=request, assertion=checked))
        assert isinstance(answer, Value), answer
        return answer.flag

    async def ended(self, count: int = 1) -> list[str]:
        """How the page's requests ended that failed, when there are so many."""
        async with asyncio.timeout(LONG):
            while len(ended := await self.read("ended")) < count:
                await asyncio.sleep(0.02)
        return list(ended)

    async def reported(self, event: str) -> Any:
        await wait_until(
            lambda: any(it["event"] == event for it in self.reports),
            f"{event} is reported",
            deadline=LONG,
        )
        return self.reports[-1]


REFUSED: Final = "NotAllowedError: The operation either timed out or was not allowed."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    """On the QR screen."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy()) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            yield made
            await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def prompt(browser: BrowserSession) -> AsyncIterator[Prompt]:
    shown = Prompt(browser, request())
    await shown.show()
    yield shown
    await browser.session.evaluate("window.__waguardPasskey.cancel()", timeout=LONG)


async def test_nothing_is_asked_before_the_click_and_then_the_request_is_held(
    prompt: Prompt,
) -> None:
    assert (await prompt.read("clicks"), prompt.reports) == (0, [])
    held = await prompt.start()
    assert json.loads(held.options) == prompt.asked
    assert 0 < held.left <= 600
    assert prompt.reports == [{"event": "asked", "request": held.request}]
    assert (await prompt.read("clicks"), await prompt.read("ended")) == (1, [])
    again = await prompt.start()
    assert (again.request, again.options) == (held.request, held.options)
    assert await prompt.read("clicks") == 1


async def test_who_starts_at_the_same_time_gets_the_same_request(prompt: Prompt) -> None:
    first, second = await asyncio.gather(prompt.start(), prompt.start())
    assert first.request == second.request
    assert await prompt.read("clicks") == 1


async def test_the_page_gets_what_the_passkey_signed_and_two_verifiers_accept_it(
    prompt: Prompt,
) -> None:
    key, held = Passkey(), await prompt.start()
    signed = key.sign(json.loads(held.options))
    assert await prompt.answer(held.request, signed) is True
    (got,) = await prompt.read("got")
    key.verify(got, prompt.asked)
    assert got["response"] == signed["response"]
    assert [it["event"] for it in prompt.reports] == ["asked", "sent"]
    seen = await prompt.do(
        "(({ credential: c }) => [c instanceof PublicKeyCredential, c.response instanceof"
        " AuthenticatorAssertionResponse, String(c), c.authenticatorAttachment,"
        " JSON.stringify(c.getClientExtensionResults()), Object.keys(c.toJSON()).length,"
        " Object.keys(c).length])(prompt_)"
    )
    assert seen == [True, True, "[object PublicKeyCredential]", "platform", "{}", 6, 0]
    assert await prompt.answer(held.request, signed) is False  # a second answer
    assert len(await prompt.read("got")) == 1


async def test_an_answer_to_another_request_changes_nothing(prompt: Prompt) -> None:
    key, held = Passkey(), await prompt.start()
    signed = key.sign(prompt.asked)
    assert await prompt.answer("another", signed) is False
    assert (await prompt.start()).request == held.request
    assert await prompt.answer(held.request, signed) is True


async def test_what_cannot_be_read_does_not_end_the_wait(prompt: Prompt) -> None:
    held = await prompt.start()
    with pytest.raises(Exception, match="TypeError"):
        await prompt.call(PasskeyAnswer(request=held.request, assertion={"id": "x"}))
    assert (await prompt.start()).request == held.request
    assert await prompt.read("ended") == []


async def test_it_is_cancelled_as_a_person_does_it(prompt: Prompt) -> None:
    held = await prompt.start()
    assert await prompt.call(PasskeyCancel()) == Value(flag=True)
    assert await prompt.ended() == [REFUSED]
    assert prompt.reports[-1] == {"event": "error", "error": "cancelled"}
    assert await prompt.call(PasskeyCancel()) == Value(flag=False)
    assert await prompt.answer(held.request, Passkey().sign(prompt.asked)) is False
    another = await prompt.start()  # the next click
    assert another.request != held.request


async def test_it_ends_at_its_time(browser: BrowserSession) -> None:
    prompt = Prompt(browser, request(timeout=300))
    await prompt.show()
    held = await prompt.start()
    assert held.left <= 0.3
    assert await prompt.ended() == [REFUSED]
    assert await prompt.reported("error") == {"event": "error", "error": "timeout"}
    assert await prompt.answer(held.request, Passkey().sign(prompt.asked)) is False


async def test_the_page_aborts_it(prompt: Prompt) -> None:
    await prompt.do(
        "void (() => { prompt_.stop = new AbortController(); prompt_.ask({ signal: prompt_.stop.signal }); })()"
    )
    await prompt.reported("asked")
    held = await prompt.start()
    await prompt.do("prompt_.stop.abort()")
    assert (await prompt.ended())[0].startswith("AbortError")
    assert await prompt.reported("error") == {"event": "error", "error": "aborted"}
    assert await prompt.answer(held.request, Passkey().sign(prompt.asked)) is False
    await prompt.do("prompt_.ask({ signal: prompt_.stop.signal })")  # at once
    assert len(await prompt.ended(2)) == 2
    assert await prompt.call(PasskeyCancel()) == Value(flag=False)


async def test_a_new_request_takes_the_place_of_one_of_a_linking_that_is_over(
    prompt: Prompt,
) -> None:
    """WhatsApp Web asks without a signal, so it cannot end a request itself."""
    stale = await prompt.start()
    prompt.watch.passkey_over()
    prompt.watch.passkey_step(PasskeyStep(event=PasskeyEvent.OFFERED))
    held = await prompt.start()
    assert held.request != stale.request
    key = Passkey()
    assert await prompt.answer(stale.request, key.sign(prompt.asked)) is False
    assert await prompt.answer(held.request, key.sign(prompt.asked)) is True
    assert await prompt.read("ended") == []  # the page is not bothered with the other one


async def test_a_request_that_is_held_is_not_asked_for_twice(prompt: Prompt) -> None:
    """A failure that was only seen on the screen: the page waits, and its button cannot be pressed."""
    held = await prompt.start()
    await prompt.do(DISABLED)
    prompt.watch.passkey_step(PasskeyStep(event=PasskeyEvent.ERROR))
    assert (await prompt.start()).request == held.request
    assert await prompt.answer(held.request, Passkey().sign(prompt.asked)) is True


async def test_a_button_that_cannot_be_pressed_is_not_waited_for(prompt: Prompt) -> None:
    await prompt.do(DISABLED)
    await prompt.do("window.setTimeout = new Proxy(setTimeout, { apply: () => 0 }), 0")
    assert await prompt.call(PasskeyStart()) == Failed(
        kind="no_passkey", error="the page did not ask for the passkey after the click on Continue"
    )
    await prompt.browser.loader.load()


async def test_a_request_is_held_no_longer_than_its_offer_lasts(prompt: Prompt) -> None:
    """The page got its options with the offer."""
    assert prompt.watch.passkey
    prompt.watch.passkey = msgspec.structs.replace(prompt.watch.passkey, until=time.time() + 60)
    assert 0 < (await prompt.start()).left <= 60
    assert await prompt.call(PasskeyCancel()) == Value(flag=True)
    assert (await prompt.start()).left > 60  # options that the page got after an error


async def test_who_refuses_an_earlier_request_refuses_no_other(prompt: Prompt) -> None:
    held = await prompt.start()
    assert await prompt.call(PasskeyCancel(request="another")) == Value(flag=False)
    assert await prompt.read("ended") == []
    assert await prompt.call(PasskeyCancel(request=held.request)) == Value(flag=True)


async def test_a_reload_forgets_it_and_without_a_prompt_nothing_starts(prompt: Prompt) -> None:
    held = await prompt.start()
    await prompt.browser.loader.load()
    assert await prompt.answer(held.request, Passkey().sign(prompt.asked)) is False
    prompt.watch.page_loads()
    for call in (PasskeyStart(), PasskeyStart()):  # the first one leaves nothing behind
        assert await prompt.call(call) == Failed(
            kind="no_passkey", error="the page does not show the prompt for a passkey"
        )


async def test_a_click_that_comes_to_nothing_is_waited_for_only_a_while(prompt: Prompt) -> None:
    await prompt.do(
        "void (() => { prompt_.dead = true; const real = setTimeout;"
        " window.setTimeout = (what, ms) => { window.setTimeout = real; return real(what, ms / 100); }; })()"
    )
    assert await prompt.call(PasskeyStart()) == Failed(
        kind="no_passkey", error="the page did not ask for the passkey after the click on Continue"
    )
    await prompt.do("prompt_.dead = false, 0")
    assert (await prompt.start()).request


@pytest.mark.parametrize(
    "asked",
    [request(challenge="A" * 9_000), request(rpId="whatsapp.com", extensions={"a": "x" * 9_000})],
)
async def test_a_request_that_is_too_large_is_not_passed_on(
    browser: BrowserSession, asked: dict[str, Any]
) -> None:
    prompt = Prompt(browser, asked)
    await prompt.show()
    assert await prompt.call(PasskeyStart()) == Failed(
        kind="no_passkey", error="the page cannot be asked for it"
    )
    assert await prompt.call(PasskeyCancel()) == Value(flag=True)


async def test_a_code_is_confirmed_only_where_the_page_shows_it(prompt: Prompt) -> None:
    async def confirm(code: str) -> tuple[bool | None, int]:
        answer = await prompt.call(PasskeyConfirm(code=code))
        assert isinstance(answer, Value)
        return answer.flag, int(await prompt.read("confirmed"))

    assert await confirm(CODE) == (False, 0)  # the page has not said that it needs it
    prompt.watch.passkey_step(PasskeyStep(event=PasskeyEvent.CODE, code="WXYZ-9876"))
    assert await confirm(CODE) == (False, 0)
    assert await confirm("WXYZ-9876") == (False, 0)  # its screen shows another
    prompt.watch.passkey_step(PasskeyStep(event=PasskeyEvent.CODE, code=CODE))
    assert await confirm(CODE) == (True, 1)
    await prompt.do("document.querySelector('#passkey').lastChild.disabled = true")
    assert await confirm(CODE) == (False, 1)  # it confirms by itself


DISABLED: Final = "document.querySelector('#passkey').firstChild.disabled = true"
CHALLENGE: Final = "challenge: new Uint8Array(32), userVerification: 'required'"


@pytest.mark.parametrize(
    "options",
    [
        f"{{mediation: 'conditional', publicKey: {{rpId: 'whatsapp.com', {CHALLENGE}}}}}",
        "{get publicKey() { throw new TypeError('odd'); }}",
        "{password: true}",
        "null",
    ],
)
async def test_other_requests_go_on_as_they_would(prompt: Prompt, options: str) -> None:
    await prompt.do(
        "(async () => { const stop = new AbortController(); setTimeout(() => stop.abort(), 100);"
        f" const options = {options}; if (options) options.signal = stop.signal;"
        " return navigator.credentials.get(options)"
        ".then((got) => String(got), (error) => error.name); })()"
    )
    assert prompt.reports == []
    assert await prompt.call(PasskeyCancel()) == Value(flag=False)


@pytest.mark.parametrize(
    "options",
    [
        f"{{rpId: 'web.whatsapp.com', {CHALLENGE}}}",
        f"{{{CHALLENGE}}}",
        "{rpId: 'whatsapp.com', challenge: 'no bytes'}",
        "{rpId: 'whatsapp.com'}",
    ],
)
async def test_a_request_that_cannot_be_passed_on_fails_at_once(
    prompt: Prompt, options: str
) -> None:
    """Chromium's own would never end."""
    await prompt.do(
        f"prompt_.ask = () => navigator.credentials.get({{publicKey: {options}}})"
        ".catch((error) => { prompt_.ended.push(`${error.name}: ${error.message}`); }), 0"
    )
    assert await prompt.call(PasskeyStart()) == Failed(
        kind="no_passkey", error="the page asks for something else than a passkey of WhatsApp's"
    )
    assert await prompt.ended() == [REFUSED]
    assert prompt.reports == [{"event": "error", "error": "other_request"}]
    assert prompt.watch.passkey
    assert prompt.watch.passkey.stage is PasskeyStage.FAILED


async def test_no_frame_asks_through_the_hook(prompt: Prompt) -> None:
    found = await prompt.do(
        "(async () => { const frame = document.createElement('iframe'); frame.allow = 'publickey-credentials-get';"
        " frame.srcdoc = '<p>a frame</p>';"
        " const there = new Promise((done) => { frame.onload = done; }); document.body.append(frame); await there;"
        " const { contentWindow: its } = frame; const stop = new its.AbortController();"
        " setTimeout(() => stop.abort(), 100);"
        f" const options = {{ signal: stop.signal, publicKey: {{rpId: 'whatsapp.com', {CHALLENGE}}}}};"
        " const ended = await its.navigator.credentials.get(options).then(String, (error) => error.name);"
        " frame.remove(); return [typeof its.__waguardPasskey, ended]; })()"
    )
    assert found == ["undefined", "AbortError"]
    assert prompt.reports == []


async def test_what_is_wrapped_still_appears_native(prompt: Prompt) -> None:
    reported = await prompt.do(
        "[String(navigator.credentials.get), navigator.credentials.get.name,"
        " navigator.credentials.get.length, Object.hasOwn(navigator.credentials, 'get'),"
        " Object.keys(window).includes('__waguardPasskey')].join('|')"
    )
    assert "[native code]" in reported
    assert reported.endswith("|get|0|false|false")
