"""How long the transfer of a file may last, up, down and to WhatsApp. Pure."""

from typing import Final

RATE: Final = 512 << 10  # bytes a second that a transfer has at least


def transfer_time(size: int) -> float:
    """Seconds that a file of ``size`` bytes has for its way, beside what an empty one takes."""
    return size / RATE
