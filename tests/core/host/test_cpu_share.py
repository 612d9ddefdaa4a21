"""A debt of CPU time, and how it is paid off."""

from waguard.core.host import cpu_share
from waguard.core.host.cpu_share import NOTHING


def test_what_was_spent_is_paid_off_at_the_rate_of_the_share() -> None:
    spent = cpu_share.charge(NOTHING, 0.3, now=10.0, share=0.5)
    assert cpu_share.owed(spent, now=10.0, share=0.5) == 0.3
    spent = cpu_share.charge(spent, 0.1, now=10.2, share=0.5)
    assert round(cpu_share.owed(spent, now=10.2, share=0.5), 6) == 0.3
    assert cpu_share.owed(spent, now=20.0, share=0.5) == 0.0


def test_what_is_free_is_not_waited_for() -> None:
    assert cpu_share.wait(NOTHING, now=0.0, share=0.5, free=0.01) == 0.0
    spent = cpu_share.charge(NOTHING, 0.06, now=0.0, share=0.5)
    assert round(cpu_share.wait(spent, now=0.0, share=0.5, free=0.01), 6) == 0.1
    assert cpu_share.wait(spent, now=0.11, share=0.5, free=0.01) == 0.0


def test_nobody_waits_for_longer_than_a_second_whatever_was_spent() -> None:
    spent = cpu_share.charge(NOTHING, 100.0, now=0.0, share=0.5)
    assert cpu_share.wait(spent, now=0.0, share=0.5, free=0.0) == 1.0
    assert cpu_share.wait(spent, now=1.0, share=0.5, free=0.0) == 0.0
