"""GET /api/history, and that of one session."""

import time
from typing import Any

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from waguard.core.history import FLEET

DAY = 86_400


def since(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def asked(api: Api, query: str = "", path: str = "/api/history") -> dict[str, Any]:
    answer = await api.call("GET", path + query)
    assert answer.status == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


async def test_without_names_it_has_every_series(api: Api) -> None:
    found = await asked(api)
    assert tuple(found["series"]) == FLEET
    assert (found["step"], set(found["series"]["connected"])) == (60, {None})


async def test_a_minute_that_was_written_is_known_and_the_others_are_not(api: Api) -> None:
    api.deps.history.write({"connected": 188.0, "daemon_cpu": 0.1}, {})
    found = await asked(api, "?series=connected,daemon_cpu,restarts")
    connected = found["series"]["connected"]
    assert connected[-2:] in ([None, 188.0], [188.0, None]), "a minute may have ended meanwhile"
    assert [it for it in found["series"]["daemon_cpu"] if it is not None] == [0.1]
    assert {len(it) for it in found["series"].values()} == {DAY // 60}
    assert set(found["series"]["restarts"]) == {None}
    assert abs(found["at"] + DAY - time.time()) < 600


async def test_what_is_older_than_a_day_comes_in_means(api: Api) -> None:
    now = time.time()
    found = await asked(api, f"?series=connected&since={since(now - 60 * DAY)}")
    assert (found["step"], len(found["series"]["connected"])) == (600, 30 * DAY // 600)
    found = await asked(api, f"?series=connected&since={since(now - 3_600)}")
    assert found["step"] == 60
    assert 59 <= len(found["series"]["connected"]) <= 70
    found = await asked(api, f"?series=connected&since={since(now + 9_999)}")
    assert len(found["series"]["connected"]) == 1


async def test_a_session_has_its_memory_and_cpu(api: Api) -> None:
    path = f"/api/sessions/{SESSION}/history"
    found = await asked(api, path=path)
    assert set(found["series"]["memory"]) == {None}, "it was not measured yet"
    api.deps.history.write({}, {SESSION: (172e6, 1.5), "another": (1.0, 1.0)})
    found = await asked(api, path=path)
    known = {name: [it for it in all_ if it is not None] for name, all_ in found["series"].items()}
    assert known == {"memory": [172e6], "cpu": [1.5]}
    assert (found["step"], len(found["series"]["cpu"])) == (300, DAY // 300)
    assert (await api.call("GET", "/api/sessions/nobody/history")).status == 404


async def test_what_is_no_series_is_refused(api: Api) -> None:
    for wrong in ("nothing", "connected,", "a/b"):
        answer = await api.call("GET", f"/api/history?series={wrong}")
        assert (answer.status, answer.json()["field"]) == (400, "series")
    assert (await api.call("GET", "/api/history?since=yesterday")).status == 400


async def test_a_file_that_cannot_be_read_is_no_empty_history(api: Api) -> None:
    path = api.deps.history.path
    path.parent.mkdir()
    path.write_bytes(b"garbage")
    answer = await api.call("GET", "/api/history?series=connected")
    assert (answer.status, "not a history" in answer.json()["error"]) == (503, True)
