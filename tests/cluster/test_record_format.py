"""A host's record as every database can keep it."""

import json

from tests.golden.host_records import RECORD
from waguard.cluster.record_format import decode, encode
from waguard.core.replace import replace


def test_any_character_set_holds_it() -> None:
    record = replace(RECORD, more={"zone": "Köln 北京"})
    assert encode(record).isascii()
    assert decode(encode(record).decode(), "a") == record


def test_what_is_known_is_not_hidden_by_what_was_kept() -> None:
    assert decode(encode(replace(RECORD, more={"alive": False})), "a") == RECORD


def test_what_another_version_writes_otherwise_is_left_out() -> None:
    written = json.loads(encode(RECORD)) | {
        "conditions": ["disk_low", 7, None],
        "settings": {"webhook.url": "0123", "lease": 4},
    }
    found = decode(json.dumps(written), "a")
    assert found.conditions == ("disk_low",)
    assert found.settings == {"webhook.url": "0123"}
    odd = decode(json.dumps(written | {"conditions": "all", "settings": []}), "a")
    assert (odd.conditions, odd.settings, odd.alive) == ((), {}, True)
