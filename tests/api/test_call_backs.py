"""What the application is told while it handles a message is known to the webhooks."""

from dataclasses import replace

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from waguard.core.webhooks.call_backs import Asked
from waguard.errors import DatabaseUnavailableError


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


async def test_status_that_fails_or_lacks_its_key_is_bad(api: Api) -> None:
    with api.webhooks.call_backs.watching(SESSION) as mine:
        api.sessions.fail = DatabaseUnavailableError("away")
        assert (await api.call("GET", f"/api/sessions/{SESSION}/status")).status == 503
        api.sessions.fail = None
        assert (await api.call("GET", f"/api/sessions/{SESSION}/status", key=None)).status == 401
        assert mine.status == asked(0, 2)


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
