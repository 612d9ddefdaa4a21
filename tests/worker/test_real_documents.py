"""Documents that WhatsApp served in summer 2026, with the network away: nothing here reaches WhatsApp."""

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.documents import HTML, URL
from tests.worker.browser_session import LONG
from waguard.core.versions.documents import FINISHED, Refused, check_body
from waguard.host.memory.documents import Document, Documents
from waguard.wire.worker import StoredDocument
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, find_executable, launch
from waguard.worker.page import wajs
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.page_errors import PageUnreachableError
from waguard.worker.page.page_loader import PageLoader
from waguard.worker.timings import TIMINGS

PACKAGE: Final = Path(__file__).parent / "wa-version/node_modules/@wppconnect/wa-version/html"
COUNT: Final = 442
OPENED: Final = 20
MISNAMED: Final = 9
AWAY: Final = (
    r"WhatsApp's scripts cannot be loaded"
    r" \(static\.whatsapp\.net: ([1-9]\d*) of \1, ERR_NAME_NOT_RESOLVED\)"
)
FILE_LIMIT: Final = 150 << 10  # bytes

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PACKAGE.is_dir(), reason="the package is installed by make test-long"),
]


def real() -> list[Path]:
    return sorted(PACKAGE.glob("*.html"))


def some() -> list[Path]:
    """The oldest, the newest, and what lies between in equal steps."""
    found = real()
    return [found[number * (len(found) - 1) // (OPENED - 1)] for number in range(OPENED)]


def test_the_version_is_read_in_each_of_them() -> None:
    read, odd = 0, []
    for path in real():
        evaluated = check_body(path.read_bytes())
        assert isinstance(evaluated, int), (path.name, evaluated)
        read += 1
        if str(evaluated) not in path.name:
            odd.append(path.name)
    assert (read, len(odd)) == (COUNT, MISNAMED)


def test_half_of_one_is_refused() -> None:
    for path in some():
        whole = path.read_bytes()
        for end in (len(whole) // 4, len(whole) // 2, whole.index(FINISHED)):
            assert isinstance(check_body(whole[:end]), Refused)


def document(path: Path) -> Document:
    body = path.read_bytes()
    revision = check_body(body)
    assert isinstance(revision, int)
    return Document(revision=revision, url=URL, at=0.0, headers=HTML, body=body)


def test_they_are_kept_small_and_come_back_as_they_were(tmp_path: Path) -> None:
    store = Documents(tmp_path)
    for path in some():
        made = document(path)
        store.keep(made)
        assert store.load(made.revision) == made
        assert store.path(made.revision).stat().st_size < FILE_LIMIT


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    """Nothing is found by name."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        spec = ChromiumSpec(
            executable=find_executable(None, "chromium"),
            flavour="chromium",
            profile=folder / "profile",
            tmpdir=folder / "t",
            extra_args=("--host-resolver-rules=MAP * ~NOTFOUND",),
            sandbox=os.geteuid() != 0,
        )
        made = await launch(spec, timeout=LONG)
        yield made
        await made.close(grace=LONG)


@pytest.mark.chromium
async def test_that_the_cdn_is_away_is_said_of_each(chromium: Chromium, tmp_path: Path) -> None:
    store = Documents(tmp_path)
    for number, path in enumerate(some()):
        made = document(path)
        store.keep(made)
        stored = StoredDocument(revision=made.revision, path=str(store.path(made.revision)))
        await chromium.devtools.open_blank(timeout=LONG)
        session = await chromium.devtools.open_page(LONG)
        opened = PageDocument(URL, serve=stored, folder=str(tmp_path))
        loader = PageLoader(
            session,
            url=URL,
            bundle=wajs.bundle(None),
            report=lambda *_: None,
            document=opened,
            timings=TIMINGS.load,
        )
        with pytest.raises(PageUnreachableError, match=AWAY) as raised:
            await loader.open()
        assert raised.value.refusal
        there = "document.querySelector('[data-btmanifest]').dataset.btmanifest"
        assert await session.evaluate(there, timeout=LONG) == f"{made.revision}_main"
        assert opened.version is None  # it is not spent: nobody answered
        counted = "localStorage.opened = Number(localStorage.opened ?? 0) + 1"
        assert await session.evaluate(counted, timeout=LONG) == number + 1
        loader.close()
        await chromium.devtools.close_page(session)
