"""What the state of a partition says."""

import pytest

from tests.core.webhooks.queues import item
from waguard.core.replace import replace
from waguard.core.webhooks.partition import Partition, PartitionStage

KEY = ("s", "1@c.us")


@pytest.mark.parametrize("stage", PartitionStage)
def test_the_first_stays_while_something_is_done_about_it(stage: PartitionStage) -> None:
    busy = {"IN_FLIGHT", "LOOKUP", "SAVING", "READING"}
    assert Partition(key=KEY, stage=stage).busy is (stage.name in busy)


def test_there_is_more_where_the_database_has_more() -> None:
    known = Partition(key=KEY, newest=5, loaded=5)
    assert not known.more
    assert replace(known, loaded=4).more
    assert replace(known, requeued=True).more


def test_its_first_decides_whether_it_is_about_a_session() -> None:
    ready, message = item(1, event="session_ready"), item(2)
    assert Partition(key=KEY, waiting=(ready, message)).of_session
    assert not Partition(key=KEY, waiting=(message, ready)).of_session
    assert not Partition(key=KEY).of_session
