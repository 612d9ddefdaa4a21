"""What is said of what a restore loses."""

from tests.core.test_backup_contents import SAVED
from waguard.core.backup_contents import with_failures
from waguard.core.replace import replace
from waguard.core.restore_losses import Counts, lost


def test_what_is_lost_is_said_once_each() -> None:
    said = lost(SAVED, Counts(uncertain=2, held=3))
    assert said[0].startswith("session b (workspace 7): ")
    for words in ("since 2027-01-15 08:00 UTC", "2 messages", "3 webhooks", "groups wait", "media"):
        assert sum(words in line for line in said) >= 1
    server = replace(SAVED, members=(), sessions=())
    assert lost(server, Counts()) == []


def test_credentials_that_turn_out_unusable_are_lost_too() -> None:
    after = with_failures(SAVED, {0: "damaged"})
    assert [it.snapshot for it in after.sessions] == [None, None]
    assert any("session a" in line and "damaged" in line for line in lost(after, Counts()))
