"""A QR code as an image or as text. ``raw`` is what the phone reads."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import segno


def png(raw: str) -> bytes:
    """A PNG of about 300 pixels with the quiet zone that scanners need."""
    out = io.BytesIO()
    _make(raw).save(out, kind="png", scale=6, border=4)
    return out.getvalue()


def data_url(raw: str) -> str:
    """``data:image/png;base64,…``."""
    return str(_make(raw).png_data_uri(scale=6, border=4))


def svg(raw: str) -> bytes:
    """A complete SVG document."""
    out = io.BytesIO()
    _make(raw).save(out, kind="svg", scale=6, border=4, light="#fff")
    return out.getvalue()


def terminal(raw: str) -> str:
    """Half-block characters, for a terminal of any colours."""
    out = io.StringIO()
    _make(raw).terminal(out=out, compact=True, border=2)
    return out.getvalue()


def _make(raw: str) -> "segno.QRCode":
    import segno  # noqa: PLC0415 - 0.7 MB that a daemon whose sessions are linked never needs

    # level L: the fewest modules, hence the largest on a screen; a screen does not get dirty
    return segno.make_qr(raw, error="l", boost_error=False)
