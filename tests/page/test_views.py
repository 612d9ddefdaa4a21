"""The views of queues, of versions and of a new session in a real Chromium, by keyboard: every button."""

import time
from typing import Any, Final

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from tests.api.fake_versions import ADDED, PACKED
from tests.api.test_webhooks import LID, OTHER, letters, of_nobody
from tests.page.browser import Page
from tests.waiting import wait_until
from waguard.core.webhooks.delivery import Cause
from waguard.errors import ConflictError
from waguard.messaging.webhooks.endpoint_queues import Held
from waguard.ports.outcomes import Uncertain

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

DEAD: Final = "/api/webhooks/dead"


async def send(api: Api, **more: Any) -> Any:
    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "secret words"}
    return (await api.call("POST", "/api/messages/send", body | more)).json()


async def dead(api: Api) -> list[int]:
    return [it["id"] for it in (await api.call("GET", DEAD)).json()["dead"]]


async def test_what_is_uncertain_is_said_and_never_sent_again(api: Api, shown: Page) -> None:
    api.sessions.outcomes.append(Uncertain("no answer"))
    await send(api)
    queued = await send(api, send_at=time.time() + 3600)
    await shown.show("#/queues")
    await shown.says("it may have been sent")
    await shown.enter("Cancel", within="#queued")
    await shown.says("No message waits.")
    assert (await api.call("GET", f"/api/messages/{queued['id']}")).json()["status"] == "cancelled"
    assert not await shown.has("Replay")
    assert "secret words" not in await shown.text()


async def test_dead_letters_are_shown_replayed_and_discarded(api: Api, shown: Page) -> None:
    first, second = await letters(api, 2, "the receiver answered 404 <b>")
    await shown.show("#/queues")
    await shown.says("the receiver answered 404 <b>")
    await shown.enter("Show")
    await shown.says('"n": 1')  # the newest is first
    await shown.enter("Replay")
    await shown.until(f"!document.body.innerText.includes('#{second}')", "it is delivered again")
    await shown.enter("Discard")
    await shown.says("The receiver never gets this")
    await shown.confirm(str(first))
    await shown.until(f"!document.body.innerText.includes('#{first}')", "it is gone")
    assert await dead(api) == []


async def test_dead_letters_are_filtered_paged_and_replayed_at_once(api: Api, shown: Page) -> None:
    numbers = await letters(api, 101)
    await shown.show("#/queues")
    await shown.says(f"#{numbers[-1]}")
    await shown.enter("Older ones")
    await shown.says(f"#{numbers[0]} ")
    await shown.choose("#dead-state", "uncertain")
    await shown.until(f"!document.body.innerText.includes('#{numbers[-1]}')", "there is none")
    await shown.choose("#dead-state", "")
    await shown.says(f"#{numbers[-1]}")
    await shown.enter("Replay all")
    await shown.until(f"!document.body.innerText.includes('#{numbers[-1]}')", "none is left")
    assert await dead(api) == []


@pytest.mark.parametrize("cause", [Cause.RESTORED, Cause.STORED, Cause.UNCERTAIN])
async def test_what_may_arrive_twice_is_replayed_where_that_is_confirmed(
    api: Api, shown: Page, cause: Cause
) -> None:
    [number] = await letters(api, 1, cause=cause)
    await shown.show("#/queues")
    await shown.says(f"#{number}")
    await shown.choose("#dead-state", cause)
    await shown.enter("Replay")
    await shown.until("$('dialog')?.open", "it asks")
    assert await dead(api) == [number]
    await shown.confirm(str(number))
    await shown.until(f"!document.body.innerText.includes('#{number}')", "it is delivered again")
    assert await dead(api) == []


async def test_what_was_restored_is_released_at_once(api: Api, shown: Page) -> None:
    await letters(api, 2, cause=Cause.RESTORED)
    await shown.show("#/queues")
    await shown.says("may have been delivered before the restore")
    await shown.enter("Release restored")
    await shown.says("a replay may deliver it twice")
    await shown.confirm("restored")
    await shown.until("!document.body.innerText.includes('before the restore')", "none is left")
    assert await dead(api) == []


async def test_what_is_held_becomes_dead_letters(
    api: Api, shown: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [Held(session_id=SESSION, partition="1@c.us", since=1.0, why="its session is down")]
    monkeypatch.setattr(api.webhooks.queues, "held", lambda: held)
    await shown.show("#/queues")
    await shown.says("its session is down")
    await shown.enter("Discard", within="#held")
    await shown.says("Every received message of this session that waits becomes a dead letter")
    held.clear()
    await shown.confirm(SESSION)
    await shown.says("No chat waits for its session.")


async def test_chats_without_a_number_are_replayed_or_discarded(
    api: Api, shown: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.configure("webhook", url="http://127.0.0.1:9/hook")
    for chat in (LID, OTHER):
        await of_nobody(api, chat, "S")
    wall = api.database._database.wall
    monkeypatch.setattr(api.database._database, "wall", lambda: wall() + 901.0)
    await shown.show("#/queues")
    await shown.says(LID)
    await shown.enter("Deliver under the LID")
    lines = "document.querySelectorAll('#unidentified li').length"
    await shown.until(f"{lines} === 1", "one is left")
    await shown.enter("Discard", within="#unidentified")
    await shown.says("deleted for good")
    [left] = (await api.call("GET", "/api/webhooks/unidentified")).json()["unidentified"]
    await shown.confirm(left["chat_id"])
    await shown.says("No chat waits for a number.")


async def test_a_key_for_some_sessions_replays_not_all(api: Api, shown: Page) -> None:
    await letters(api, 1, cause=Cause.REMOVED)
    body = {"name": "some", "right": "operate", "sessions": [SESSION]}
    made = await api.call("POST", "/api/keys", body)
    await shown.show("#/queues", key=made.json()["key"])
    await shown.says("the receiver answered 404")
    assert await shown.has("Replay")
    assert not await shown.has("Replay all")


# ---- versions ----


async def test_a_version_is_pinned_tried_and_unpinned(api: Api, shown: Page) -> None:
    await shown.show("#/versions")
    await shown.says("Versions from 1023 on are held back.")
    await shown.enter("Pin", within="#whatsapp li:nth-child(2)")
    await shown.says("Every session gets version 1022")
    await shown.confirm("1022")
    await shown.says("All sessions get 1022, which is pinned.")
    await shown.enter("Unpin")
    await shown.until("!document.body.innerText.includes('is pinned')", "it is over")
    await shown.choose("#try-session", SESSION)
    await shown.enter("Try", within="#whatsapp li:nth-child(1)")
    await shown.says("A session is loaded with it.")
    await shown.enter("Try what WhatsApp serves")
    await shown.until("document.querySelectorAll('.outcome:not(:empty)').length >= 2", "both")
    by = "the application"
    tried = [("try", 1023, SESSION, by), ("try", None, SESSION, by)]
    done = [("pin", 1022, by), ("unpin", by), *tried]
    await wait_until(lambda: len(api.versions.done) == len(done), "both were asked for")
    assert api.versions.done == done


async def test_a_bundle_is_tried_and_used(api: Api, shown: Page) -> None:
    await shown.show("#/versions")
    await shown.says(ADDED[:12])
    wajs = "#wajs"
    await shown.enter("Try", within=wajs)
    await shown.says("A session is loaded with it.")
    await shown.enter("Use", within=wajs)
    await shown.says("Two canaries get this wa-js first")
    await shown.confirm(ADDED[:12])
    await shown.says("Canaries get it first.")
    by = "the application"
    assert api.versions.done == [("try bundle", ADDED, None, by), ("use bundle", ADDED, by)]
    assert PACKED[:12] in await shown.text()


async def test_a_version_that_cannot_be_had_says_why(api: Api, shown: Page) -> None:
    shown.expected = ["status of 409"]
    api.versions.fail = ConflictError("versions.mode is off", remedy="set `versions.mode`")
    await shown.show("#/versions")
    await shown.enter("Try what WhatsApp serves")
    await shown.says("Versions.mode is off. set versions.mode")


async def test_who_only_operates_changes_no_version(api: Api, shown: Page) -> None:
    made = await api.call("POST", "/api/keys", {"name": "operator", "right": "operate"})
    await shown.show("#/versions", key=made.json()["key"])
    await shown.says("Versions from 1023 on are held back.")
    for words in ("Pin", "Try", "Use", "Try what WhatsApp serves"):
        assert not await shown.has(words), words


# ---- a new session ----


async def test_a_session_is_created_and_its_view_opens(api: Api, shown: Page) -> None:
    await shown.show("#/new")
    await shown.until("document.activeElement.id === 'new-name'", "one can type at once")
    await shown.enter("Create and pair")
    await shown.says("The name or the workspace is missing or invalid.")
    await shown.fill("#new-name", "shop_2")
    await shown.fill("#new-space", "7")
    await shown.enter("Create and pair")
    await shown.until("location.hash === '#/session/shop_2'", "its view")
    assert api.sessions.known["shop_2"].workspace_id == 7


async def test_a_name_that_is_taken_says_so(api: Api, shown: Page) -> None:
    shown.expected = ["status of 409"]
    await shown.show("#/new")
    await shown.fill("#new-name", SESSION)
    await shown.fill("#new-space", "7")
    await shown.enter("Create and pair")
    await shown.says("use another id")


async def test_who_only_reads_creates_nothing(api: Api, shown: Page) -> None:
    made = await api.call("POST", "/api/keys", {"name": "eyes", "right": "read"})
    await shown.show("#/new", key=made.json()["key"])
    await shown.says('A key with the right "read" creates no session.')
