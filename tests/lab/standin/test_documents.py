"""The document has what the real one has, where it is read."""

import json
import re
from typing import Any

import pytest

from waguard.lab.standin import StandIn
from waguard.lab.standin.documents import CDN, SCRIPTS
from waguard.lab.standin.versions import REVISION

from .fetching import get

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


def defined(text: str) -> dict[str, Any]:
    """What a document says of itself, by module."""
    (reported,) = re.findall(r"<script type=\"application/json\" data-sjs>(.*?)</script>", text)
    ((_, _, _, (defines,)),) = json.loads(reported)["require"]
    return {name: value for name, _, value, _ in defines}


async def test_a_document_is_of_one_revision_and_whole(standin: StandIn) -> None:
    status, headers, text = await get(standin, "/")
    assert status == 200
    assert set(re.findall(r'data-btmanifest="(\d+)_main"', text)) == {str(REVISION)}
    assert re.findall(r'"client_revision":(\d+)', text) == [str(REVISION)]
    assert "has-finished-comet-page" in text
    assert headers["content-type"].startswith("text/html")
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', text))
    assert f"'nonce-{nonce}'" in headers["content-security-policy"]
    assert "no-store" in headers["cache-control"]


async def test_what_differs_between_two_requests_is_nonce_token_time_and_cookie(
    standin: StandIn,
) -> None:
    (_, first, one), (_, second, other) = await get(standin, "/"), await get(standin, "/")
    assert first["set-cookie"] != second["set-cookie"]
    assert defined(one)["LSD"] != defined(other)["LSD"]
    assert defined(one)["SiteData"] == defined(other)["SiteData"]

    def bare(text: str) -> str:
        text = re.sub(r'nonce="[^"]+"', "", text)
        return re.sub(r'"(token|serverTime)":("[^"]+"|\d+)', "", text)

    assert one != other
    assert bare(one) == bare(other)


async def test_scripts_are_on_the_cdn_by_revision(standin: StandIn) -> None:
    _, _, text = await get(standin, "/")
    sources = re.findall(r'src="https://([^/]+)(/[^"]+)"', text)
    assert [(host, path.rpartition("/")[2]) for host, path in sources] == [
        (CDN, f"{name}.js") for name in SCRIPTS
    ]
    status, headers, _ = await get(standin, sources[0][1], CDN)
    assert (status, headers["cross-origin-resource-policy"]) == (200, "cross-origin")
    unknown = sources[0][1].replace(str(REVISION), "1")
    assert (await get(standin, unknown, CDN))[0] == 404
    assert (await get(standin, sources[0][1]))[0] == 421
    assert (await get(standin, "/", CDN))[0] == 421
