"""A host's lease, which hosts of other versions read."""

from typing import Final

from tests.golden.formats import Format
from waguard.cluster.record_format import decode, encode
from waguard.core.cluster.records import HostRecord
from waguard.core.replace import replace

RECORD: Final = HostRecord(
    format=1,
    host="a",
    incarnation="0123456789abcdef",
    number=1_234_567_890_123,
    alive=True,
    address="http://10.0.0.1:3001",
    version="1.0.0",
    room=47,
    owned=3,
    drain=False,
)

WITH_START: Final = replace(RECORD, start="0f" * 16)
WITHOUT_ALERTS: Final = replace(WITH_START, alerts=False)
SAYS_MORE: Final = replace(
    RECORD,
    lasts=10.0,
    conditions=("disk_low", "webhooks_down"),
    settings={"cluster.key_file": "0123456789ab", "webhook.url": "ba9876543210"},
)

FORMATS: Final = (
    Format(
        name="cluster/host_with_start.json",
        write=lambda _: encode(WITH_START),
        read=lambda content, _: decode(content, "a"),
        means=WITH_START,
    ),
    Format(
        name="cluster/host_without_alerts.json",
        write=lambda _: encode(WITHOUT_ALERTS),
        read=lambda content, _: decode(content, "a"),
        means=WITHOUT_ALERTS,
    ),
    Format(
        name="cluster/host.json",
        write=lambda _: encode(RECORD),
        read=lambda content, _: decode(content, "a"),
        means=RECORD,
    ),
    Format(
        name="cluster/host-conditions.json",
        write=lambda _: encode(SAYS_MORE),
        read=lambda content, _: decode(content, "a"),
        means=SAYS_MORE,
    ),
)
