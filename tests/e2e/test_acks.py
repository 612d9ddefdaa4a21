"""Connected, but WhatsApp acknowledges nothing: the worker is replaced, and nothing is sent twice."""

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE, FRIEND = "6281180001", "6281180002"


@pytest.mark.long
async def test_sends_without_an_ack_lead_to_a_new_worker_and_to_one_message_each(
    world: World,
) -> None:
    daemon, standin = world.daemon, world.standin
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_SEND__TIMEOUT": "1",
        "WAGUARD_SEND__ACK_LIMIT": "4",
    }
    await daemon.start()
    first = await daemon.pair(standin, "s1", PHONE)
    standin.policy.never_answer = "recorded"
    for body in ("one", "two"):
        code, reported = await daemon.send("s1", FRIEND, body)
        assert (code, reported["outcome"]) == (202, "uncertain")

    async def transmitted() -> bool:
        """A page that waits for a core may do it after its second is over."""
        return len(standin.phone.messages(PHONE)) == 2

    await daemon.until(transmitted)
    standin.policy.never_answer = ""

    async def replaced() -> bool:
        reported = await daemon.status("s1")
        return bool(
            reported["worker_pid"] != first["worker_pid"] and reported["status"] == "connected"
        )

    await daemon.until(replaced)

    async def explained() -> bool:
        """It is written a moment after it was so."""
        _, reported = await daemon.call("GET", "/api/sessions/s1/incidents")
        sentences = (
            " ".join(reported["incidents"][-1]["sentences"]) if reported["incidents"] else ""
        )
        return (
            "for WhatsApp's ack" in sentences and "its worker was replaced, as planned" in sentences
        )

    await daemon.until(explained)

    async def acknowledged() -> bool:
        code, reported = await daemon.call("GET", "/health/detailed")
        return bool(code == 200 and reported["status"] == "healthy")

    await daemon.until(acknowledged)
    sent = [m["body"] for m in standin.phone.messages(PHONE) if m["direction"] == "out"]
    assert sorted(str(body) for body in sent) == ["one", "two"]
    assert (await daemon.status("s1"))["restarts"] == 0
