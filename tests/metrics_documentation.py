"""Writes docs/metrics.md: the table of metrics from ``core/metrics/families.py``.

``python -m tests.metrics_documentation`` writes it; a test compares.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from waguard.core.metrics import families, hosts
from waguard.core.metrics.families import Metric

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs/metrics.md"
EVERY: Final = [it for it in vars(families).values() if isinstance(it, Metric)]
OF_HOSTS: Final = list(hosts.EVERY)
"""Only in a cluster."""
MANY: Final = 6  # values of a label that are shown
HEAD: Final = """# Metrics, alerts, dashboard
<!-- written by python -m tests.metrics_documentation; the table is core/metrics/families.py -->
`GET /metrics` is for Prometheus. What is not known is absent, and not 0: while the database has not been read there is no
`waguard_sessions`. Counters begin with 0 at each start of the daemon.

    scrape_configs:
      - job_name: waguard
        authorization: {credentials_file: /etc/prometheus/waguard-key}
        static_configs: [{targets: ["127.0.0.1:3001"]}]
    rule_files: [/usr/share/waguard/waguard.rules.yml]

The key is an [issued](keys.md) one: `waguard keys create prometheus --right read`. A key for some workspaces or sessions gets their
series alone, and nothing that is about the daemon as a whole.

/usr/share/waguard (`make install`: /usr/local/share/waguard) has a dashboard that Grafana imports (`etc/grafana`), and these alerts
(`etc/prometheus`), which expect the job's name `waguard`:

| alert | when | severity |
|---|---|---|
| WaguardDown | a scrape fails for 2 min | critical |
| WaguardNeedsPerson | a condition that waguard cannot end by itself, for 5 min; a missing host has its own alert | critical |
| WaguardSessionsUnknown | waguard answers and does not know its sessions, for 5 min | critical |
| WaguardSessionsUnhealthy | a tenth of the sessions is not connected although they should be, for 10 min | warning |
| WaguardSendsFail | a tenth of the sends is not sent or uncertain, for 10 min | warning |
| WaguardWebhooksLate | a receiver's oldest webhook has waited for 15 min, for 5 min | warning |
| WaguardHostMissing | a host of a [cluster](cluster.md) is down and was not taken out in order, for 2 min; once for all that see it | critical |
| WaguardHostLeaseLow | less than half of a host's lease is left, for 1 min | critical |
| WaguardSessionsWithoutHost | a session has had no host of the cluster for 5 min | critical |

Beside the metrics below there are Prometheus's usual ones of the daemon's process: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_open_fds`, `process_max_fds`,
`process_start_time_seconds`. A histogram has the series `_bucket`, `_sum` and `_count`, and never the label `session`.

| metric | kind | labels | meaning |
|---|---|---|---|
"""
TAIL: Final = """
In a [cluster](cluster.md), beside these:

| metric | kind | labels | meaning |
|---|---|---|---|
"""


def text() -> str:
    """The whole document."""
    return HEAD + _rows(EVERY) + TAIL + _rows(OF_HOSTS)


def _rows(metrics: Iterable[Metric]) -> str:
    return "".join(f"{_row(it)}\n" for it in metrics)


def _row(it: Metric) -> str:
    labels = "; ".join(_label(name, list(values)) for name, values in it.labels.items())
    return f"| `{it.name}` | {it.kind} | {labels} | {it.about} |"


def _label(name: str, values: list[str]) -> str:
    return f"{name}: {', '.join(values)}" if 0 < len(values) <= MANY else name


if __name__ == "__main__":
    TARGET.write_text(text())
