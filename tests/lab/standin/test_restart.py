"""What a browser's end and a new one on the same profile keep, and what they lose."""

import shutil
from pathlib import Path

import pytest

from waguard.lab.standin import Policy, StandIn

from .chrome import CONNECTED, Launcher, eventually

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE = "6281180001"
CHAT = "628110001@c.us"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests below follow one profile through its life."""
    return tmp_path_factory.mktemp("life")


async def test_a_restart_needs_no_code(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy
) -> None:
    first = await launcher.launch(profile)
    await launcher.link(first)
    key = "require('WAWebStandinSession').session.keys.noise.privKey"
    assert await first.js(f"{key}.extractable") is False
    await first.close()
    again = await launcher.launch(profile)
    await again.open(standin.url)
    await again.connected()
    assert again.count("conn.authenticated") == 0, "never for a restored session"
    await again.close()


async def test_what_came_while_the_browser_was_down_is_in_its_chat(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy
) -> None:
    ids = [standin.phone.incoming(from_="62812", body=f"night {n}")["id"] for n in range(3)]
    chrome = await launcher.launch(profile)
    await chrome.open(standin.url)
    await chrome.connected()
    get = (
        f"WPP.chat.getMessages('62812@c.us', {{count: -1, direction: 'after', id: '{ids[0]}'}})"
        ".then((ms) => ms.map((m) => String(m.id)))"
    )
    assert await chrome.js(get) == ids[1:]
    # They came before wa-js was there: whoever waits for the event only never hears of them.
    assert chrome.count("chat.new_message") == 0
    await chrome.close()


async def test_what_the_phone_writes_is_in_its_chat_as_our_own(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy
) -> None:
    """While the browser is down without an event, as everything; live with one."""
    night = standin.phone.write("62817", body="night")["id"]
    chrome = await launcher.launch(profile)
    await chrome.open(standin.url)
    await chrome.connected()
    fields = "(m) => [m.body, m.id.fromMe, String(m.from), String(m.to)]"
    shown = ["night", True, f"{PHONE}@c.us", "62817@c.us"]
    assert await chrome.js(f"WPP.chat.getMessageById('{night}').then({fields})") == shown
    assert chrome.count("chat.new_message") == 0
    day = standin.phone.write("62817", body="day")["id"]
    await chrome.event("chat.new_message", id=day, fromMe=True)
    standin.phone.receipt(day, 3)
    await chrome.event("chat.msg_ack_change", ack=3, ids=[day])
    assert await chrome.js("WPP.chat.get('62817@c.us').unreadCount") == 0
    await chrome.close()


async def test_killed_before_it_acknowledged_gets_the_same_message_again(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy
) -> None:
    chrome = await launcher.launch(profile)
    await chrome.open(standin.url)
    await chrome.connected()
    # The page stores nothing any more, so it must not acknowledge either.
    await chrome.js("require('WAWebStandinMessages').insert = () => new Promise(() => {}), 0")
    message = standin.phone.incoming(from_="62812", body="twice")["id"]
    await chrome.kill()
    assert standin.phone.state()["accounts"][PHONE][0]["queued"] == 1
    chrome = await launcher.launch(profile)
    await chrome.open(standin.url)
    await chrome.connected()
    body = f"WPP.chat.getMessageById('{message}').then((m) => m.body)"
    assert await chrome.js(body) == "twice"
    await eventually(lambda: standin.phone.state()["accounts"][PHONE][0]["queued"] == 0)
    await chrome.close()


@pytest.mark.parametrize("case", ["recorded", "lost"])
async def test_an_unanswered_send_goes_out_again_after_a_kill_under_the_same_id(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy, case: str
) -> None:
    policy.update({"never_answer": case})
    chosen = f"true_{CHAT}_3EB0{case.upper()}"
    chrome = await launcher.launch(profile)
    await chrome.open(standin.url)
    await chrome.connected()
    await chrome.js(
        f"WPP.chat.sendTextMessage('{CHAT}', '{case}', "
        f"{{waitForAck: true, linkPreview: false, messageId: '{chosen}'}}), 0"
    )

    def mine() -> list[dict[str, object]]:
        return [m for m in standin.phone.messages() if m["id"] == chosen]

    await eventually(lambda: mine() or chosen in standin.whatsapp.lost)
    await chrome.kill()
    policy.never_answer = ""
    chrome = await launcher.launch(profile)
    await chrome.open(standin.url)
    await eventually(lambda: mine() and mine()[0]["ack"] == 1)
    assert len(mine()) == 1
    assert mine()[0]["times_transmitted"] == (2 if case == "recorded" else 1)
    await chrome.until_js(f"WPP.chat.getMessageById('{chosen}').then((m) => m.ack === 1)")
    await chrome.close()


@pytest.mark.parametrize("lost", ["IndexedDB", "Local Storage"])
async def test_half_of_the_credentials_is_none(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy, lost: str
) -> None:
    half = profile.with_name(f"without-{lost.split(maxsplit=1)[0]}")
    shutil.copytree(profile, half)
    shutil.rmtree(half / "Default" / lost)
    chrome = await launcher.launch(half)
    await chrome.open(standin.url)
    assert len((await chrome.code()).split(",")) == 4
    assert await chrome.js("WPP.conn.isAuthenticated()") is False
    await chrome.close()


async def test_the_two_storage_folders_alone_restore_a_session_and_the_newest_browser_wins(
    standin: StandIn, launcher: Launcher, profile: Path, policy: Policy
) -> None:
    copy = profile.with_name("copy")
    for folder in ("IndexedDB", "Local Storage"):
        shutil.copytree(profile / "Default" / folder, copy / "Default" / folder)
    first = await launcher.launch(profile)
    await first.open(standin.url)
    await first.connected()
    second = await launcher.launch(copy)
    await second.open(standin.url)
    await second.connected()
    await first.until_js("WPP.whatsapp.Socket.state === 'CONFLICT'")
    await first.js("WPP.whatsapp.Socket.takeover()")
    await first.connected()
    await second.until_js("WPP.whatsapp.Socket.state === 'CONFLICT'")
    assert await second.js(CONNECTED) is False
