"""Which documents are WhatsApp's page, whole, and of one version."""

from typing import Any, Final

import pytest

from tests.documents import HTML, PORTAL, REVISION, UNSUPPORTED, URL, body
from waguard.core.versions import documents
from waguard.core.versions.documents import Refused, check, replayed

GOOD: Final[dict[str, Any]] = {
    "url": URL,
    "wanted": URL,
    "status": 200,
    "headers": HTML,
    "body": body(),
}


def test_a_whole_document_says_its_version() -> None:
    assert check(**GOOD) == REVISION
    assert check(**(GOOD | {"body": body(7)})) == 7
    assert check(**(GOOD | {"body": body(10**15 - 1)})) == 10**15 - 1
    assert check(**(GOOD | {"body": body() + b" " * ((4 << 20) - len(body()))})) == REVISION
    longest = "y" * ((1 << 18) - len("x" + "".join(*HTML)))
    assert check(**(GOOD | {"headers": (*HTML, ("x", longest))})) == REVISION


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"url": f"{URL}?post_logout=1"},
            "is of https://web.whatsapp.com/?post_logout=1, which is",
        ),
        ({"url": "https://login.example/"}, "is of https://login.example/, which is not"),
        ({"status": 302}, "came with HTTP status 302"),
        ({"headers": ()}, "is not a page: its type is missing"),
        ({"headers": (("Content-Type", "text/plain"),)}, "is not a page: its type is text/plain"),
        ({"headers": HTML + HTML}, "is not a page: its type is text/html"),
        ({"headers": (*HTML, ("x", "y" * (1 << 18)))}, "characters of headers; 262144 at most"),
        ({"body": PORTAL}, "names no version of WhatsApp Web: it may be a network's login page"),
        ({"body": b""}, "names no version of WhatsApp Web"),
        ({"body": UNSUPPORTED}, "is WhatsApp's page for browsers that it does not support"),
        ({"body": body(whole=False)}, "is not whole: its end is missing"),
        ({"body": body(client=7)}, f"contradicts itself: it names the version {REVISION}, and of"),
        ({"body": body().replace(b"client_rev", b"")}, f"it names the version {REVISION}"),
        ({"body": body(1) + body(2)}, "contradicts itself: it names the version 1 and 2, and of"),
        ({"body": b" " * (4 << 20) + body()}, f"has {(4 << 20) + len(body())} bytes; 4194304 at"),
    ],
)
def test_anything_else_is_refused_with_one_reason(changed: dict[str, Any], why: str) -> None:
    found = check(**(GOOD | changed))
    assert isinstance(found, Refused)
    assert why in found.why


def test_a_cut_document_is_refused_wherever_it_is_cut() -> None:
    whole = body()
    end = whole.index(documents.FINISHED) + len(documents.FINISHED)
    for length in range(end):
        assert isinstance(check(**(GOOD | {"body": whole[:length]})), Refused)
    assert check(**(GOOD | {"body": whole[:end]})) == REVISION


@pytest.mark.parametrize(
    ("url", "page"),
    [
        (URL, URL),
        ("https://web.whatsapp.com", URL),
        ("https://WEB.whatsapp.com:443/", URL),
        ("http://127.0.0.1:80", "http://127.0.0.1/"),
        ("https://web.whatsapp.com:8443", "https://web.whatsapp.com:8443/"),
        (f"{URL}?a", None),
        (f"{URL}#a", None),
        (f"{URL}send", None),
    ],
)
def test_only_the_page_itself_is_stored_by_the_name_that_chromium_has_for_it(
    url: str, page: str | None
) -> None:
    assert documents.page_url(url) == page


def test_headers_of_one_session_or_one_transfer_are_not_replayed() -> None:
    answered = {
        ":status": "200",
        "Content-Type": "text/html",
        "content-security-policy": "default-src 'self'\nobject-src 'none'",
        "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
        "Set-Cookie": "wa_csrf=secret",
        "Clear-Site-Data": '"storage"',
        "Content-Encoding": "br",
        "content-length": "5",
        "Transfer-Encoding": "chunked",
        "Refresh": "0",
    }
    assert replayed(answered) == (
        ("Content-Type", "text/html"),
        ("content-security-policy", "default-src 'self'"),
        ("content-security-policy", "object-src 'none'"),
        ("Cross-Origin-Opener-Policy", "same-origin-allow-popups"),
    )


@pytest.mark.parametrize(
    ("version", "revision"),
    [
        ("2.3000.1045220589", 1_045_220_589),
        ("2.3000.1045220589-alpha", 1_045_220_589),
        ("2.2412.54", 54),
        ("2.3000", None),
        ("2.3000.x", None),
        ("", None),
        (f"2.3000.{'1' * 16}", None),
    ],
)
def test_the_revision_in_whatsapps_word_for_its_version(version: str, revision: int | None) -> None:
    assert documents.revision_of_version(version) == revision


@pytest.mark.parametrize(
    ("manifest", "revision"),
    [("1045220589_main", 1_045_220_589), ("1045220589", None), ("_main", None), ("x1_main", None)],
)
def test_the_revision_in_a_manifest(manifest: str, revision: int | None) -> None:
    assert documents.revision_of_manifest(manifest) == revision
