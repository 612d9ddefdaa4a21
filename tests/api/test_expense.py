"""What one connection may cost before it shows a key."""

from waguard.api.connection import LARGEST_PIECE, PIECE, Expense
from waguard.api.timings import Limits


def test_pieces_grow_while_they_cost_little() -> None:
    expense = Expense(Limits())
    for _ in range(10):
        expense.of_reading(expense.piece, expense.piece, discarded=False)
    assert expense.piece == LARGEST_PIECE
    expense.of_reading(LARGEST_PIECE, LARGEST_PIECE // 6, discarded=False)
    assert expense.piece == PIECE


def test_a_body_at_full_speed_is_never_too_much_nor_a_slow_one() -> None:
    for piece in (LARGEST_PIECE, 1_000):
        expense = Expense(Limits())
        for _ in range(1_000_000 // piece):
            expense.of_reading(piece, piece, discarded=False)
            assert not expense.too_much


def test_chunks_of_one_byte_are_too_much_soon() -> None:
    expense, read = Expense(Limits()), 0
    while not expense.too_much:
        expense.of_reading(PIECE, PIECE // 6, discarded=False)
        read += PIECE
    assert read <= 16 << 10
    slow = expense.slowness
    expense.of_reading(LARGEST_PIECE, LARGEST_PIECE, discarded=False)
    assert expense.slowness < slow


def test_what_it_costs_is_bounded_and_forgotten_with_a_key() -> None:
    expense = Expense(Limits(keyless_cost=0.01))
    for _ in range(200):
        expense.of_reading(1, 1, discarded=False)
    assert expense.too_much
    expense.forget()
    assert not expense.too_much


def test_so_much_of_a_refused_body_is_discarded() -> None:
    expense = Expense(Limits(discarded=100_000))
    expense.of_reading(100_000, 100_000, discarded=True)
    assert not expense.too_much_discarded
    expense.of_reading(1, 1, discarded=True)
    assert expense.too_much_discarded
    expense.of_request()
    assert not expense.too_much_discarded
