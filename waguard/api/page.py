"""The status page: files of waguard's own and uPlot, nothing from elsewhere."""

import hashlib
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from aiohttp import ETag, web
from msgspec import Meta

from waguard.api.deps import DEPS
from waguard.api.fields import AS_IT_IS
from waguard.api.route import route
from waguard.errors import NotFoundError

_FOLDER: Final = Path(__file__).parent / "static"
UPLOT: Final = Path(__file__).parent / "swagger/node_modules/uplot/dist"
_FILES: Final = {
    "uplot.js": UPLOT / "uPlot.esm.js",
    "uplot.css": UPLOT / "uPlot.min.css",
} | {
    str(it.relative_to(_FOLDER / "page")): it
    for it in (_FOLDER / "page").rglob("*")
    if it.suffix in {".js", ".css"}
}
"""Those below /page, by the rest of their path."""
_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_POLICY: Final = (
    HEADERS["Content-Security-Policy"]
    + "; require-trusted-types-for 'script'; trusted-types 'none'"
)
_GZIP: Final = 16 + zlib.MAX_WBITS  # with gzip's head, without a time
_IN_CLUSTER: Final = (
    ("<body>", "<body data-cluster>"),
    ('<link rel="icon"', '<link rel="stylesheet" href="/page/hosts.css">\n<link rel="icon"'),
    ("Versions</a>\n", 'Versions</a>\n    <a href="#/hosts" data-whole>Hosts</a>\n'),
)
"""What the page of one of several hosts has otherwise; one host alone has none of it."""
_EXTENSION: Final = '<meta name="passkey-extension" content="%s">'
PageFile = Annotated[
    str, AS_IT_IS, Meta(pattern=r"^[a-z]+(/[a-z]+)?\.(js|css)$", examples=["api.js"])
]


class _Packed(NamedTuple):
    content: bytes
    etag: str


@lru_cache(maxsize=64)
def _packed(content: bytes) -> _Packed:
    """Once for each content: browsers ask for all files at each load."""
    return _Packed(zlib.compress(content, 9, wbits=_GZIP), hashlib.sha256(content).hexdigest()[:32])


def static(request: web.Request, name: str) -> web.Response:
    """A file of waguard's own."""
    path = _FOLDER / name
    return _response(request, path.read_bytes(), _KINDS[path.suffix])


def _response(request: web.Request, content: bytes, kind: str) -> web.Response:
    packed = _packed(content)
    response = web.Response(headers=HEADERS | {"Vary": "Accept-Encoding"})
    response.etag = ETag(packed.etag, is_weak=True)
    if any(it.value in {packed.etag, "*"} for it in request.if_none_match or ()):
        response.set_status(304)
        return response
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        content = packed.content
    response.body, response.content_type, response.charset = content, kind, "utf-8"
    return response


@route(None, media=("text/html",))
async def html(request: web.Request) -> web.Response:
    """The status page."""
    configured = request.app[DEPS].config().whatsapp.passkey_extension  # letters, checked when read
    text = (_FOLDER / "page.html").read_text()
    text = text.replace(_EXTENSION % "", _EXTENSION % configured)
    for before, after in _IN_CLUSTER if request.app[DEPS].cluster else ():
        text = text.replace(before, after)
    response = _response(request, text.encode(), "text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@route(None, media=("text/javascript",))
async def script(request: web.Request) -> web.Response:
    """The status page's script."""
    return static(request, "page.js")


@route(None, 404, media=("text/javascript", "text/css"))
async def part(request: web.Request, file: PageFile) -> web.Response:
    """A part of the status page: a module of its script, a style, uPlot."""
    path = _FILES.get(file)
    if path is None:
        raise NotFoundError("the status page has no such part")
    return _response(request, path.read_bytes(), _KINDS[path.suffix])


@route(None, media=("text/css",))
async def style(request: web.Request) -> web.Response:
    """The status page's style."""
    return static(request, "page.css")
