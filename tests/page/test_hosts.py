"""The view of a cluster's hosts in a real Chromium, and that one host alone has nothing of it."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.api.conftest import Api, serving
from tests.api.fake_cluster import Everything, FakeHost, cluster_of
from tests.api.fake_sessions import DOWN, a_view
from tests.page.browser import PHONE, WIDE, Page
from tests.page.scene import condition
from tests.page.test_every_view import CHEAP, SCHEMES, view
from tests.page.test_fleet import know
from tests.worker.browser_fixtures import LONG
from waguard.api.timings import Limits, Timings
from waguard.core.cluster.unowned import Unowned
from waguard.messaging.timings import BOUNDS
from waguard.worker.browser.chromium import Chromium

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

LONG_NAME: Final = "whatsapp-gateway-production-" + "eu-central-1-" * 6 + "blue.internal.example"
ELSEWHERE: Final[dict[str, Any]] = {
    "lifecycle": "elsewhere",
    "link": "unknown",
    "worker_pid": None,
    "usage": None,
    "restarts": 0,
    "elsewhere": True,
}
"""Of a view of another host's session."""


@dataclass
class Hosts:
    """A page of the host ``a``, and what it knows of the cluster."""

    api: Api
    host: FakeHost
    all: Everything

    def add(self, *names: str, **changes: object) -> None:
        """Hosts that live."""
        for name in names:
            self.all.add(name, f"http://{name}:3001")
            self.all.change(name, **changes)

    def has(self, session: str, host: str | None, **changes: Any) -> None:
        """A host has the session; None: no living one has."""
        own = host == "a"
        self.api.sessions.known[session] = a_view(
            session_id=session, **({} if own else ELSEWHERE) | changes
        )
        if host:
            self.all.owners[session] = host


@pytest_asyncio.fixture(loop_scope="module")
async def hosts(tmp_path: Path) -> AsyncIterator[Hosts]:
    everything = Everything()
    host = FakeHost("a", everything)
    join: Callable[[str], Any] = partial(cluster_of, host)
    async with serving(tmp_path, Timings(), Limits(), BOUNDS, join=join) as world:
        know(world)
        yield Hosts(world, host, everything)


@pytest_asyncio.fixture(loop_scope="module")
async def seen(hosts: Hosts, chromium: Chromium) -> AsyncIterator[Page]:
    """A tab of that host's page."""
    await chromium.devtools.open_blank(timeout=LONG)
    session = await chromium.devtools.open_page(LONG)
    page = Page(session, hosts.api.base)
    yield page
    found = page.errors()
    await chromium.devtools.close_page(session)
    assert found == []


def three(hosts: Hosts) -> None:
    """Three hosts, of which one is down, and sessions of each."""
    hosts.add("b", "c")
    hosts.all.change("a", owned=2, room=8)
    hosts.all.change("b", owned=9, room=1, conditions=("disk_low",), version="1.1")
    hosts.all.change("c", alive=False, owned=3, room=7)
    hosts.has("shop_1", "a")
    hosts.has("shop_2", "b")
    hosts.has("shop_3", None)
    hosts.has("shop_4", None, **DOWN | {"lifecycle": "elsewhere"})
    why = "its host c is down; no host has room for it"
    hosts.all.unowned = {"shop_3": Unowned(61.0, why), "shop_4": Unowned(5.0, why)}


async def rows(shown: Page) -> list[str]:
    """What each host's row says."""
    found: list[str] = await shown.value(
        "$$('#hosts tbody tr').map((it) => it.innerText.replace(/\\s+/g, ' ').trim())"
    )
    return found


async def test_each_host_is_shown_as_it_is(hosts: Hosts, seen: Page) -> None:
    three(hosts)
    await seen.show("#/hosts")
    await seen.says("2 of 3 hosts live, with 11 sessions.")
    a, b, c = await rows(seen)
    assert a.startswith("a (this one)")
    assert "Alive lease: 10 s left 2 sessions room for 8 more 1.0 Drain" in a
    assert "disk low" in b
    assert "not that of this host" in b
    assert "Down silent for 1 s" in c
    assert "Start waguard there" in c
    assert "Drain" not in c
    widths = "$$('#hosts .bar:not([hidden]) > span').map((it) => it.style.width)"
    assert await seen.value(widths) == ["20%", "90%"], "one that is down has none"
    await seen.says("2 sessions run nowhere now.")
    await seen.says("Its host c is down; no host has room for it.")
    assert await seen.value("$$('#without .names a').map((it) => it.hash)") == [
        *("#/session/shop_3", "#/session/shop_4")
    ]


async def test_a_host_is_drained_and_let_take_sessions_again(hosts: Hosts, seen: Page) -> None:
    three(hosts)
    await seen.show("#/hosts")
    await seen.press("Drain a")
    await seen.says("It takes no session until somebody ends this.")
    await seen.key("Escape")
    await seen.until("!$('dialog')", "it is closed")
    assert hosts.host.asked == []
    await seen.press("Drain a")
    await seen.confirm("a")
    await seen.says("2 sessions are still to move.")
    assert hosts.host.asked == [("drain", False)]
    hosts.all.change("a", owned=0)
    await seen.press("End drain a")
    await seen.until("$('[data-host=a] .badge').innerText === 'Alive'", "it takes sessions")
    assert hosts.host.asked[-1] == ("drain", True)


async def test_a_session_is_moved(hosts: Hosts, seen: Page) -> None:
    hosts.add("b", "full")
    hosts.all.change("full", room=0)
    hosts.has("shop_1", "a")
    await seen.show("#/session/shop_1")
    await seen.says("a has it.")
    await seen.until("$('#move-to option')", "another host has room")
    assert await seen.value("$$('#move-to option').map((it) => it.value)") == ["b"]
    await seen.enter("Move", "#moving")
    await seen.says("it is away for some seconds")
    await seen.confirm("shop_1")
    await seen.says("It moves.")
    assert hosts.host.asked == [("move", "shop_1", "b")]


async def test_the_sessions_of_all_hosts_are_listed_with_theirs(hosts: Hosts, seen: Page) -> None:
    three(hosts)
    await seen.show("#/")
    await seen.says("2 of 4 connected")
    await seen.until("$$('#rows tr').length === 4", "all are shown")
    assert await seen.value(
        "$$('#rows tr').map((it) => [it.dataset.session, it.querySelector('.badge').innerText,"
        " /· (host \\w)/.exec(it.innerText)?.[1] ?? null])"
    ) == [
        ["shop_3", "No host", None],
        ["shop_4", "No host", None],
        ["shop_1", "Connected", "host a"],
        ["shop_2", "Connected", "host b"],
    ]
    await seen.says("Its host c is down; no host has room for it")
    await seen.says("Beside this host: b: disk low. Hosts")
    await seen.key("/", "/")
    await seen.write("b")
    await seen.until("$$('#rows tr').length === 1", "those of one host")


async def test_what_the_key_may_not_is_absent(hosts: Hosts, seen: Page) -> None:
    three(hosts)
    made = await hosts.api.call("POST", "/api/keys", {"name": "eyes", "right": "operate"})
    await seen.show("#/hosts", made.json()["key"])
    await seen.until("$$('#hosts tbody tr').length === 3", "the hosts are shown")
    assert await seen.value("$$('main button').length") == 0
    await seen.value("(location.hash = '#/session/shop_1', 0)")
    await seen.says("Nothing is wrong.")
    assert not await seen.value("Boolean($('#moving'))")


async def test_a_key_for_some_sessions_sees_no_hosts(hosts: Hosts, seen: Page) -> None:
    three(hosts)
    wanted = {"name": "one", "right": "admin", "sessions": ["shop_2"]}
    made = await hosts.api.call("POST", "/api/keys", wanted)
    await seen.show("#/", made.json()["key"])
    await seen.says("host b")
    assert not await seen.value("$('[href=\"#/hosts\"]').checkVisibility()")


async def test_a_session_of_another_host_is_read_from_there(
    hosts: Hosts, seen: Page, tmp_path: Path
) -> None:
    three(hosts)
    why = condition("shop_2", "parked", "WhatsApp blocks it", "See the phone.", reason="blocked")
    hosts.all.owners["shop_2"] = "b"
    said = a_view(session_id="shop_2", status="failed", lifecycle="parked", conditions=(why,))
    hosts.api.sessions.known["shop_2"] = a_view(session_id="shop_2", **ELSEWHERE)
    (tmp_path / "b").mkdir()
    join = partial(cluster_of, FakeHost("b", hosts.all))
    async with serving(tmp_path / "b", Timings(), Limits(), BOUNDS, join=join) as there:
        there.sessions.known = {"shop_2": said}
        await seen.show("#/session/shop_2")
        await seen.says("WhatsApp blocks it")
        await seen.says("b has it.")


async def test_what_is_not_known_is_said(hosts: Hosts, seen: Page) -> None:
    hosts.all.unowned = None
    hosts.all.without_owner = None
    await seen.show("#/hosts")
    await seen.says("Which these are is unknown: the database does not answer.")
    hosts.all.records.clear()
    hosts.all.unowned = {}
    hosts.api.bus.publish("incident", None, None, {"kind": "engine_away", "reason": "away"})
    await seen.says("No host has a lease yet")
    assert not await seen.value("$('#hosts').checkVisibility()")


def many(hosts: Hosts) -> None:
    """20 hosts, one with a long name, and 300 sessions, of which 40 have none."""
    names = [LONG_NAME, *(f"wg-{number:02}" for number in range(2, 20))]
    hosts.add(*names, owned=13, room=7)
    hosts.all.change("a", owned=13, room=7)
    hosts.all.change("wg-03", drain=True, owned=4)
    hosts.all.change("wg-04", alive=False)
    hosts.all.change("wg-05", alive=False, drain=True)
    hosts.all.change("wg-06", room=0, owned=20, conditions=("disk_low", "no_room", "webhooks_down"))
    hosts.all.change("wg-07", drain=True, owned=0)
    hosts.all.change(
        LONG_NAME, version="1.4.0.dev+build.20261130.abcdef", conditions=("hosts_differ",)
    )
    why = (
        "its host wg-04 is down; no host has room for it",
        "it is on its way to wg-08; a host takes it over within seconds",
    )
    hosts.all.unowned = {}
    for number in range(300):
        name = f"webjs_4_1732240003_{number:08}"
        if number < 40:
            hosts.has(name, None)
            hosts.all.unowned[name] = Unowned(100.0 + number, why[number < 3])
        else:
            hosts.has(name, ["a", *names][number % 20])


SCENES: Final[dict[str, Callable[[Hosts], None]]] = {
    "one": lambda _: None,
    "three": three,
    "many": many,
}
VIEWS: Final = {
    "hosts": ("#/hosts", "$$('#hosts tbody tr').length"),
    "fleet": ("#/", "$('#search')"),
    "session": ("#/session/shop_1", "$('#moving p').innerText && $('#moving .line')"),
    "nowhere": ("#/session/shop_3", "$('#moving p').innerText"),
}
"""The fragment of each, and what is there when it is drawn."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "scene",
    # what the others have is a part of it, or in test_every_view
    ["three", *(pytest.param(it, marks=pytest.mark.long) for it in SCENES if it != "three")],
)
@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        pytest.param(size, scheme, marks=() if (size, scheme) == CHEAP else pytest.mark.long)
        for size in (WIDE, PHONE)
        for scheme in SCHEMES
    ],
)
async def test_it_can_be_read_and_reached(
    hosts: Hosts, seen: Page, tmp_path: Path, scene: str, size: tuple[int, int], scheme: str
) -> None:
    """``WAGUARD_HOSTS`` names a folder for its pictures."""
    folder = Path(os.environ.get("WAGUARD_HOSTS", tmp_path))
    SCENES[scene](hosts)
    seen.expected = ("status of 503",)  # what only the host of a session knows
    await seen.size(*size)
    await seen.scheme(scheme)
    found = []
    for name, (fragment, drawn) in VIEWS.items():
        if (name == "fleet" and scene == "one") or (scene != "three" and "session" in fragment):
            continue
        await view(seen, fragment, "")
        await seen.until(drawn, name)
        await seen.picture(folder / f"{scene}-{name}-{size[0]}-{scheme}.png")
        if overflow := await seen.overflow():
            found.append(f"{name}: {overflow} px are to be scrolled to the side")
        if scene == "many" and name == "fleet":
            continue  # 300 rows of what test_every_view has
        found += [f"{name}: {it}" for it in await seen.axe()]
        reached, wanted = await seen.order()
        found += [f"{name}: Tab does not reach {it}" for it in wanted if it not in reached]
    assert not found, "\n".join(found)


async def test_one_host_alone_loads_nothing_of_it(api: Api, shown: Page) -> None:
    know(api, a_view(session_id="shop_1"))
    await shown.show("#/session/shop_1")
    await shown.says("Nothing is wrong.")
    loaded = "performance.getEntriesByType('resource').map((it) => it.name)"
    assert not await shown.value(
        f"{loaded}.some((it) => /host|elsewhere/.test(new URL(it).pathname + new URL(it).search))"
    )
    assert not await shown.value("Boolean($('#moving, [href=\"#/hosts\"]'))")
    await shown.value("(location.hash = '#/hosts', 0)")
    await shown.until("document.body.dataset.view === 'fleet'", "there is no such view")
    assert "host" not in (await shown.value("$('#rows').innerText")).lower()
