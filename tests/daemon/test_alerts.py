"""A running daemon's alerts: a planted trouble begins and ends at a receiver of each form, over a restart."""

import asyncio
import json
import re
import signal
from email import message_from_string, policy
from pathlib import Path
from typing import Final

import pytest

from tests.daemon.test_running_daemon import ALONE
from tests.e2e.harness import Daemon, short_folder
from tests.messaging.alert_receiver import AlertReceiver, alert_receiver
from tests.messaging.test_alert_delivery import Post
from tests.waiting import wait_until
from waguard.core.alerts.alerts import FOLD

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

WITHIN: Final = 5 * FOLD
"""For what comes after a minute."""
PATHS: Final = {"/webhook", "/slack", "/", "/bot12:AB/sendMessage"}


def lines(receiver: AlertReceiver, post: Post) -> str:
    return "\n".join(
        (
            f"webhook {receiver.url}/webhook",
            f"slack {receiver.url}/slack",
            f"ntfy {receiver.url}/topic",
            f"telegram {receiver.url} 12:AB 7",
            f"mail smtp://127.0.0.1:{post.port} waguard@example.org ops@example.org",
        )
    )


async def reload(daemon: Daemon) -> None:
    assert daemon.process
    before = daemon.log().count("configuration read again")
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.logs("configuration read again", before + 1)


async def test_each_form_gets_begin_and_end_of_a_trouble_over_a_restart() -> None:
    post = Post()
    server = await asyncio.start_server(post.serve, "127.0.0.1", 0)
    post.port = server.sockets[0].getsockname()[1]
    async with alert_receiver() as receiver, server:
        with short_folder() as folder:
            file = folder / "alert-destinations"
            file.write_text(lines(receiver, post))
            file.chmod(0o600)
            named = {
                "WAGUARD_ALERTS__DESTINATION_FILE": str(file),
                "WAGUARD_ALERTS__HEARTBEAT_URL": f"{receiver.url}/beat",
            }
            async with Daemon(folder, {**ALONE, **named}) as daemon:
                await daemon.start()
                keys = folder / "state/keys.json"
                keys.write_bytes(b"no keys")
                await reload(daemon)
                await arrived(receiver, post, "Put back a copy of .*keys.json")
                await wait_until(lambda: stored(folder) == 5, "all is stored", deadline=WITHIN)
                assert await daemon.stop() == 0
                await daemon.start()
                keys.unlink()
                await reload(daemon)
                await arrived(receiver, post, r"Over: .*keys\.json")
                assert "12:AB" not in daemon.log()
    bodies = [body for _, path, _, body in receiver.calls if path == "/webhook"]
    for part in ("begun", "ended"):  # a busy host may have more to say
        said = [it["type"] for body in bodies for it in body[part]]
        assert said.count("keys_unreadable") == 1, said
    assert ("GET", "/beat") in {call[:2] for call in receiver.calls}


def stored(folder: Path) -> int:
    """Destinations that the next daemon knows to have it."""
    file = folder / "state/alerts.json"
    found = json.loads(file.read_bytes()) if file.exists() else {}
    return sum("keys_unreadable" in str(it["reported"].keys()) for it in found.values())


async def arrived(receiver: AlertReceiver, post: Post, words: str) -> None:
    """Each form has them."""

    def reported() -> set[str]:
        mails = [message_from_string(it, policy=policy.default).get_content() for it in post.mails]
        said = [("mail", it) for it in mails]
        said += [
            (path, body.get("text") or body["message"])
            for _, path, _, body in receiver.calls
            if body
        ]
        return {form for form, text in said if re.search(words, text)}

    await wait_until(
        lambda: reported() == {*PATHS, "mail"}, f"{words} at each form", deadline=WITHIN
    )
