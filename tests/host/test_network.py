"""What the kernel says of default routes and links, here and in made-up files."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.host.processes import no_descriptor
from tests.ports import reserved_port
from tests.silent_names import ZONE, common_thread_is_free, silent_names
from tests.waiting import DEADLINE, wait_until
from waguard.core.fleet.network import Reading
from waguard.host.system.network import TIMINGS, Network, Timings, read, uses_proxy

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
LOCAL = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
REJECTED = DEFAULT.replace("\t0003\t", "\t0203\t")
NOTHING = "0" * 32
IPV6 = f"{NOTHING} 00 {NOTHING} 00 fd{'0' * 29}1 00000400 00000003 00000000 00000003     wlan0\n"
UNREACHABLE = f"{NOTHING} 00 {NOTHING} 00 {NOTHING} ffffffff 00000001 00000000 00200200       lo\n"


def host(
    root: Path, *, ipv4: str | None = HEAD, ipv6: str | None = None, **carriers: str
) -> Reading:
    net = root / "proc/net"
    net.mkdir(parents=True)
    for name, table in (("route", ipv4), ("ipv6_route", ipv6)):
        if table is not None:
            (net / name).write_text(table)
    for name, carrier in carriers.items():
        interface = root / "sys/class/net" / name
        interface.mkdir(parents=True)
        (interface / "carrier").write_text(carrier)
    return read(root)


def test_a_way_out(tmp_path: Path) -> None:
    found = host(tmp_path, ipv4=HEAD + LOCAL + DEFAULT, eth0="1\n", eth1="0\n")
    assert found == Reading(route=True, carrier=True)


def test_a_cable_that_was_pulled(tmp_path: Path) -> None:
    found = host(tmp_path, ipv4=HEAD + DEFAULT, eth0="0\n")
    assert found == Reading(route=True, carrier=False)


def test_one_of_two_ways(tmp_path: Path) -> None:
    found = host(tmp_path, ipv4=HEAD + DEFAULT, ipv6=IPV6, eth0="0\n", wlan0="1\n")
    assert found == Reading(route=True, carrier=True)


@pytest.mark.parametrize("table", [HEAD, HEAD + LOCAL, HEAD + REJECTED])
def test_no_default_route(tmp_path: Path, table: str) -> None:
    assert host(tmp_path, ipv4=table, ipv6=UNREACHABLE) == Reading(route=False)


def test_a_route_by_ipv6_alone_is_a_route(tmp_path: Path) -> None:
    assert host(tmp_path, ipv6=UNREACHABLE + IPV6) == Reading(route=True)


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert host(tmp_path, ipv4=None, ipv6=IPV6) == Reading()


def test_a_network_of_its_own_has_no_way_out() -> None:
    """The kernel's own words, in a namespace where only loopback is."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    code = (
        "import json; from waguard.host.system.network import read; r = read();"
        "print(json.dumps([r.route, r.carrier]))"
    )
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert json.loads(done.stdout) == [False, None]


async def answered(it: Network) -> Reading:
    await wait_until(lambda: not it.read().pending, "the address has been asked")
    return it.read()


async def test_an_address_that_accepts_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        it = Network(lambda: url, timings=Timings(answer_within=DEADLINE))
        assert it.read().pending
        assert (await answered(it)).reachable is True
        await it.close()


async def test_an_address_that_refuses_it_and_then_accepts_it() -> None:
    with reserved_port() as port:
        it = Network(
            lambda: f"http://127.0.0.1:{port}/",
            timings=Timings(ask_each=0.0, answer_within=DEADLINE),
        )
        found = await answered(it)
        assert (found.reachable, found.error) == (False, f"127.0.0.1:{port}: Connection refused")
        with socket.create_server(("127.0.0.1", port)):
            await wait_until(lambda: it.read().reachable, "it is asked again")
        await it.close()


async def test_an_address_that_cannot_be_asked_is_not_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        it = Network(lambda: url, timings=Timings(ask_each=0.0, answer_within=DEADLINE))
        assert (await answered(it)).reachable
        with no_descriptor():
            await wait_until(lambda: it.read().reachable is None, "it was asked again")
        assert it.read().error is None
        await it.close()


async def test_what_is_no_name_says_nothing_of_the_network() -> None:
    it = Network(lambda: f"https://{'a' * 70}.example/", timings=Timings(answer_within=DEADLINE))
    found = await answered(it)
    assert (found.reachable, found.error) == (None, None)
    await it.close()


async def test_an_address_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", never)
    it = Network(lambda: "https://192.0.2.1/", timings=Timings(answer_within=0.01))
    found = await answered(it)
    assert (found.reachable, found.error) == (
        False,
        "192.0.2.1:443 does not answer within 0.01 s",
    )
    later = time.monotonic() + TIMINGS.forgotten_after + 1
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: later)
        assert it.read().pending, "an answer of long ago says nothing of now"
    await it.close()


async def test_a_name_that_nobody_answers_for_takes_one_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timings = Timings(ask_each=0.0, answer_within=0.05)
    with silent_names(monkeypatch) as names:
        it = Network(lambda: f"https://web{ZONE}/", timings=timings)
        said = f"web{ZONE}:443 does not answer within 0.05 s"
        for _ in range(3):
            it.read()
            assert it._asking
            await it._asking
            assert it.read().error == said
        await wait_until(lambda: names.asked, "its thread has begun")
        assert names.asked == [f"web{ZONE}"]
        assert await common_thread_is_free()
        await it.close()


async def test_a_reload_of_the_address_is_an_answer_of_the_new_one() -> None:
    with reserved_port() as port, socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{port}/"
        it = Network(lambda: url)
        assert (await answered(it)).reachable is False
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert it.read().pending
        assert (await answered(it)).reachable is True
        await it.close()


async def test_behind_a_proxy_nothing_is_asked_also_of_one_that_a_reload_sets() -> None:
    with reserved_port() as port:
        arguments: list[str] = []
        it = Network(lambda: f"http://127.0.0.1:{port}/", lambda: arguments)
        assert (await answered(it)).reachable is False
        arguments.append("--proxy-server=a")
        assert it.read() == read()
        await it.close()
    assert uses_proxy(["--proxy-server=a"], {})
    assert uses_proxy([], {"https_proxy": "http://a"})
    assert not uses_proxy(["--headless"], {"https_proxy": ""})
