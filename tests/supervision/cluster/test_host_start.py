"""Which start of a host it is, by clocks that are set."""

from tests.clocks import Clock
from waguard.supervision.cluster.host_start import SET_BACK, HostStart


def test_each_start_has_its_own_name() -> None:
    clock = Clock()
    assert HostStart(clock)() != HostStart(clock)()


def test_it_stays_while_the_clock_goes_on() -> None:
    clock = Clock()
    start = HostStart(clock)
    name = start()
    clock.live(1e6)
    clock.at += 3600.0
    assert start() == name, "set forward"
    clock.at -= SET_BACK / 2
    assert start() == name, "slewed"


def test_a_clock_that_is_set_back_is_a_new_start() -> None:
    clock = Clock()
    start = HostStart(clock)
    names = {start()}
    clock.at -= 3600.0
    names.add(start())
    clock.live(5.0)
    assert start() in names, "once"
    for _ in range(4):  # little by little
        clock.at -= SET_BACK / 2
        names.add(start())
    assert len(names) == 3
