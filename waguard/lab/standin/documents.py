"""What the network serves: the document, in the shape and with the headers of WhatsApp's, and the scripts
of each revision on the CDN.

Read (442 real documents, 2026): a document is ``<revision>_main`` to its scripts and ``client_revision`` to
itself, ends with ``has-finished-comet-page``, registers no service worker, knows no account; a nonce, a
token and the server's time are new in each. Not as there: it is small, and nothing is cached, so that each
load needs the CDN.
"""

import json
import secrets
import time
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.versions import Revision

HOST: Final = "web.whatsapp.com"
CDN: Final = "static.whatsapp.net"
PAGE: Final = Path(__file__).with_name("page")
SCRIPTS: Final = (
    "runtime",
    "events",
    "ids",
    "storage",
    "connection",
    "lids",
    "chats",
    "groups",
    "messages",
    "media",
    "happenings",
    "actions",
    "notices",
    "passkey",
    "ciphertexts",
    "limits",
    "boot",
)
"""In their order."""
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval' https://static.whatsapp.net; "
    "connect-src 'self' wss://web.whatsapp.com https://static.whatsapp.net; "
    "img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Cache-Control": "private, no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "Sat, 01 Jan 2000 00:00:00 GMT",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ACCOUNT: Final = "standin_account"
"""A cookie that a page sets once it is logged in: by it some accounts get another build than others."""
OF_A_SCRIPT: Final = {
    "Cache-Control": "no-store",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def document(revision: Revision, policy: Policy) -> web.Response:
    """The document of this revision, for anybody."""
    nonce = secrets.token_urlsafe(12)
    text = read("index.html")
    for name, value in {
        "SCRIPTS": "\n".join(_tag(name, revision, nonce) for name in SCRIPTS),
        "SERVER_REVISION": str(revision.number + 41),
        "REVISION": str(revision.number),
        "TOKEN": secrets.token_urlsafe(12),
        "SERVER_TIME": str(int(time.time() * 1000)),
    }.items():
        text = text.replace(f"__{name}__", value)
    response = web.Response(text=text, content_type="text/html", headers=HEADERS)
    if policy.csp:
        response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    cookie = secrets.token_hex(16)  # a browser's own: not to be stored with the document
    response.set_cookie("wa_ul", cookie, path="/", secure=True, httponly=True, samesite="None")
    return response


def _tag(name: str, revision: Revision, nonce: str) -> str:
    source = f"https://{CDN}/rsrc.php/v4/{revision.number}/{name}.js"
    return (
        f'    <script nonce="{nonce}" data-btmanifest="{revision.number}_main" crossorigin="anonymous" '
        f'src="{source}"></script>'
    )


def portal() -> web.Response:
    """What a captive portal answers in the place of any page."""
    page = "<!doctype html><title>Hotel login</title><form>Room number: <input></form>"
    return web.Response(text=page, content_type="text/html")


def unsupported() -> web.Response:
    """For browsers that WhatsApp does not support."""
    return web.Response(text=read("unsupported.html"), content_type="text/html")


def script(name: str, revision: Revision, policy: Policy) -> web.Response:
    """One of ``SCRIPTS``; the first one brings the policies along, as they are when it is fetched."""
    text = read(f"{name}.js")
    if name == SCRIPTS[0]:
        text = f"window.__standinConfig = {json.dumps(_config(revision, policy))};\n{text}"
    return web.Response(text=text, content_type="text/javascript", headers=OF_A_SCRIPT)


def service_worker() -> web.Response:
    """``Policy.service_worker``."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=read("sw.js"), content_type="text/javascript", headers=headers)


def _config(revision: Revision, policy: Policy) -> dict[str, Any]:
    return {
        "revision": revision.number,
        "version": revision.version,
        "way": revision.way,
        "broken_for": None if revision.broken_for is None else sorted(revision.broken_for),
        "service_worker": policy.service_worker,
        "slow_modules": policy.slow_modules,
        "slow_part": policy.slow_part,
        "factories": policy.factories,
        "connect_delay": policy.connect_delay,
        "reconnect_delay": policy.reconnect_delay,
        "reconnect_max": policy.reconnect_max,
        "lids": policy.lids,
        "history_error": policy.history_error,
        "history_delay": policy.history_delay,
    }


def read(name: str) -> str:
    """A file of the page."""
    return (PAGE / name).read_text(encoding="utf-8")
