"""/api/restored: what a person releases after a restore."""

from tests.api.conftest import Api
from waguard.core.webhooks.delivery import Cause


async def test_groups_are_released_once(api: Api) -> None:
    api.control.waiting = 3
    for count in (3, 0):
        answer = await api.call("POST", "/api/restored/groups/release")
        assert answer.json() == {"success": True, "released": count}


async def test_webhooks_are_released(api: Api) -> None:
    answer = await api.call("POST", "/api/restored/webhooks/release")
    assert answer.json() == {"success": True, "replayed": 0}
    listed = await api.call("GET", f"/api/webhooks/dead?state={Cause.RESTORED}")
    assert listed.json()["dead"] == []
