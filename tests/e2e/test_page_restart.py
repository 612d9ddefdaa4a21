"""The status page over a restart of the daemon."""

import time

import pytest

from tests.e2e.conftest import World
from tests.page.browser import Page
from tests.worker.browser_fixtures import (  # noqa: F401 - fixtures
    chromium,
    page,
    spec,
    start,
    tmpdir_short,
)
from waguard.worker.browser.devtools import PageSession

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long]


async def test_it_is_live_again_after_the_daemon(
    world: World,
    page: PageSession,  # noqa: F811 - the fixture
) -> None:
    daemon = world.daemon
    await daemon.start()
    shown = Page(page, daemon.base)
    await shown.open(key=daemon.key)
    await shown.says("No sessions yet")
    await daemon.call("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
    await shown.until("$('[data-session=s1]')", "the new session is shown")

    daemon.settings = {**daemon.settings, "WAGUARD_API__PORT": daemon.base.rpartition(":")[2]}
    await daemon.stop()
    await shown.until("document.body.dataset.phase === 'stale'", "the daemon is away")
    assert await shown.value("$$('#rows tr').length") == 1, "what was shown stays"
    await daemon.start()
    ready = time.monotonic()
    await shown.until("document.body.dataset.phase === 'live'", "it is live again")
    print(f"live {time.monotonic() - ready:.2f} s after the daemon was ready")
    await daemon.call("DELETE", "/api/sessions/s1")
    await shown.until("!$('[data-session=s1]')", "its deletion is shown")
