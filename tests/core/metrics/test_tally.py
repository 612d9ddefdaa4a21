"""What is counted, and that the table of metrics keeps the conventions of Prometheus."""

import re

import pytest

from tests.metrics_documentation import EVERY, TARGET, text
from waguard.core.blame import Blame
from waguard.core.metrics import families
from waguard.core.metrics.families import COUNTED, Metric
from waguard.core.metrics.tally import Count, Histogram, Tally


def test_a_histogram_counts_up_to_each_bound_included() -> None:
    it = Histogram((0.1, 1.0, 5.0))
    for value in (0.0, 0.1, 0.5, 1.0, 4.9, 5.1, 900.0):
        it.add(value)
    assert it.below() == [2, 4, 5, 7]
    assert it.sum == pytest.approx(911.6)


def test_every_series_begins_at_nothing() -> None:
    """An increase from nothing is only seen where there was a nothing."""
    tally = Tally()
    assert set(tally.series) == set(COUNTED)
    assert set(tally.series[families.HEAL]) == {(blame,) for blame in Blame}
    assert set(tally.series[families.PROBE]) == {()}
    for series in tally.series.values():
        for it in series.values():
            assert (it.value if isinstance(it, Count) else it.sum) == 0


def test_counts_and_histograms_are_added_to_by_their_labels() -> None:
    tally = Tally()
    tally.add(families.SENDS, 1, "image", "acked")
    tally.add(families.SENDS, 2, "image", "acked")
    tally.add(families.HEAL, 3.5, Blame.HOST)
    sent, healed = tally.series[families.SENDS], tally.series[families.HEAL][(Blame.HOST,)]
    assert {key: it.value for key, it in sent.items() if isinstance(it, Count) and it.value} == {
        ("image", "acked"): 3
    }
    assert isinstance(healed, Histogram)
    assert (healed.sum, healed.below()[-1]) == (3.5, 1)


def test_a_label_that_the_table_lacks_makes_no_series() -> None:
    """What a page or a receiver says is never a label."""
    tally = Tally()
    tally.add(families.SENDS, 1, "hologram", "acked")
    tally.add(families.WEBHOOK, 0.1, "9xx")
    assert ("hologram", "acked") not in tally.series[families.SENDS]
    assert ("9xx",) not in tally.series[families.WEBHOOK]


@pytest.mark.parametrize("metric", EVERY, ids=lambda it: it.name)
def test_each_metric_follows_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"waguard_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.about.endswith(".")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric in COUNTED:
        assert metric.series(), "each of its labels has known values"
        assert "session" not in metric.labels
    assert len({it.name for it in EVERY}) == len(EVERY)


def test_the_document_has_the_table() -> None:
    assert TARGET.read_text() == text(), "python -m tests.metrics_documentation writes it"
