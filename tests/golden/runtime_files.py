"""Files of the runtime folder: the pid file, workers' records, what no daemon stored."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tests.golden.formats import Format, misread
from tests.golden.sampling import label, samples
from waguard.host.files import lock
from waguard.host.files.lock import PID_FILE, PidFile
from waguard.host.memory import incarnation_file
from waguard.host.memory.incarnation_file import KeptIncarnation
from waguard.host.process import children
from waguard.wire.events import Event
from waguard.wire.heartbeat_slots import (
    SlotBeat,
    SlotLoan,
    decode,
    decode_loan,
    encode,
    encode_loan,
)
from waguard.wire.worker import WorkerRecord
from waguard.worker.link.unstored import UnstoredEvents

RECORD: Final = WorkerRecord(
    pid=4242,
    start_time=123_456,
    boot_id="b8f0",
    instance="00112233445566ff",
    session="alpha",
    generation=3,
    profile="/var/lib/waguard/sessions/workspace_7/session-alpha",
    socket="/run/waguard/workers/0123456789ab.sock",
    protocol=7,
)
BEAT: Final = SlotBeat(4242, 3, 1_234.5, 1_234.25, unrecoverable=True)
LOAN: Final = SlotLoan(4242, 3, 1_234.5)
EVENTS: Final = samples(Event)


def _pid_file(folder: Path) -> bytes:
    held = lock.acquire(folder)
    try:
        held.publish("http://127.0.0.1:3001")
        return (folder / PID_FILE).read_bytes()
    finally:
        held.release()


def _read_pid_file(content: bytes, folder: Path) -> PidFile:
    (folder / PID_FILE).write_bytes(content)
    return lock.decoded(folder / PID_FILE)


def _read_record(content: bytes, folder: Path) -> WorkerRecord:
    (folder / "0123456789ab.json").write_bytes(content)
    ((_, record),) = children.read_records(folder)
    return record


def _unstored(folder: Path) -> bytes:
    UnstoredEvents(folder / "0123456789ab.json", 3).write(EVENTS)
    return (folder / "0123456789ab.3.unstored").read_bytes()


def _read_unstored(content: bytes, folder: Path) -> Any:
    """How many events of each kind are read; what of each, ``spoken`` compares."""
    (folder / "0123456789ab.3.unstored").write_bytes(content)
    read = UnstoredEvents(folder / "0123456789ab.json", 3).read()
    assert misread(content, list[Event], msgspec.msgpack) == []
    return [label(it) for it in read]


def _by_kind(content: bytes) -> Any:
    return {it["body"]["type"]: it for it in msgspec.msgpack.decode(content)}


def _incarnation(folder: Path) -> bytes:
    incarnation_file.write(folder, "f3a1", "h0", "9c27")
    return (folder / incarnation_file.FILE).read_bytes()


def _read_incarnation(content: bytes, folder: Path) -> Any:
    (folder / incarnation_file.FILE).write_bytes(content)
    boot = msgspec.json.decode(content)["boot_id"]
    return incarnation_file.read(folder, boot)


FORMATS: Final = (
    Format(
        name="runtime/incarnation",
        write=_incarnation,
        read=_read_incarnation,
        means=KeptIncarnation(
            cluster="f3a1",
            host="h0",
            incarnation="9c27",
            boot_id="e6353002-b508-4696-baad-e44e295f7606",
        ),
        own=frozenset({"boot_id"}),
    ),
    Format(
        name="runtime/waguard.pid",
        write=_pid_file,
        read=_read_pid_file,
        means=PidFile(
            pid=31671,
            start_time=66528,
            boot_id="e6353002-b508-4696-baad-e44e295f7606",
            api="http://127.0.0.1:3001",
            instance="a7bcb49b1f8a8368",
        ),
        own=frozenset({"pid", "start_time", "boot_id", "instance"}),
    ),
    Format(
        name="runtime/worker.json",
        write=lambda _: msgspec.json.encode(RECORD),
        read=_read_record,
        means=RECORD,
    ),
    Format(
        name="runtime/heartbeats",
        write=lambda _: encode(BEAT),
        read=lambda content, _: decode(content),
        means=BEAT,
        decode=lambda content: list(decode(content) or ()),
    ),
    Format(
        name="runtime/lent",
        write=lambda _: encode_loan(LOAN),
        read=lambda content, _: decode_loan(content),
        means=LOAN,
        decode=lambda content: list(decode_loan(content) or ()),
    ),
    Format(
        name="runtime/events.unstored",
        write=_unstored,
        read=_read_unstored,
        means=[
            f"event {kind}"
            for kind in (
                *("message", "ack", "edit", "revoke", "reaction", "call"),
                *("message_error", "undecryptable", "acquainted", "backfill_gap"),
                *("logged_out", "profile_mended"),
            )
        ],
        decode=_by_kind,
    ),
)
