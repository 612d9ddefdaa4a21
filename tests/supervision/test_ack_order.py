from hypothesis import given
from hypothesis import strategies as st

from waguard.supervision.session.ack_order import AckOrder
from waguard.wire.events import Ack


def ack(level: int, *ids: str) -> Ack:
    return Ack(ids=ids, chat="c", ack=level)


def test_a_late_ack_is_no_news() -> None:
    order = AckOrder()
    assert order.forward(ack(3, "a")) == ack(3, "a")
    assert order.forward(ack(2, "a")) is None
    assert order.forward(ack(3, "a")) is None
    assert order.forward(ack(2, "a", "b")) == ack(2, "b")


def test_an_error_counts_only_before_the_server_has_it() -> None:
    order = AckOrder()
    order.forward(ack(0, "pending"))
    order.forward(ack(1, "sent"))
    assert order.forward(ack(-1, "pending", "sent")) == ack(-1, "pending")
    # sent again by hand on the phone: it is alive
    assert order.forward(ack(1, "pending")) == ack(1, "pending")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4))))
def test_levels_never_go_back(reported: list[tuple[str, int]]) -> None:
    order, seen = AckOrder(), {"a": -1, "b": -1, "c": -1}
    for message_id, level in reported:
        if news := order.forward(ack(level, message_id)):
            assert news.ack > seen[message_id]
            seen[message_id] = news.ack
