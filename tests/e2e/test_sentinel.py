"""A session that nobody writes with shows that it works, and the application learns nothing of it."""

from typing import Any

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(600)]

PHONE, FRIEND = "6281180001", "6281180002"


@pytest.mark.long
async def test_a_quiet_session_proves_itself_and_the_application_learns_nothing(
    world: World,
) -> None:
    daemon, standin = world.daemon, world.standin
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_SENTINEL__SESSIONS": '["*"]',
        "WAGUARD_SENTINEL__INTERVAL": "600",
    }
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)

    async def result() -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await daemon.status("s1")).get("sentinel")
        return found

    found = await daemon.until(result, deadline=300)
    assert found["error"] is None
    [message] = [it for it in standin.phone.messages(PHONE) if it["direction"] == "out"]
    assert "whether this number works" in message["body"]
    assert (await daemon.call("GET", "/api/messages"))[1]["messages"] == []
    # whoever comes after it reads the chats again
    await daemon.call("POST", "/api/sessions/s1/reconnect")
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body="hello")
    await world.receiver.wait_for("message_received")
    await daemon.until_delivered()
    delivered = [it for it in world.receiver.received if it["event"].startswith("message")]
    assert [it["data"]["message"]["body"] for it in delivered] == ["hello"]
