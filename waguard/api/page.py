"""The status page: three static files, nothing from elsewhere."""

from pathlib import Path
from typing import Final

from aiohttp import web

_FOLDER: Final = Path(__file__).parent / "static"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def _file(name: str, kind: str) -> web.Response:
    return web.Response(
        body=(_FOLDER / name).read_bytes(), content_type=kind, charset="utf-8", headers=_HEADERS
    )


async def html(_: web.Request) -> web.Response:
    """GET /."""
    return _file("page.html", "text/html")


async def script(_: web.Request) -> web.Response:
    """GET /page.js."""
    return _file("page.js", "text/javascript")


async def style(_: web.Request) -> web.Response:
    """GET /page.css."""
    return _file("page.css", "text/css")
