"""What an alert says, and its form for each kind of destination."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from waguard.core.alerts import forms, notice
from waguard.core.alerts.alerts import Alert, Notification
from waguard.core.alerts.destinations import parse
from waguard.core.replace import replace

AT: Final = 1_732_233_600.0
PAGE: Final = "https://wa.example/"
ONE: Final = Alert(
    type="parked",
    reason="conflict",
    session="shop_7",
    message="WhatsApp Web is open elsewhere",
    remedy="Close it, then `waguard sessions restart shop_7`.",
    since=AT,
    seen=AT,
)
DOWN: Final = Alert(
    type="database_down",
    reason="database_down",
    session=None,
    message="no <connection> & no answer",
    remedy="See that it runs.",
    since=AT - 60,
    seen=AT,
)


@dataclass
class Entry:
    """One of the audit log."""

    kind: str
    at: float | None = AT
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def made(it: Notification, tried: notice.Tried | None = None) -> notice.Notice:
    return notice.of_notification(it, host="wa1", page=PAGE, tried=tried or {})


@pytest.mark.parametrize("said", ["Страница не найдена. ", "👋", "no page ", "\udcff"])
def test_a_text_of_any_language_is_one_that_ntfy_takes_as_a_message(said: str) -> None:
    alerts = tuple(replace(ONE, reason=f"{n}", message=said * 300) for n in range(6))
    text = made(Notification(alerts)).text
    assert len(text.encode(errors="surrogatepass")) <= notice.TEXT_LIMIT
    assert text.endswith("…")


def test_one_alert_says_what_happened_what_was_tried_what_to_do_and_where() -> None:
    it = made(Notification((ONE,)), {"shop_7": ("it was taken back 3 times",)})
    assert it.title == "waguard on wa1: shop_7: WhatsApp Web is open elsewhere"
    assert it.text == (
        "shop_7: WhatsApp Web is open elsewhere\nSince 2024-11-22T00:00:00Z.\nDone: it was taken back 3 times.\n"
        "To do: Close it, then `waguard sessions restart shop_7`."
    )
    assert (it.urgent, it.page) == (True, "https://wa.example/#/session/shop_7")
    assert it.content["begun"] == [
        {
            "type": "parked",
            "reason": "conflict",
            "session_id": "shop_7",
            "message": "WhatsApp Web is open elsewhere",
            "since": "2024-11-22T00:00:00Z",
            "ended": None,
            "tried": ["it was taken back 3 times"],
            "remedy": "Close it, then `waguard sessions restart shop_7`.",
            "page": "https://wa.example/#/session/shop_7",
        }
    ]


def test_what_sessions_have_in_common_is_said_once() -> None:
    many = tuple(replace(ONE, session=f"s{number}") for number in range(200))
    it = made(Notification((*many, DOWN)))
    assert it.title == "waguard on wa1: 201 conditions need a person"
    assert it.text.count("WhatsApp Web is open elsewhere") == 1
    assert "; also s1, s2, s3, s4, s5, s6, s7, s8 and 191 more." in it.text
    assert "Done: sessions went on; workers kept" in it.text, "what is done about a database"
    assert it.page == "https://wa.example/#/"
    assert len(it.content["begun"]) == notice.LISTED


def test_an_end_is_no_urgent_news() -> None:
    it = made(Notification((), (replace(ONE, ended=AT + 60),)))
    assert it.title == "waguard on wa1: over: shop_7: WhatsApp Web is open elsewhere"
    assert it.text == (
        "Over: shop_7: WhatsApp Web is open elsewhere\nfrom 2024-11-22T00:00:00Z to 2024-11-22T00:01:00Z."
    )
    assert not it.urgent
    assert it.content["ended"][0]["ended"] == "2024-11-22T00:01:00Z"


def test_many_causes_and_long_words_stay_within_the_limits() -> None:
    causes = tuple(
        replace(DOWN, type=f"kind_{number}", message="long\nwords " * 400) for number in range(9)
    )
    it = made(Notification(causes, causes))
    assert len(it.text) <= notice.TEXT_LIMIT
    short = made(Notification(tuple(replace(one, message="short") for one in causes)))
    assert "And 3 more causes" in short.text
    alone = made(Notification(causes[:1]))
    assert len(alone.title) <= notice.TITLE_LIMIT
    assert "\n" not in alone.title, "it is a mail's header"


def test_without_a_page_there_is_no_link() -> None:
    it = notice.of_notification(Notification((ONE,)), host="wa1", page=None, tried={})
    assert it.page is None
    assert it.content["begun"][0]["page"] is None


def test_what_was_tried_is_what_the_open_incident_has() -> None:
    begins = Entry("restart", reason="the page hung", evidence={"delay": 1.0})
    assert notice.tried([begins, Entry("recycled"), Entry("parked", reason="conflict")], "a")
    over = Entry("status", before="failed", after="connected", reason="x")
    assert notice.tried([begins, over], "a") == ()
    assert notice.tried([], "a") == ()


# ---- forms ----


def form(line: str, it: notice.Notice) -> tuple[str, dict[str, str], Any]:
    [to], _ = parse(line)
    made = forms.request(to, it)
    return made.url, dict(made.headers), json.loads(made.body)


NOTICE: Final = made(Notification((DOWN,)))


def test_a_webhook_gets_json() -> None:
    url, headers, body = form("webhook https://a.example/x TOKEN", NOTICE)
    assert (url, headers["Authorization"]) == ("https://a.example/x", "Bearer TOKEN")
    assert (body["event"], body["host"], body["ended"]) == ("alert", "wa1", [])
    assert (body["title"], body["text"], body["page"]) == (NOTICE.title, NOTICE.text, NOTICE.page)
    assert "Authorization" not in form("webhook https://a.example/x", NOTICE)[1]


@pytest.mark.parametrize(
    ("notice_", "priority"), [(NOTICE, 4), (made(Notification((), (ONE,))), 3)]
)
def test_ntfy_gets_its_own_json_at_its_root(notice_: notice.Notice, priority: int) -> None:
    url, headers, body = form("ntfy https://ntfy.example/team/waguard T", notice_)
    assert (url, headers["Authorization"]) == ("https://ntfy.example/team", "Bearer T")
    assert (body["topic"], body["priority"]) == ("waguard", priority)
    assert (body["title"], body["message"]) == (notice_.title, notice_.text)
    assert body.get("click") == notice_.page
    assert "click" not in form("ntfy https://a.example/x", replace(notice_, page=None))[2]


def test_slack_gets_text_in_which_nothing_is_markup() -> None:
    url, _, body = form("slack https://a.example/x", NOTICE)
    assert url == "https://a.example/x"
    assert [*body] == ["text"]
    assert "no &lt;connection&gt; &amp; no answer" in body["text"]
    assert body["text"].endswith("https://wa.example/#/")


def test_telegram_gets_plain_text_for_its_chat() -> None:
    url, _, body = form("telegram https://api.telegram.org 12:AB -100", NOTICE)
    assert url == "https://api.telegram.org/bot12:AB/sendMessage"
    assert (body["chat_id"], "parse_mode" in body) == ("-100", False)
    assert body["text"].startswith(f"{NOTICE.title}\n\n")


def test_a_test_and_a_failed_unit_say_what_they_are() -> None:
    test = notice.of_test(host="wa1", page=PAGE)
    assert (test.urgent, test.title) == (False, "waguard on wa1: a test")
    failed = notice.of_failed_unit("exit-code, exit status 2", host="wa1", page=None)
    assert failed.urgent
    assert "(exit-code, exit status 2)" in failed.text
    assert "`systemctl start waguard`" in failed.text


def test_where_there_are_several_hosts_each_is_named() -> None:
    low = replace(DOWN, type="disk_low", reason="disk_low", message="1 GB is left", host="b")
    it = made(Notification((low,)))
    assert it.title == "waguard on b: 1 GB is left"
    assert it.text.startswith("b: 1 GB is left\n")
    assert it.content["host"] == it.content["begun"][0]["host"] == "b"
    also = replace(low, host="c")
    it = made(Notification((low, also), (replace(ONE, host="b", ended=AT + 9),)))
    assert it.title == "waguard on b, c: 2 conditions need a person"
    assert "; also c." in it.text
    assert "Over: shop_7 on b: WhatsApp Web is open elsewhere" in it.text
    of_all = replace(DOWN, type="host_missing", reason="b", message="b is down")
    assert made(Notification((of_all,))).title == "waguard on wa1: b is down"
    many = tuple(replace(low, host=f"h{number}") for number in range(5))
    assert made(Notification(many)).title == "waguard on 5 hosts: 5 conditions need a person"
