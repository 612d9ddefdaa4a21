"""The stand-in itself: https://web.whatsapp.com/ on loopback, its WebSocket, and the phone beside it.

>>> async with StandIn() as standin:
...     launch_chromium(standin.browser_args, standin.url)
...     standin.phone.scan(code)
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from waguard.lab.standin import documents
from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.certificate import make_certificate
from waguard.lab.standin.documents import CDN, HOST, SCRIPTS
from waguard.lab.standin.limits import Limits
from waguard.lab.standin.page_connection import MAX_STANZA, PageLink
from waguard.lab.standin.phone import Phone, phone_app
from waguard.lab.standin.whatsapp import WhatsApp

LOOPBACK = "127.0.0.1"
RETRY_AFTER = 120  # s
MAX_FILE = 1 << 28  # bytes of an uploaded file

_PRINT: Final = partial(print, flush=True)  # also where it is read by another program


class StandIn:
    """Runs from `start` to `close` (or as an async context manager); everything it knows dies with it."""

    def __init__(
        self,
        port: int = 0,
        phone_port: int = 0,
        policy: Policy | None = None,
        *,
        key_file: Path | None = None,
    ) -> None:
        """``key_file``: keeps the key of its certificate for the next one; None: the key dies with it, too."""
        self.policy = policy or Policy()
        self.whatsapp = WhatsApp(self.policy)
        self.limits = Limits(self.whatsapp)
        self.phone = Phone(self.whatsapp, self.limits)
        self._ports = (port, phone_port)
        self._runners: list[web.AppRunner] = []
        self._sockets: set[web.WebSocketResponse] = set()
        self._closing = asyncio.Event()
        self._context, self._spki = make_certificate(HOST, CDN, key_file=key_file)
        self.port = self.phone_port = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}/"

    @property
    def phone_url(self) -> str:
        return f"http://{LOOPBACK}:{self.phone_port}"

    @property
    def browser_args(self) -> list[str]:
        """What makes a Chromium take this for WhatsApp, trust its key alone, and reach nothing else."""
        here = f"{LOOPBACK}:{self.port}"
        rules = f"MAP {HOST} {here}, MAP {CDN} {here}, MAP * ~NOTFOUND, EXCLUDE {LOOPBACK}"
        return [
            f"--host-resolver-rules={rules}",
            f"--ignore-certificate-errors-spki-list={self._spki}",
            # a document that its owner serves itself counts as public, and this is not
            "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
        ]

    @property
    def config(self) -> str:
        """The lines of a waguard configuration that point it here, as TOML."""
        whatsapp = f"whatsapp.url = {json.dumps(self.url)}"
        return f"{whatsapp}\nbrowser.extra_args = {json.dumps(self.browser_args)}"

    async def start(self) -> Self:
        port, phone_port = self._ports
        try:
            self.port = await self._listen(self._page_app(), port, tls=True)
            self.phone_port = await self._listen(phone_app(self.phone), phone_port, tls=False)
        except BaseException:
            await self.close()
            raise
        return self

    async def _listen(self, app: web.Application, port: int, *, tls: bool) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        listener = socket.create_server((LOOPBACK, port))
        await web.SockSite(runner, listener, ssl_context=self._context if tls else None).start()
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        self._closing.set()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    # --- the web server

    def _page_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_FILE, middlewares=[_only_for_whatsapp])
        app.add_routes(
            [
                web.get("/", self._document),
                web.get("/sw.js", self._service_worker),
                web.get("/ws/chat", self._chat),
                web.get(r"/rsrc.php/v4/{revision:\d+}/{name}.js", self._script),
                web.put("/media/{hash:.+}", self._upload),
                web.get("/media/{hash:.+}", self._download),
            ]
        )
        app.on_shutdown.append(self._close_sockets)
        return app

    async def _document(self, request: web.Request) -> web.Response:
        policy = self.policy
        if policy.page == "hang":
            await self._closing.wait()
        if policy.page == "away" and request.transport is not None:
            request.transport.abort()
        if policy.page in ("hang", "error"):
            raise web.HTTPInternalServerError
        if policy.page in ("too_often", "too_often_empty"):
            body = {"text": ""} if policy.page == "too_often_empty" else {}
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(RETRY_AFTER)}, **body)
        if policy.page == "portal":
            return documents.portal()
        if policy.block_headless and "HeadlessChrome" in request.headers.get("User-Agent", ""):
            return documents.unsupported()
        phone = request.cookies.get(documents.ACCOUNT)
        return documents.document(self.whatsapp.versions.served(phone), policy)

    async def _service_worker(self, _request: web.Request) -> web.Response:
        return documents.service_worker()

    async def _script(self, request: web.Request) -> web.Response:
        name, policy = request.match_info["name"], self.policy
        revision = self.whatsapp.versions.get(int(request.match_info["revision"]))
        await asyncio.sleep(policy.cdn_delay)
        if policy.page == "cdn_away" and request.transport is not None:
            request.transport.abort()
        if policy.page == "silent":
            await self._closing.wait()
        is_there = revision is not None and revision.on_cdn and name in SCRIPTS
        if policy.page in ("broken", "cdn_away") or revision is None or not is_there:
            raise web.HTTPNotFound(headers=documents.OF_A_SCRIPT)
        return documents.script(name, revision, policy)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if self.policy.refuse_sockets:
            raise web.HTTPServiceUnavailable
        ws = web.WebSocketResponse(max_msg_size=MAX_STANZA, compress=False)
        await ws.prepare(request)
        self._sockets.add(ws)
        try:
            await PageLink(self.whatsapp, self.limits, ws).serve()
        finally:
            self._sockets.discard(ws)
        return ws

    async def _close_sockets(self, _app: web.Application) -> None:
        for ws in set(self._sockets):
            await ws.close()

    async def _upload(self, request: web.Request) -> web.Response:
        data = await request.read()
        name = base64.b64encode(hashlib.sha256(data).digest()).decode()
        if name != request.match_info["hash"]:
            raise web.HTTPBadRequest(text="the file does not have that hash")
        self.whatsapp.media[name] = data
        return web.Response(status=204)

    async def _download(self, request: web.Request) -> web.Response:
        data = self.whatsapp.media.get(request.match_info["hash"])
        if data is None or self.policy.media_gone:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type="application/octet-stream")


@web.middleware
async def _only_for_whatsapp(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    host, is_script = request.host.split(":")[0], request.path.startswith("/rsrc.php/")
    if host != (CDN if is_script else HOST):
        raise web.HTTPMisdirectedRequest(text=f"{request.path} is not on {host}\n")
    return await handler(request)


async def serve(
    port: int = 0,
    phone_port: int = 0,
    policy: Policy | None = None,
    say: Callable[[str], None] = _PRINT,
    *,
    key_file: Path | None = None,
) -> None:
    """Run a stand-in until SIGINT or SIGTERM; say once how to use it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with StandIn(port, phone_port, policy, key_file=key_file) as standin:
            say(f"{standin.config}\n# phone: {standin.phone_url}")
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
