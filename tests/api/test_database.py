"""POST /api/database/accept."""

from tests.api.conftest import Api


async def test_the_database_that_was_found_is_accepted_once(api: Api) -> None:
    api.control.unknown = True
    answer = await api.call("POST", "/api/database/accept")
    assert answer.json() == {"success": True, "database": "sqlite /state/waguard.db"}
    assert (await api.call("POST", "/api/database/accept")).status == 409


async def test_accept_takes_a_key(api: Api) -> None:
    api.control.unknown = True
    assert (await api.call("POST", "/api/database/accept", key=None)).status == 401
    assert api.control.unknown
