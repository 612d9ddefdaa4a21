"""A stored document is served instead of the network's, a new one is kept, and what a page is is said as it is."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.documents import PORTAL, UNSUPPORTED, body
from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.link import Link
from waguard.host.memory.documents import Document, Documents
from waguard.lab.standin import Policy, StandIn
from waguard.lab.standin.versions import REVISION
from waguard.wire.reports import PageVersion
from waguard.wire.worker import StoredDocument
from waguard.worker.page import wajs
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.page_errors import PageNotReadyError, PageUnreachableError
from waguard.worker.timings import LoadTimings

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]
PHONE = "6281180001"
NEXT = REVISION + 1
NEVER = 3_600.0  # s
GONE = "WhatsApp's scripts cannot be loaded (static.whatsapp.net: 17 of 17, HTTP 404)"
WAJS = wajs.digest(wajs.bundle(None))


class Served(StandIn):
    """Notes for which documents the network was asked."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy=policy)
        self.documents: list[str] = []
        self.other: bytes | None = None
        """What it serves instead of a document."""

    async def _document(self, request: web.Request) -> web.Response:
        self.documents.append(request.path_qs)
        if self.other is None:
            return await super()._document(request)
        return web.Response(body=self.other, content_type="text/html")


@dataclass
class Bench:
    standin: Served
    folder: Path
    browser: BrowserSession
    store: Documents = field(init=False)

    def __post_init__(self) -> None:
        self.store = Documents(self.folder)

    def plan(self, revision: int | None = None) -> PageDocument:
        """Keep what is new, and serve this one."""
        stored = revision and StoredDocument(revision=revision, path=str(self.store.path(revision)))
        return PageDocument(self.standin.url, serve=stored or None, folder=str(self.folder))

    @property
    def version(self) -> PageVersion:
        found = self.browser.document.version
        assert found
        return found

    async def kept(self) -> None:
        await wait_until(lambda: self.version.kept, "its document is stored")

    async def js(self, expression: str) -> Any:
        return await self.browser.session.evaluate(expression, timeout=LONG)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Open, with an empty store."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with Served(Policy(sync=0.1)) as standin:
            browser = BrowserSession(standin, folder / "w/s", folder / "t")
            made = Bench(standin, folder / "versions", browser)
            browser.document = made.plan()
            await browser.open()
            yield made
            await browser.close()


async def test_a_document_is_kept_and_served_until_it_is_spent_and_the_login_does_not_notice(
    bench: Bench,
) -> None:
    await bench.kept()
    assert bench.version == PageVersion(
        page=REVISION,
        document=REVISION,
        wajs=WAJS,
        wajs_version="4.6.0",
        served_by="network",
        kept=True,
    )
    stored = bench.store.load(REVISION)
    names = {name.lower() for name, _ in stored.headers}
    assert {"content-security-policy", "cross-origin-embedder-policy"} <= names
    assert "set-cookie" not in names
    assert (stored.url, stored.wajs, stored.missing) == (bench.standin.url, WAJS, ())
    await bench.browser.pair(PHONE)
    bench.standin.whatsapp.versions.publish(NEXT)
    bench.standin.documents.clear()

    # what the network answers says that it is spent, and no deadline
    patient = LoadTimings(navigation=NEVER, modules=NEVER, ready=NEVER)
    await bench.browser.load_again(bench.plan(REVISION), patient)
    assert await bench.browser.link() is Link.CONNECTED
    assert bench.version.served_by == "store"
    assert (bench.version.page, bench.version.document) == (REVISION, REVISION)
    assert bench.standin.documents == []
    assert await bench.js("crossOriginIsolated")  # by two of its headers

    left = bench.standin.whatsapp.versions.get(REVISION)
    assert left
    left.on_cdn = False
    await bench.browser.loader.load()
    assert await bench.browser.link() is Link.CONNECTED
    await bench.kept()
    assert (bench.version.page, bench.version.served_by) == (NEXT, "network")
    assert bench.version.spent == GONE
    assert bench.store.known() == (REVISION, NEXT)
    await bench.browser.loader.load()
    assert (bench.version.page, bench.version.spent) == (NEXT, GONE)


async def change(bench: Bench, **changed: Any) -> None:
    """Store what the network served, with changes."""
    await bench.kept()
    there = bench.store.load(REVISION)
    fields = {name: getattr(there, name) for name in there.__struct_fields__}
    made = Document(**(fields | changed))
    bench.store.discard(made.revision)
    bench.store.keep(made)


@pytest.mark.long
async def test_a_wajs_that_lacks_what_waguard_calls_says_so(bench: Bench) -> None:
    await bench.kept()
    whole = wajs.bundle(None)
    without = whole.replace('"sendTextMessage"', '"sendTheText"')
    bench.browser.bundle = without
    await bench.browser.load_again(bench.plan())
    assert bench.version.missing == ("WPP.chat.sendTextMessage",)
    assert bench.version.wajs == wajs.digest(without) != WAJS


@pytest.mark.long
@pytest.mark.parametrize("page", ["broken", "cdn_away"])
async def test_a_cdn_that_has_nothing_for_anybody_spends_nothing(bench: Bench, page: str) -> None:
    await bench.kept()
    bench.standin.policy.update({"page": page})
    with pytest.raises(PageUnreachableError, match="scripts cannot be loaded"):
        await bench.browser.load_again(bench.plan(REVISION))
    assert bench.browser.document.version is None
    bench.standin.policy.page = "ok"
    bench.standin.whatsapp.versions.publish(NEXT)
    await bench.browser.loader.load()
    assert (bench.version.page, bench.version.served_by) == (REVISION, "store")
    assert bench.version.spent is None


async def controlled(bench: Bench) -> None:
    """Its service worker answers for the page from now on, with what it saw first."""
    await bench.js(
        "navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)"
    )
    await bench.browser.loader.load()
    assert await bench.js("navigator.serviceWorker.controller !== null")


@pytest.mark.long
async def test_a_service_worker_does_not_come_before_it(bench: Bench) -> None:
    await bench.kept()
    bench.standin.whatsapp.versions.publish(NEXT)
    await controlled(bench)
    bench.standin.documents.clear()
    await bench.browser.load_again(bench.plan(REVISION))
    assert (bench.version.page, bench.version.served_by) == (REVISION, "store")
    await bench.browser.loader.load()
    assert (bench.version.page, bench.version.served_by) == (REVISION, "store")
    assert bench.standin.documents == []


@pytest.mark.long
async def test_a_page_that_loads_itself_again_past_it_is_said_to_and_loaded_again(
    bench: Bench,
) -> None:
    """Outside of our loads its service worker is not bypassed: the pin is ineffective."""
    await bench.kept()
    bench.standin.whatsapp.versions.publish(NEXT)
    await controlled(bench)
    await bench.browser.load_again(bench.plan(REVISION))
    await bench.browser.pair(PHONE)
    bench.browser.reports.clear()
    bench.standin.phone.reload(PHONE)
    await wait_until(lambda: ("evaded", None) in bench.browser.reports, "that is said")
    assert (bench.version.page, bench.version.served_by) == (NEXT, "network")
    await bench.browser.loader.load()
    assert (bench.version.page, bench.version.served_by) == (REVISION, "store")
    assert bench.browser.reports.count(("evaded", None)) == 1


@pytest.mark.long
async def test_a_page_that_loads_itself_again_gets_it_too(bench: Bench) -> None:
    await bench.kept()
    bench.standin.whatsapp.versions.publish(NEXT)
    await bench.browser.load_again(bench.plan(REVISION))
    await bench.browser.pair(PHONE)
    bench.browser.reports.clear()
    bench.standin.phone.reload(PHONE)
    await wait_until(lambda: ("changed", "injected") in bench.browser.reports, "it is there again")
    assert (bench.version.page, bench.version.served_by) == (REVISION, "store")
    assert ("evaded", None) not in bench.browser.reports


@pytest.mark.long
async def test_only_the_page_itself_is_served(bench: Bench) -> None:
    """No frame, and no other address of the site."""
    await bench.kept()
    await bench.browser.load_again(bench.plan(REVISION))
    bench.standin.documents.clear()
    for url in ("/", "/?post_logout=1", "/?a"):
        await bench.js(f"fetch({url!r}, {{cache: 'no-store'}}).then((it) => it.text())")
    assert bench.standin.documents == ["/", "/?post_logout=1", "/?a"]
    bench.standin.documents.clear()
    frame = "const it = document.createElement('iframe'); it.src = '/'; document.body.append(it);"
    await bench.js(
        f"new Promise((done) => {{ {frame} it.onload = it.onerror = done; }}).then(() => 1)"
    )
    assert bench.standin.documents == ["/"]
    bench.standin.documents.clear()
    await bench.browser.session.navigate(f"{bench.standin.url}?post_logout=1", timeout=LONG)
    assert bench.standin.documents == ["/?post_logout=1"]


@pytest.mark.long
@pytest.mark.parametrize("damage", ["gone", "damaged", "of another site", "a header that is none"])
async def test_one_that_cannot_be_served_leaves_the_network_to_serve(
    bench: Bench, damage: str
) -> None:
    await bench.kept()
    match damage:
        case "gone":
            bench.store.discard(REVISION)
        case "damaged":
            bench.store.path(REVISION).write_bytes(b"nothing")
        case "of another site":
            await change(bench, url="https://web.example/")
        case _:
            await change(bench, headers=(("content-type", "text/html"), ("a b", "c")))
    bench.standin.whatsapp.versions.publish(NEXT)
    await bench.browser.load_again(bench.plan(REVISION))
    assert (bench.version.page, bench.version.served_by) == (NEXT, "network")
    assert bench.version.spent is None
    assert await bench.browser.link() is Link.QR_PENDING


@pytest.mark.long
async def test_what_the_page_says_counts_and_not_its_document(bench: Bench) -> None:
    """A document may name scripts of another version than its own."""
    await bench.kept()
    text, client = bench.store.load(REVISION).body.decode(), '"client_revision":'
    odd = text.replace(f"{REVISION}_main", "7_main").replace(f"{client}{REVISION}", f"{client}7")
    await change(bench, revision=7, body=odd.encode())
    await bench.browser.load_again(bench.plan(7))
    assert (bench.version.document, bench.version.page) == (7, REVISION)
    assert bench.version.served_by == "store"


@pytest.mark.long
@pytest.mark.parametrize(
    ("page", "error"),
    [
        (None, PageNotReadyError),
        (UNSUPPORTED, PageNotReadyError),
        (body(NEXT, whole=False), PageUnreachableError),
        (body(NEXT, client=5), PageUnreachableError),
        (PORTAL, PageUnreachableError),
    ],
    ids=["whole", "unsupported", "half", "contradicts", "portal"],
)
async def test_what_never_becomes_ready_is_kept_only_where_it_is_whole(
    bench: Bench, page: bytes | None, error: type[Exception]
) -> None:
    await bench.kept()
    if page is None:
        bench.standin.policy.factories = {"WAWebStreamModel": -1}
        bench.standin.whatsapp.versions.publish(NEXT)
    else:
        bench.standin.other = page
    with pytest.raises(error):
        await bench.browser.load_again(timings=LoadTimings(modules=0.5, ready=0.5, resolve=0.5))
    assert bench.store.known() == ((REVISION,) if page else (REVISION, NEXT))
    if page is None:
        assert bench.version.missing == ("Stream",)
        assert bench.store.load(NEXT).missing == ("Stream",)
