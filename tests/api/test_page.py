"""The status page's files: their headers, and that nothing comes from elsewhere. tests/page has the page itself."""

import gzip
import re
from pathlib import Path

import pytest

from tests.api.conftest import Api
from tests.api.fake_cluster import Pair
from waguard.api.page import UPLOT

STATIC = Path(__file__).parents[2] / "waguard/api/static"
PARTS = sorted(f"/page/{it.relative_to(STATIC / 'page')}" for it in (STATIC / "page").rglob("*.*"))
FILES = ["/", "/page.js", "/page.css", *PARTS]
KINDS = {"js": "javascript", "css": "css"}


async def test_nothing_comes_from_elsewhere(api: Api) -> None:
    answer = await api.call("GET", "/", key=None)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    for path in FILES:
        answer = await api.call("GET", path, key=None)
        assert answer.status == 200
        kind = KINDS.get(path.rpartition(".")[2], "html")
        assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"https?://|innerHTML|style=|onclick=", answer.content.decode()), path


@pytest.mark.parametrize("path", ["/", "/page.js", "/page/uplot.js"])
async def test_a_file_is_packed_and_sent_once(api: Api, path: str) -> None:
    plain = await api.call("GET", path, key=None, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    packed = await api.call("GET", path, key=None, headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content == plain.content
    assert packed.headers["ETag"] == plain.headers["ETag"]
    known = {"If-None-Match": packed.headers["ETag"]}
    again = await api.call("GET", path, key=None, headers=known)
    assert (again.status, again.content) == (304, b"")
    other = await api.call("GET", path, key=None, headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_the_page_is_small_without_uplot() -> None:
    whole = [STATIC / "page.html", STATIC / "page.js", STATIC / "page.css"]
    whole += [it for it in (STATIC / "page").rglob("*") if it.is_file()]
    of_hosts = [it for it in whole if it.stem == "hosts"]
    sizes = {it: len(gzip.compress(it.read_bytes())) for it in whole}
    of_a_cluster = sum(sizes.pop(it) for it in of_hosts)
    assert sum(sizes.values()) <= 41_890
    assert of_a_cluster <= 5_000
    assert UPLOT.is_dir()


async def test_one_host_alone_has_nothing_of_a_cluster(api: Api, hosts: Pair) -> None:
    alone = (await api.call("GET", "/", key=None)).content
    assert alone == (STATIC / "page.html").read_bytes()
    one_of_several = (await hosts.one.call("GET", "/", key=None)).content.decode()
    for part in ("<body data-cluster>", 'href="/page/hosts.css"', '<a href="#/hosts" data-whole>'):
        assert part not in alone.decode()
        assert one_of_several.count(part) == 1


@pytest.mark.parametrize("path", ["/page/none.js", "/page/views/none.js", "/page/page.html"])
async def test_what_is_no_part_of_the_page_is_not_there(api: Api, path: str) -> None:
    assert (await api.call("GET", path, key=None)).status == 404


async def test_the_page_names_the_extension_that_is_configured(api: Api) -> None:
    line = '<meta name="passkey-extension" content="%s">'
    for configured in ("", "abcdefghijklmnopabcdefghijklmnop"):
        api.configure("whatsapp", passkey_extension=configured)
        answer = await api.call("GET", "/", key=None)
        assert answer.content.decode().count(line % configured) == 1
