"""Whether a message was written on the account's phone, by its id."""

import pytest

from waguard.core.messages.phone_use import RECENT, activity, phone_of

ANNA, GROUP = "49170@c.us", "120363000000000001@g.us"


@pytest.mark.parametrize(
    ("stem", "kind"),
    [
        ("3A" + "0" * 18, "ios"),
        ("A" * 32, "android"),
        ("3EB0" + "0" * 32, "unknown"),
        ("3EB0" + "0" * 16, None),  # WhatsApp Web, older and newer
        ("3EB0" + "0" * 18, None),
        ("3F" + "0" * 18, None),
        ("A" * 18, None),
        ("new", "unknown"),
    ],
)
def test_the_stem_shows_the_device(stem: str, kind: str | None) -> None:
    assert phone_of(f"true_{ANNA}_{stem}") == kind
    assert phone_of(f"true_{GROUP}_{stem}_{ANNA}") == kind
    assert phone_of(f"false_{ANNA}_{stem}") is None


def test_what_is_no_id_was_written_on_no_phone() -> None:
    assert phone_of("") is None
    assert phone_of("true_") is None


def test_only_what_was_written_a_moment_ago_is_activity() -> None:
    message_id = f"true_{ANNA}_{'A' * 32}"
    found = activity(message_id, 1_000.0, 1_000.0 + RECENT)
    assert found == {"message_id": message_id, "device_type": "android", "timestamp": 1_000}
    assert activity(message_id, 1_000.0, 1_000.5 + RECENT) is None
    assert activity(f"false_{ANNA}_A", 1_000.0, 1_000.0) is None
