"""Whether the API does what its own description says, for requests that schemathesis derives from that.

What it may not ask for is in schemathesis.toml, with the reasons.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION, a_view
from tests.api.test_webhooks import letters
from tests.store.memory import Account
from waguard.api.timings import Timings
from waguard.core.webhooks.delivery import Cause
from waguard.ports.sessions import SessionView

pytestmark = pytest.mark.timeout(900)  # 15 s of CPU time
CONFIGURATION: Final = Path(__file__).with_name("schemathesis.toml")
ENDLESS: Final = (
    "/api/events"  # each of its cases ends by a time-out, and a busy machine may need that long
)
# which take half of the time; each field of theirs has tests of its own
WITHOUT_SENDS: Final = f"--exclude-path-regex=^({ENDLESS}|/api/messages/(send|bulk))"
DRAWN: Final = 15  # of each operation
WITH_KEY: Final = ("-H", f"X-Api-Key: {KEY}")
TO: Final = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "a"}


class Everybody(dict[str, SessionView]):
    """Each session is known, also after it was deleted: whatever is drawn reaches the handler."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> SessionView:
        return a_view(session_id=key)


class Rows(dict[str, Account]):
    """The store has one of each of them."""

    def get(self, key: str, default: object = None) -> Account:
        return self.setdefault(key, Account(key, 1))


@pytest.fixture
def timings() -> Timings:
    return Timings(refusal=0.0)


async def examined(api: Api, folder: Path, *options: str) -> tuple[int, str]:
    """The exit code of schemathesis, and what it says."""
    api.sessions.known = Everybody(api.sessions.known)
    api.store.accounts = Rows(api.store.accounts)
    # before the sends, whose webhooks would be dead letters, too; uncertain ones, which "replay all" leaves
    first, second, third = await letters(api, 3, cause=Cause.UNCERTAIN)
    sent = (
        await api.call("POST", "/api/messages/send", TO | {"send_at": time.time() + 3_600.0})
    ).json()
    bulk = {"session_id": SESSION, "message": "a", "recipients": ["6281234567890"]}
    accepted = (await api.call("POST", "/api/messages/bulk-send", bulk)).json()
    receiver = {"url": "https://app.example/hook"}
    assert (await api.call("PUT", f"/api/sessions/{SESSION}/webhook", receiver)).status == 200
    there = {
        "MESSAGE": str(sent["id"]),
        "BULK": accepted["bulk_id"],
        "SESSION": SESSION,
        "LETTER": str(first),
        "DISCARDED": str(second),
        "REPLAYED": str(third),
        "FILE": api.media.keep(b"a picture", "image/png"),
    }
    address = f"{api.base}/api/openapi.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", address, *options),
        cwd=folder,
        env=os.environ | there,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode()


async def test_the_corners_of_each_schema(api: Api, tmp_path: Path) -> None:
    """What each schema allows; what it does not allow is asked for by the next one, and by tests/api of each field."""
    options = ("--phases=examples,coverage", "--mode=positive", WITHOUT_SENDS)
    code, said = await examined(api, tmp_path, *WITH_KEY, *options)
    assert code == 0, said


@pytest.mark.long
async def test_the_corners_of_each_schema_and_what_is_beyond_them(api: Api, tmp_path: Path) -> None:
    options = ("--phases=examples,coverage", f"--exclude-path={ENDLESS}")
    code, said = await examined(api, tmp_path, *WITH_KEY, *options)
    assert code == 0, said


@pytest.mark.long  # the other test asks for each route without a key, too, and test_auth for what is done then
async def test_without_a_key(api: Api, tmp_path: Path) -> None:
    options = ("--phases=examples,coverage", "--mode=positive", "--warnings=off", WITHOUT_SENDS)
    code, said = await examined(api, tmp_path, *options)
    assert code == 0, said
    assert not api.sessions.done


@pytest.mark.long
@pytest.mark.parametrize("key", [WITH_KEY, ("--warnings=off",)], ids=["with a key", "without"])
async def test_what_is_drawn(api: Api, tmp_path: Path, key: tuple[str, ...]) -> None:
    code, said = await examined(api, tmp_path, *key, "--phases=fuzzing", f"--max-examples={DRAWN}")
    print(said)
    assert code == 0, said
