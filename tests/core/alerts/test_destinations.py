"""The file of destinations."""

import re

import pytest

from waguard.core.alerts.destinations import parse

WHOLE = """
# ours
webhook https://hook.example/alerts TOKEN-OF-IT
ntfy http://10.0.0.5:8080/waguard/
slack https://hooks.slack.example/services/T0/B0/SECRET

telegram https://api.telegram.org 123:SECRET -1001
mail smtps://ops%40example.org:p%40ss@mail.example waguard@example.org ops@example.org
apprise mailto://user:SECRET@example.org
apprise mailto://user:SECRET@example.org
"""


def test_each_line_is_a_destination() -> None:
    found, wrong = parse(WHOLE)
    assert wrong == ()
    assert [it.name for it in found] == [
        "line 3, webhook at hook.example",
        "line 4, ntfy at 10.0.0.5",
        "line 5, slack at hooks.slack.example",
        "line 7, telegram at api.telegram.org",
        "line 8, mail at mail.example",
        "line 9, apprise",
    ]
    assert found[1].url == "http://10.0.0.5:8080/waguard"
    assert len({it.id for it in found}) == len(found)
    shorter = parse(WHOLE.replace("# ours\n", "")).found
    assert shorter[0].name == "line 2, webhook at hook.example"
    assert [it.id for it in shorter] == [it.id for it in found], "which stays where it moves"
    assert "SECRET" not in "".join(it.name + it.id for it in found)
    assert [it.secrets[1:] for it in found] == [
        ("TOKEN-OF-IT",),
        (),
        (),
        ("123:SECRET",),
        ("p%40ss", "p@ss"),
        (),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pager https://a.example/SECRET", "it begins with no known kind"),
        ("webhook", "it is not written as `webhook ADDRESS"),
        ("slack https://a.example/SECRET and more", "it is not written as `slack ADDRESS`"),
        ("webhook ftp://a.example/SECRET", "it is not an http or https address"),
        ("webhook http://169.254.169.254/SECRET", "link-local or metadata"),
        ("webhook http://[::1", "it is not an address|its address is not an address"),
        ("ntfy https://ntfy.example/ SECRET", "no topic"),
        ("telegram https://api.telegram.org SECRET", "it is not written as `telegram"),
        ("mail https://mail.example/SECRET a@b c@d", "neither smtps://HOST nor"),
        ("mail smtps:// a@b c@d", "neither smtps://HOST nor"),
        ("mail smtp://mail.example:port a@b c@d", "its address is not an address"),
        ("mail smtps://ops:25/SECRET@mail.example a@b c@d", "/, . and # of its password"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_not_shown(line: str, why: str) -> None:
    found, [said] = parse(f"# first\n{line}\nslack https://good.example/\n")
    assert re.match(f"line 2: .*({why})", said)
    assert "SECRET" not in said
    assert [it.name for it in found] == ["line 3, slack at good.example"], "which it costs nothing"
