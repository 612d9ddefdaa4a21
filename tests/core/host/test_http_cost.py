"""What reading costs: chunks by their number, bodies by their bytes."""

from waguard.core.host import http_cost


def test_small_chunks_cost_by_far_more_than_the_same_in_one_piece() -> None:
    count = 64 << 10
    one_piece = http_cost.of_reading(count, count)
    bytewise = http_cost.of_reading(count, count // 6)
    assert bytewise > 50 * one_piece
    assert http_cost.of_reading(0, 0) == http_cost.READING


def test_a_search_costs_by_its_bytes() -> None:
    assert http_cost.of_searching(2_000) == 2 * http_cost.of_searching(1_000)
