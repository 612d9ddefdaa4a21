"""The alerts and the dashboard ask for what a scrape has, and for its labels."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.api.fake_cluster import Pair
from tests.metrics_documentation import EVERY, OF_HOSTS

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "etc/prometheus/waguard.rules.yml"
DASHBOARD: Final = ROOT / "etc/grafana/waguard.json"
NAME: Final = re.compile(r"\b(?:waguard|process)_[a-z_]+\b|\bup\b")
SELECTOR: Final = re.compile(r"\b((?:waguard|process)_[a-z_]+|up)(?:\{([^}]*)\})?")
GIVEN: Final = frozenset({"job", "instance", "le"})
"""Labels that Prometheus adds, and that of a histogram."""


def expressions() -> Iterator[tuple[str, str]]:
    """Where each is, and the expression."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    yield from re.findall(
        r"- alert: (\w+)\s+expr: (?:>-\s+)?(.*?)\n +for:", RULES.read_text(), re.DOTALL
    )


def labels_of(metric: str) -> frozenset[str]:
    base = re.sub("_(bucket|sum|count)$", "", metric)
    found = [it.labels for it in (*EVERY, *OF_HOSTS) if it.name in {metric, base}]
    return frozenset(found[0]) if found else frozenset()


def test_there_are_nine_alerts_and_each_panel_has_a_title_and_a_place() -> None:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    assert len({it["title"] for it in panels}) == len({it["id"] for it in panels}) == len(panels)
    places = {(it["gridPos"]["x"], it["gridPos"]["y"]) for it in panels}
    assert len(places) == len(panels)
    assert all(it["gridPos"]["x"] + it["gridPos"]["w"] <= 24 for it in panels)
    where = [it for it, _ in expressions()]
    assert len({it for it in where if it.startswith("Waguard")}) == RULES.read_text().count(
        "alert:"
    )
    assert RULES.read_text().count("alert:") == 9


async def test_each_metric_that_is_asked_for_is_in_a_scrape(hosts: Pair) -> None:
    text = (await hosts.one.call("GET", "/metrics")).content.decode()
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    there = {"up", *types}
    for name, kind in types.items():
        there |= {f"{name}_{it}" for it in ("bucket", "count", "sum") if kind == "histogram"}
    for where, expr in expressions():
        asked = set(NAME.findall(expr))
        assert asked, where
        assert asked <= there, where


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_each_label_that_is_asked_for_is_one_of_its_metric(where: str, expr: str) -> None:
    all_of_it: set[str] = set()
    for metric, matchers in SELECTOR.findall(expr):
        known = labels_of(metric) | GIVEN
        all_of_it |= known
        assert set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", matchers)) <= known, (where, metric)
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
        assert {it.strip() for it in group.split(",")} <= all_of_it, where


def test_the_alerts_are_due_when_they_are_to_be(tmp_path: Path) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is missing: apt-get install promtool")
    story = tmp_path / "rules.test.yml"
    text = Path(__file__).with_name("waguard.rules.test.yml").read_text()
    story.write_text(text.replace("[RULES]", json.dumps([str(RULES)])))
    for command in (("check", "rules", "--lint-fatal", RULES), ("test", "rules", story)):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_promtool_has_no_complaint_about_a_scrape(hosts: Pair) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is missing: apt-get install promtool")
    text = (await hosts.one.call("GET", "/metrics")).content
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
