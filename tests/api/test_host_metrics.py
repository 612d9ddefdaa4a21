"""GET /metrics of a host of a cluster; one host alone has none of it (test_metrics)."""

import subprocess
import sys

from tests.api.conftest import Api
from tests.api.fake_cluster import Pair
from tests.api.fake_sessions import SESSION
from tests.api.test_metrics import scrape, value
from tests.metrics_documentation import EVERY, OF_HOSTS
from waguard.core.cluster.unowned import Unowned


def kinds(text: bytes) -> dict[str, str]:
    """Those of waguard's."""
    lines = (line.split()[2:4] for line in text.decode().splitlines() if line.startswith("# TYPE"))
    return {name: kind for name, kind in lines if name.startswith("waguard_")}


async def test_each_of_the_table_is_in_a_scrape_of_a_cluster_and_in_no_other(
    hosts: Pair, api: Api
) -> None:
    expected = {it.name: it.kind for it in EVERY}
    assert kinds((await api.call("GET", "/metrics")).content) == expected
    found = kinds((await hosts.one.call("GET", "/metrics")).content)
    assert found == expected | {it.name: it.kind for it in OF_HOSTS}


async def test_a_host_in_numbers(hosts: Pair) -> None:
    hosts.all.change("h2", alive=False)
    hosts.all.unowned = {"s1": Unowned(70.5, "it waits"), "s2": Unowned(2.0, "it waits")}
    hosts.all.numbers = {
        "lease_left": 7.5,
        "takeovers": 3,
        "refused": 2,
        "engine_failures": 4,
        "credentials": {"s1": 0.0, SESSION: 31.5},
    }
    found = await scrape(hosts.one)
    assert value(found, "waguard_host_lease_seconds") == 7.5
    assert value(found, "waguard_host_lease_lasts_seconds") == 10
    assert (value(found, "waguard_host_sessions"), value(found, "waguard_host_room")) == (1, 5)
    assert value(found, "waguard_host_missing", host="h2") == 1
    assert value(found, "waguard_sessions_without_owner") == 2
    assert value(found, "waguard_sessions_without_owner_oldest_seconds") == 70.5
    assert value(found, "waguard_takeovers_total") == 3
    assert value(found, "waguard_refused_writes_total") == 2
    assert value(found, "waguard_engine_failures_total") == 4
    assert value(found, "waguard_credentials_age_seconds", session=SESSION) == 31.5
    assert value(found, "waguard_credentials_age_seconds", session="s1") == 0


async def test_what_is_not_known_is_absent(hosts: Pair) -> None:
    hosts.all.unowned = None
    hosts.all.numbers = {"room": None}
    found = await scrape(hosts.one)
    assert value(found, "waguard_host_room") is None
    assert not [name for name, _ in found if name.startswith("waguard_sessions_without_owner")]


async def test_a_key_for_some_sessions_gets_theirs_alone(hosts: Pair) -> None:
    hosts.all.numbers = {"credentials": {"s1": 0.0, SESSION: 31.5}}
    wanted = {"name": "one", "right": "read", "sessions": [SESSION]}
    made = await hosts.one.call("POST", "/api/keys", wanted)
    text = (await hosts.one.call("GET", "/metrics", key=made.json()["key"])).content
    assert kinds(text).keys() & {it.name for it in OF_HOSTS} == {"waguard_credentials_age_seconds"}
    assert SESSION in text.decode()
    assert 's1"' not in text.decode()


def test_one_host_alone_imports_none_of_it() -> None:
    code = (
        "import sys, waguard.daemon.root\n"
        "sys.exit('waguard.core.metrics.hosts' in sys.modules or 'waguard.core.cluster.unowned' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
