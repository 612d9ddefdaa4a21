"""From an empty profile to connected, and what a page looks like that never gets there."""

import pytest

from waguard.lab.standin import Policy, StandIn
from waguard.lab.standin.refusal import Refusal

from .chrome import BUNDLE_SOURCE, CONNECTED, USER_AGENT, Chrome, Launcher, PageError, eventually

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE = "6281180002"


@pytest.fixture(scope="module")
def browsers() -> list[Chrome]:
    return []


async def fresh(launcher: Launcher, browsers: list[Chrome], phone: str = PHONE) -> Chrome:
    """One browser for all tests here, unlinked again before each."""
    if not browsers:
        browsers.append(await launcher.launch())
    chrome = browsers[0]
    await chrome.send("Storage.clearDataForOrigin", origin=launcher.standin.url, storageTypes="all")
    for device in launcher.standin.whatsapp.devices.get(phone, []):
        device.is_linked = False
    chrome.events.clear()
    return chrome


async def test_codes_rotate_and_then_the_page_goes_idle_until_it_is_refreshed(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    policy.update({"qr_first_lifetime": 5.0, "qr_lifetime": 0.3, "qr_count": 3})
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    first = await chrome.code()

    await chrome.event("conn.qrcode_idle")

    # three codes, then none; which of the last two is told first is chance
    await chrome.until(lambda: chrome.count("conn.auth_code_change") == 4)
    assert await chrome.js("WPP.whatsapp.Socket.state") == "UNPAIRED_IDLE"
    assert await chrome.js("WPP.conn.getAuthCode()") is None
    with pytest.raises(Refusal, match="expired"):
        standin.phone.scan(first)
    policy.update({"qr_first_lifetime": 60})
    refreshed = await chrome.js("WPP.conn.refreshQR().then((c) => c.fullCode)")
    assert refreshed != first
    standin.phone.scan(refreshed, PHONE)
    await chrome.connected()


async def test_only_the_live_code_can_be_scanned(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    code = await chrome.code()
    assert len(code.split(",")) == 4
    with pytest.raises(Refusal, match="not a code"):
        standin.phone.scan("hello")
    with pytest.raises(Refusal, match="unknown"):
        standin.phone.scan("2@nothing,a,b,c")
    newer = await chrome.js("WPP.conn.refreshQR().then((c) => c.fullCode)")
    with pytest.raises(Refusal, match="expired"):
        standin.phone.scan(code, PHONE)
    assert await chrome.js("WPP.conn.isAuthenticated()") is False
    standin.phone.scan(newer, PHONE)
    await chrome.connected()


async def test_linking_goes_through_syncing_to_connected(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    policy.update({"sync": 0.5})
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    assert await chrome.js("WPP.isReady && WPP.conn.isMainReady()"), "true on the QR screen too"
    assert chrome.count("conn.require_auth") == 1

    standin.phone.scan(await chrome.code(), PHONE)

    await chrome.until_js("WPP.conn.getStreamData().mode === 'SYNCING'")
    assert await chrome.js(CONNECTED) is False
    await chrome.event("conn.authenticated")
    await chrome.connected()
    modes = [mode for name, mode in chrome.events if name == "conn.stream_mode_changed"]
    assert modes == ["QR", "SYNCING", "MAIN"]
    assert chrome.count("conn.main_ready") == 1
    assert await chrome.js("String(WPP.conn.getMyUserId())") == f"{PHONE}@c.us"
    assert await chrome.js("WPP.conn.getAuthCode()") is None


async def test_a_pairing_code_links_the_page_that_waits(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    with pytest.raises(Refusal, match="no page waits"):
        standin.phone.pair(PHONE, "ABCD1234")
    code = await chrome.js(f"WPP.conn.genLinkDeviceCodeForPhoneNumber('{PHONE}')")
    assert len(code) == 8
    with pytest.raises(Refusal, match="wrong"):
        standin.phone.pair(PHONE, "00000000")
    standin.phone.pair(PHONE, code)
    await chrome.connected()


@pytest.mark.parametrize("way", ["scan", "code"])
async def test_a_passkey_is_asked_for_after_a_scan_and_after_a_code(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy, way: str
) -> None:
    policy.update({"passkey": True, "qr_first_lifetime": 0.5})
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    if way == "scan":
        standin.phone.scan(await chrome.code(), PHONE)
    else:
        code = await chrome.js(f"WPP.conn.genLinkDeviceCodeForPhoneNumber('{PHONE}')")
        standin.phone.pair(PHONE, code)
    await chrome.until_js("WPP.whatsapp.Socket.state === 'PAIRING'")
    assert await chrome.js("WPP.conn.isAuthenticated()") is False
    assert await chrome.js("WPP.conn.getAuthCode()") is None


async def test_who_does_not_show_the_passkey_is_not_linked(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    policy.passkey = True
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    standin.phone.scan(await chrome.code(), PHONE)
    await chrome.until_js("WPP.whatsapp.Socket.state === 'PAIRING'")
    await chrome.open(standin.url)
    assert await chrome.code()
    assert PHONE not in standin.whatsapp.devices or not any(
        device.is_linked for device in standin.whatsapp.devices[PHONE]
    )


async def test_a_pairing_code_wakes_an_idle_page(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    policy.update({"qr_first_lifetime": 0.1, "qr_count": 1})
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url)
    await chrome.event("conn.qrcode_idle")
    policy.qr_first_lifetime = 60
    code = await chrome.js(f"WPP.conn.genLinkDeviceCodeForPhoneNumber('{PHONE}')")
    standin.phone.pair(PHONE, code)
    await chrome.connected()


async def test_what_was_said_before_the_linking_comes_as_history_and_raises_nothing(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    chrome = await fresh(launcher, browsers)
    await launcher.link(chrome, "6281180003")
    message = standin.phone.incoming("6281180003", from_="62812", body="before")["id"]
    await chrome.event("chat.new_message", id=message)
    chrome = await fresh(launcher, browsers, "6281180003")
    await launcher.link(chrome, "6281180003")
    assert await chrome.js(f"WPP.chat.getMessageById('{message}').then((m) => m.body)") == "before"
    assert chrome.count("chat.new_message") == 0


async def test_history_may_come_in_chunks_after_the_page_is_connected(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    phone = "6281180004"
    chrome = await fresh(launcher, browsers)
    await launcher.link(chrome, phone)
    for number in range(5):
        standin.phone.incoming(
            phone, from_="62812", body=f"before {number}", timestamp=100 + number
        )
    policy.history_chunk = 2
    chrome = await fresh(launcher, browsers, phone)
    await launcher.link(chrome, phone)
    texts = "WPP.chat.getMessages('62812@c.us', {count: -1}).then((all) => all.map((m) => m.body).join())"
    wanted = ",".join(f"before {number}" for number in range(5))
    await chrome.until_js(f"{texts}.then((found) => found === '{wanted}').catch(() => false)")
    assert chrome.count("chat.new_message") == 0
    assert await chrome.js("WPP.whatsapp.ChatStore.get('62812@c.us').t") == 104


@pytest.mark.parametrize("part", ["core", "rest"])
async def test_on_a_cold_load_wa_js_is_injected_but_never_ready_until_it_is_evaluated_again(
    standin: StandIn,
    launcher: Launcher,
    browsers: list[Chrome],
    policy: Policy,
    part: str,
) -> None:
    # wa-js has to come before them, on a busy machine too
    policy.update({"slow_modules": 5.0, "slow_part": part})
    chrome = await fresh(launcher, browsers)
    await chrome.open(standin.url, inject=False)
    core = "['Socket', 'Stream', 'Conn'].every((n) => `WAWeb${n}Model` in require('__debug').modulesMap)"
    assert await chrome.js(core) is (part == "rest")
    await chrome.js(BUNDLE_SOURCE)
    await chrome.until_js("WPP.isInjected")
    await chrome.until_js("'WAWebUserPrefsMeUser' in require('__debug').modulesMap")
    await chrome.until_js("window.probe ??= 0, window.probe++ > 10")  # time for it to get ready
    assert await chrome.js("WPP.isReady") is False
    await chrome.inject()
    standin.phone.scan(await chrome.code(), PHONE)
    await chrome.connected()


async def test_content_security_policy_is_whatsapps_kind(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    chrome = await fresh(launcher, browsers)
    script = "document.head.append(Object.assign(document.createElement('script'), {text: 'window.x = 1'}))"
    await chrome.open(standin.url)
    await chrome.js(script)
    assert await chrome.js("window.x ?? null") is None
    policy.csp = False
    await chrome.open(standin.url, inject=False)
    await chrome.js(script)
    assert await chrome.js("window.x") == 1


async def test_a_headless_user_agent_gets_the_unsupported_page(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    chrome = await fresh(launcher, browsers)
    await chrome.send(
        "Network.setUserAgentOverride", userAgent=USER_AGENT.replace("Chrome/", "HeadlessChrome/")
    )
    try:
        await chrome.open(standin.url, inject=False)
        assert await chrome.js("document.getElementById('unsupported') !== null")
        with pytest.raises(PageError):
            await chrome.js("require('__debug')")
    finally:
        await chrome.send("Network.setUserAgentOverride", userAgent=USER_AGENT)


async def test_a_page_that_fails_breaks_or_hangs(
    standin: StandIn, launcher: Launcher, browsers: list[Chrome], policy: Policy
) -> None:
    chrome = await fresh(launcher, browsers)
    policy.page = "error"
    await chrome.open(standin.url, inject=False)
    assert await chrome.js("performance.getEntriesByType('navigation')[0].responseStatus") == 500
    policy.page = "broken"
    await chrome.open(standin.url, inject=False)
    await chrome.js(BUNDLE_SOURCE)
    assert await chrome.js("WPP.loader.loaderType") == "unknown"
    policy.page = "hang"
    loads = chrome.loads
    with pytest.raises(TimeoutError):
        await chrome.send("Page.navigate", within=0.5, url=standin.url)
    assert chrome.loads == loads
    policy.page = "ok"
    await chrome.open(standin.url)
    assert await eventually(lambda: standin.phone.state()["codes"])
