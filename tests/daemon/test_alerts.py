"""A running daemon's alerts: a planted trouble begins and ends at a receiver of each form, over a restart."""

import asyncio
import signal
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
                await arrived(receiver, post, 1)
                await daemon.logs("event=alert_sent", 5)
                assert await daemon.stop() == 0
                await daemon.start()
                keys.unlink()
                await reload(daemon)
                await arrived(receiver, post, 2)
                assert "12:AB" not in daemon.log()
    begun, ended = (body for _, path, _, body in receiver.calls if path == "/webhook")
    assert [it["type"] for it in begun["begun"]] == ["keys_unreadable"]
    assert [it["type"] for it in ended["ended"]] == ["keys_unreadable"]
    assert (ended["begun"], begun["ended"]) == ([], [])
    assert ("GET", "/beat") in {call[:2] for call in receiver.calls}


async def arrived(receiver: AlertReceiver, post: Post, times: int) -> None:
    """Each form has so many."""

    def counts() -> list[int]:
        paths = [path for _, path, *_ in receiver.calls]
        return [*(paths.count(path) for path in PATHS), len(post.mails)]

    wanted = [times] * (len(PATHS) + 1)
    await wait_until(lambda: counts() == wanted, f"{times} at each form", deadline=WITHIN)
