"""What daemon and worker say to each other, and the words of both."""

import base64
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.golden.formats import KEPT, Format, as_json, misread
from tests.golden.sampling import label, samples
from waguard.core.cluster.forwarded_request import (
    ForwardedRequest,
    corrected,
    correction,
    digest,
    opened,
    sealed,
)
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.wire import forking
from waguard.wire.protocol import PROTOCOL, FromDaemon, FromWorker
from waguard.wire.worker import WorkerSpec

SAID: Final = {
    **{f"daemon: {label(it)}": it for it in samples(FromDaemon)},
    **{f"worker: {label(it)}": it for it in samples(FromWorker)},
}
"""One of each message of today."""


def _messages(folder: Path) -> bytes:
    del folder
    encoded = {
        name: base64.b64encode(msgspec.msgpack.encode(it)).decode() for name, it in SAID.items()
    }
    return msgspec.json.format(msgspec.json.encode(encoded), indent=1)


def frames(content: bytes) -> dict[str, bytes]:
    """The frames of a golden file, by who said what."""
    return {name: base64.b64decode(it) for name, it in msgspec.json.decode(content).items()}


def _misread(content: bytes, folder: Path) -> dict[str, list[str]]:
    """By message: what today's daemon or worker loses of it."""
    del folder
    kinds = {"worker": FromWorker, "daemon": FromDaemon}
    found = {
        name: misread(frame, kinds[name.partition(":")[0]], msgspec.msgpack)
        for name, frame in frames(content).items()
    }
    return {name: losses for name, losses in found.items() if losses}


def _as_values(content: bytes) -> Any:
    return {name: msgspec.msgpack.decode(frame) for name, frame in frames(content).items()}


def protocols() -> dict[int, bytes]:
    """The golden files of all protocols, by number."""
    return {int(path.stem): path.read_bytes() for path in (KEPT / "wire").glob("[0-9]*.json")}


SHARED_KEY: Final = bytes(range(32))
FORWARDED: Final = ForwardedRequest(
    method="POST",
    target="/api/messages/send?async=1",
    to="http://10.0.0.2:3001",
    at=1_732_233_600.5,
    nonce="00112233445566778899aabbccddeeff",
    caller=Caller(
        name="shop",
        right=Right.SEND,
        workspaces=frozenset({7}),
        sessions=frozenset({"shop_1"}),
        key="ab12cd34",
        expires_at=1_732_300_000.0,
    ),
    on_socket=True,
    client="192.0.2.7",
)


FORWARDED_2: Final = replace(
    FORWARDED,
    start="0123456789abcdef0123456789abcdef",
    content=digest(b"{}", content_type="application/json", idempotency_key="order-1"),
)


def _sealed_fields(content: bytes) -> Any:
    return msgspec.json.decode(base64.urlsafe_b64decode(content.split(b".")[1]))


(SPEC,) = samples(WorkerSpec)
FORMATS: Final = (
    Format(
        name="cluster/forwarded_request",
        write=lambda _: sealed(FORWARDED, SHARED_KEY).encode(),
        read=lambda content, _: opened(content.decode(), SHARED_KEY),
        means=FORWARDED,
        decode=_sealed_fields,
    ),
    Format(
        name="cluster/forwarded_request_2",
        write=lambda _: sealed(FORWARDED_2, SHARED_KEY).encode(),
        read=lambda content, _: opened(content.decode(), SHARED_KEY),
        means=FORWARDED_2,
        decode=_sealed_fields,
    ),
    Format(
        name="cluster/correction",
        write=lambda _: correction(FORWARDED.nonce, "0f" * 16, SHARED_KEY).encode(),
        read=lambda content, _: corrected(content.decode(), FORWARDED_2, SHARED_KEY),
        means=replace(FORWARDED_2, start="0f" * 16),
        decode=bytes.decode,
    ),
    Format(
        name=f"wire/{PROTOCOL}.json",
        write=_messages,
        read=_misread,
        means={},
        decode=_as_values,
        grows=True,
    ),
    as_json("wire/spec.json", SPEC),
    as_json("wire/fork.json", forking.Fork(number=3)),
    as_json("wire/forked.json", forking.Forked(number=3, pid=4, error=5)),
)
