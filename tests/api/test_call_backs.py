"""What the application is told while it handles a message is known to the webhooks."""

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from waguard.api.timings import Limits
from waguard.core.replace import replace
from waguard.core.webhooks.call_backs import Asked
from waguard.errors import DatabaseUnavailableError

STATUS = f"/api/sessions/{SESSION}/status"


def asked(good: int, bad: int) -> Asked:
    return Asked(good=good, bad=bad)


@pytest.mark.parametrize("path", ["/api/sessions/{}/status", "/sessions/{}/status"])
async def test_status_is_good_where_it_says_connected(api: Api, path: str) -> None:
    api.configure("api", keyless_loopback=True)
    with api.webhooks.call_backs.watching(SESSION) as mine:
        with api.webhooks.call_backs.watching("other") as others:
            await api.call("GET", path.format(SESSION))
            api.sessions.known[SESSION] = a_view(status="disconnected")
            await api.call("GET", path.format(SESSION))
            await api.call("GET", path.format("other"))
        assert mine.status == asked(1, 1)
        assert others.status == asked(0, 1)  # a session that is not there is not connected


async def test_status_that_fails_is_bad(api: Api) -> None:
    with api.webhooks.call_backs.watching(SESSION) as mine:
        api.sessions.fail = DatabaseUnavailableError("away")
        assert (await api.call("GET", STATUS)).status == 503
        assert mine.status == asked(0, 1)


@pytest.mark.parametrize("limits", [Limits(watchers=0)])
async def test_status_that_is_too_much_is_bad(api: Api) -> None:
    """The application drops its message for it."""
    with api.webhooks.call_backs.watching(SESSION) as mine:
        assert (await api.call("GET", f"{STATUS}?api_key={KEY}", key=None)).status == 503
        assert mine.status == asked(0, 1)


async def test_what_others_are_answered_is_not_the_applications(api: Api) -> None:
    """A stranger's refusal would make the application's message uncertain."""
    answer = await api.call("POST", "/api/keys", {"name": "shop", "right": "read"})
    key, key_id = answer.json()["key"], answer.json()["about"]["id"]
    issued = {"X-Api-Key": key}
    elsewhere = {"Host": "evil.example"}
    with api.webhooks.call_backs.watching(SESSION) as mine:
        for path, headers, status in (
            (STATUS, {}, 401),
            (STATUS, {"X-Api-Key": "x" * 24}, 401),
            (STATUS, issued, 200),
            ("/health", issued, 200),
            ("/health", elsewhere, 403),
        ):
            answer = await api.call("GET", path, key=None, headers=headers)
            assert answer.status == status
        nested = {"a": {"api_key": KEY}}
        assert (await api.call("GET", STATUS, nested, key=None)).status == 401
        api.sessions.known[SESSION] = a_view(status="disconnected")
        assert (await api.call("GET", f"{STATUS}?api_key={key}", key=None)).status == 200
        await api.call("DELETE", f"/api/keys/{key_id}")
        api.configure("api", keyless_loopback=True)
        for path in ("/health", f"/sessions/{SESSION}/status"):
            assert (await api.call("GET", path, key=None, headers=issued)).status == 200
        assert (mine.status, mine.health) == (asked(0, 0), asked(0, 0))
        assert (await api.call("GET", f"/sessions/{SESSION}/status", key=None)).status == 200
        assert (await api.call("GET", STATUS, {"api_key": KEY}, key=None)).status == 200
        assert mine.status == asked(0, 2), "the application's own"


async def test_health_is_good_while_anything_is_connected(api: Api) -> None:
    with api.webhooks.call_backs.watching(SESSION) as mine:
        await api.call("GET", "/health", key=None)
        assert mine.health == asked(1, 0)
        api.sessions.status = replace(HEALTHY, connected=0)
        await api.call("GET", "/health", key=None)
        assert mine.health == asked(1, 1)
        await api.call("GET", "/health/live", key=None)
        await api.call("GET", f"/api/sessions/{SESSION}/qr")
        assert (mine.health, mine.status) == (asked(1, 1), asked(0, 0))
