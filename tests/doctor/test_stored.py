"""What the doctor advises about ``webhook.stored``: by what it saw."""

import pytest

from tests.doctor.host import require_runnable
from waguard.core.webhooks.stored import DROP_IN
from waguard.doctor.checks.stored import Login, Stored, proposed, stored
from waguard.doctor.report import Cli, Result

KEY = str(DROP_IN)
MYSQL = Login("mysql", "waguard", "localhost", "blazz", "blazz")
MARIADB = Login("mariadb", "waguard", "%", "blazz", "blazz")
POSTGRESQL = Login("postgresql", "waguard", "", "blazz", "public")
GRANTS = {
    MYSQL: "GRANT SELECT ON `blazz`.`chats` TO 'waguard'@'localhost'",
    MARIADB: "GRANT SELECT ON `blazz`.`chats` TO 'waguard'@'%'",
    POSTGRESQL: 'GRANT USAGE ON SCHEMA "public" TO "waguard";'
    ' GRANT SELECT ON "public"."chats" TO "waguard"',
}
PATH = "/etc/waguard/waguard.toml"
FINE = Stored(key=DROP_IN, login=MYSQL)


@pytest.mark.parametrize("login", GRANTS)
def test_what_is_denied_names_the_grant(login: Login) -> None:
    seen = Stored(key=DROP_IN, problem="denied", denied=True, login=login)
    for check in (
        stored(seen, KEY, Cli()),
        proposed(seen, None, PATH, Cli()),
        proposed(seen, KEY, PATH, Cli()),
    ):
        assert check.result in {Result.FAILED, Result.WARNING}
        require_runnable(check.command)
        assert str(check.command).startswith(
            "sudo -u postgres psql -d blazz -c" if login is POSTGRESQL else f"{login.backend} -e"
        )
    assert login.grant("chats") == GRANTS[login]


@pytest.mark.parametrize("login", GRANTS)
def test_what_may_be_read_names_the_grant_too(login: Login) -> None:
    seen = Stored(key=DROP_IN, login=login)
    assert GRANTS[login] in stored(seen, KEY, Cli()).seen
    check = proposed(seen, None, PATH, Cli())
    assert (check.result, GRANTS[login] in check.seen) == (Result.WARNING, True)
    assert f'webhook.stored = "{KEY}" in {PATH}' in str(check.remedy)


@pytest.mark.parametrize(
    ("seen", "key", "result", "result_before"),
    [
        (None, None, Result.OK, Result.SKIPPED),
        (None, KEY, Result.SKIPPED, Result.SKIPPED),
        (FINE, KEY, Result.OK, Result.OK),
        (Stored(key=DROP_IN), KEY, Result.OK, Result.OK),
        (Stored(key=DROP_IN, problem="no such table"), None, Result.OK, Result.OK),
        (Stored(key=DROP_IN, problem="no such table"), KEY, Result.FAILED, Result.FAILED),
    ],
)
def test_what_is_seen_of_the_receivers_table_has_one_result(
    seen: Stored | None, key: str | None, result: Result, result_before: Result
) -> None:
    assert stored(seen, key, Cli()).result is result
    assert proposed(seen, key, PATH, Cli()).result is result_before
