"""The status page: four static files, nothing from elsewhere."""

from pathlib import Path
from typing import Final

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.route import route

_FOLDER: Final = Path(__file__).parent / "static"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


_EXTENSION: Final = '<meta name="passkey-extension" content="%s">'


def static(name: str, kind: str) -> web.Response:
    """A file of waguard's own."""
    return _response((_FOLDER / name).read_text(), kind)


def _response(text: str, kind: str) -> web.Response:
    return web.Response(text=text, content_type=kind, charset="utf-8", headers=HEADERS)


@route(None, media=("text/html",))
async def html(request: web.Request) -> web.Response:
    """The status page."""
    configured = request.app[DEPS].config().whatsapp.passkey_extension  # letters, checked when read
    text = (_FOLDER / "page.html").read_text()
    return _response(text.replace(_EXTENSION % "", _EXTENSION % configured), "text/html")


@route(None, media=("text/javascript",))
async def script(_: web.Request) -> web.Response:
    """The status page's script."""
    return static("page.js", "text/javascript")


@route(None, media=("text/javascript",))
async def passkey_script(_: web.Request) -> web.Response:
    """The part of the status page for passkeys."""
    return static("passkey.js", "text/javascript")


@route(None, media=("text/css",))
async def style(_: web.Request) -> web.Response:
    """The status page's style."""
    return static("page.css", "text/css")
