"""What of wa-js may be called: the names that read, and none that only look so."""

import pytest

from waguard.core.call_through import refusal


@pytest.mark.parametrize(
    "name", ["chat.getMessages", "contact.list", "group.iAmAdmin", "order.get"]
)
def test_what_reads_may_be_called(name: str) -> None:
    assert refusal(name) is None


def test_what_does_more_may_not() -> None:
    wrong = (
        *("chat.sendTextMessage", "chat.delete", "conn.logout", "group.create", "contact.save"),
        *(
            "contact.queryExists",
            "status.remove",
            "chat.markIsRead",
            "conn.refreshQR",
            "chat.issue",
        ),
        *(
            "whatsapp.getStore",
            "loader.getModule",
            "ev.list",
            "getMessages",
            "chat.getMessages.call",
        ),
        *("chat.", ".get", "", "chat.get Messages", "chat.getMessages\n", "Chat.getMessages"),
        *("chat.constructor", "chat.__proto__", "chat.getä", "chat.getMessages()"),
    )
    assert [name for name in wrong if refusal(name) is None] == []


@pytest.mark.parametrize("name", ["conn.getAuthCode", "contact.getPnLidEntry", "chat.getLastSeen"])
def test_what_reads_by_its_name_only_is_refused_with_the_reason(name: str) -> None:
    assert "only reads" not in str(refusal(name))
