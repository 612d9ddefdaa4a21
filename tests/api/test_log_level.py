"""GET and PUT /api/log-level."""

from typing import Any

import pytest

from tests.api.conftest import Api


async def test_a_level_is_set_until_the_restart(api: Api) -> None:
    answer = await api.call("GET", "/api/log-level")
    assert (answer.status, answer.json()) == (
        200,
        {"success": True, "level": "INFO", "configured": "INFO"},
    )
    answer = await api.call("PUT", "/api/log-level", {"level": "debug"})
    assert (answer.status, answer.json()["level"]) == (200, "DEBUG")
    assert api.log.asked == [("DEBUG", "the application")]
    answer = await api.call("PUT", "/api/log-level", {"level": None})
    assert answer.json() == {"success": True, "level": "INFO", "configured": "INFO"}


@pytest.mark.parametrize("body", [{}, {"level": ""}, {"level": "TRACE"}, {"level": 10}, []])
async def test_another_level_is_refused(api: Api, body: Any) -> None:
    answer = await api.call("PUT", "/api/log-level", body)
    assert (answer.status, answer.json()["field"]) == (400, "level")
    assert "DEBUG, INFO, WARNING, ERROR" in answer.json()["remedy"]
    assert api.log.asked == []


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_without_a_key(api: Api, method: str) -> None:
    answer = await api.call(method, "/api/log-level", {"level": "DEBUG"}, key=None)
    assert answer.status == 401
    assert api.log.asked == []
