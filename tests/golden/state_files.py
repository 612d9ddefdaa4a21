"""Files of ``paths.state``."""

import json
import lzma
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tests import documents as pages
from tests.clocks import Clock
from tests.golden.formats import Format, as_json
from waguard.core.alerts.alerts import Alert, AlertState, Destination
from waguard.core.backup_contents import LastBackup, Manifest, Member, SavedSession
from waguard.core.history import layout_of
from waguard.core.host.browser_update import Bad
from waguard.core.host.last_run import Death
from waguard.core.issued_keys import IssuedKey
from waguard.core.keys import Right
from waguard.core.proxy import parse
from waguard.core.replace import replace
from waguard.core.restored import Restored
from waguard.core.session.restart import Remembered
from waguard.core.versions import state as versions
from waguard.core.versions.facts import Arm, Evidence
from waguard.core.versions.state import (
    Acquittal,
    Confirmation,
    Good,
    Hold,
    Schedule,
    VersionState,
)
from waguard.core.versions.version_rules import VersionRules
from waguard.host.files.media import MediaFolder
from waguard.host.memory import (
    alert_memory,
    documents,
    history_file,
    key_memory,
    lived,
    proxies,
    restart_memory,
)
from waguard.host.memory.alert_memory import AlertMemory
from waguard.host.memory.documents import Document, Documents
from waguard.host.memory.history_file import HistoryFile
from waguard.host.memory.lived import LivedTime
from waguard.host.memory.restart_memory import RestartMemory
from waguard.host.memory.run_file import RunFile

BEGAN: Final = 1_790_000_000.0
DEATH: Final = Death(
    pid=4242,
    start_time=123_456,
    boot="b8f0",
    began=BEGAN,
    last_seen=BEGAN + 40,
    next_began=BEGAN + 50,
    rebooted=True,
    stopping="SIGTERM",
    error="ValueError('x')",
)
RESTARTS: Final = {"alpha": Remembered(counted=(BEGAN - 9.5, BEGAN - 1.5), restarts=7, tries=2)}
UNLINKED: Final = {"alpha": Remembered(unlinked_at=BEGAN - 3.5, unlinked_said="account_locked")}
NEW, OLD, BUNDLE, OTHER = 1_045_220_589, 1_045_000_000, "0f" * 32, "a1" * 32
PARKED: Final = {"alpha": Remembered(parked="conflict", parked_at=BEGAN - 2.5)}
VERSIONS: Final = VersionState(
    wajs=BUNDLE,
    at=BEGAN,
    newest=NEW,
    seen_at={NEW: BEGAN - 10, OLD: BEGAN - 90},
    stored=frozenset({OLD}),
    good={OLD: Good(BEGAN - 50, BUNDLE)},
    floor=1_044_000_000,
    refused=1_044_000_001,
    refused_at=BEGAN - 70,
    spent=frozenset({1_044_500_000}),
    pin=OLD,
    pinned_at=BEGAN - 5,
    hold=Hold(
        boundary=NEW,
        since=BEGAN - 20,
        evidence=Evidence.SEND_THROWS,
        confirmed=("alpha",),
        affected=("alpha", "beta"),
        reported_at=BEGAN - 19,
    ),
    canary=Schedule(BEGAN + 30, 1, ("gamma",)),
    confirmations=(
        Confirmation("alpha", Arm(NEW, BUNDLE), Arm(OLD, BUNDLE), Evidence.UNACKED, BEGAN - 21),
    ),
    acquittal=Acquittal(OLD, 2, BEGAN + 60, 5),
    suspected=NEW,
    bundles=frozenset({BUNDLE}),
    previous=OTHER,
    bundle_pause=Acquittal(NEW, 1, BEGAN + 30, 2),
    candidate=OTHER,
    bundle_canary=Schedule(BEGAN + 20, 0, ()),
    rejected={"b2" * 32: BEGAN - 80},
)
DOCUMENT: Final = Document(
    revision=pages.REVISION,
    url=pages.URL,
    at=BEGAN,
    headers=pages.HTML,
    wajs=BUNDLE,
    missing=("ChatStore",),
    body=pages.body(),
)
PROXY: Final = parse("socks5://proxy.example:1080", "me", "hunter2", mark="0123456789abcdef")
KEYS: Final = (
    IssuedKey(
        id="0a1b2c3d",
        name="shop",
        sha256="0f" * 32,
        right=Right.SEND,
        workspaces=(7,),
        sessions=("alpha",),
        expires_at=BEGAN + 60,
        created_at=BEGAN - 60,
        created_by="root by the socket",
        made_with="ffffffff",
        used_at=BEGAN - 5,
    ),
    IssuedKey(
        id="ffffffff",
        name="ani",
        sha256="1e" * 32,
        right=Right.ADMIN,
        workspaces=None,
        sessions=None,
        expires_at=None,
        created_at=BEGAN - 90,
        created_by="the application",
        ended_at=BEGAN,
        ended_by="root by the socket",
    ),
)
ALERTS: Final = AlertState(
    destinations={
        "0f1e2d3c4b5a6978": Destination(
            reported={
                "parked/conflict/alpha": Alert(
                    type="parked",
                    reason="conflict",
                    session="alpha",
                    message="WhatsApp Web is open elsewhere",
                    remedy="Close it.",
                    since=BEGAN - 90,
                    seen=BEGAN - 80,
                    ended=BEGAN,
                )
            },
            causes={"parked/conflict": BEGAN - 20},
        )
    }
)
RESTORED: Final = Restored(
    backup_at=BEGAN - 60, restored_at=BEGAN, database=True, groups=("alpha",)
)
MANIFEST: Final = Manifest(
    waguard="0.1.0",
    made_at=BEGAN,
    installation="0a1b2c3d",
    database="sqlite+aiosqlite:////var/lib/waguard/state/waguard.db",
    revision="0009",
    sessions=(
        SavedSession(
            session="alpha", workspace=7, snapshot="20261130T000000Z-abcdef", taken_at=BEGAN
        ),
        SavedSession(
            session="beta", workspace=7, why="beta is not paired: there is nothing to copy"
        ),
    ),
    members=(Member("state/api-key", 33, "0f" * 32),),
)
PICTURE: Final = b"\x89PNG\0"


def _run(folder: Path) -> bytes:
    """The file of a run that ended by an error and knows of an earlier death."""
    file = RunFile(folder, Clock())
    earlier = {**msgspec.to_builtins(DEATH)}
    before = {"pid": 1, "start_time": 1, "boot": "b8f0", "began": BEGAN - 500, "ended": True}
    file.path.write_text(json.dumps({**before, "unreported": [earlier]}))
    os.utime(file.path, (BEGAN, BEGAN))
    file.begin()
    file.stopping("SIGTERM")
    try:
        with file.ending():
            raise ValueError("x")  # noqa: TRY301 - it ends like this
    except ValueError:
        return file.path.read_bytes()


def _read_run(content: bytes, folder: Path) -> Any:
    clock = Clock()
    file = RunFile(folder, clock)
    file.path.write_bytes(content)
    os.utime(file.path, (BEGAN + 40, BEGAN + 40))
    clock.at = BEGAN + 50
    file.begin()
    *earlier, last = file.deaths
    last = replace(last, pid=4242, start_time=123_456, boot="b8f0", rebooted=False)
    return file.unreadable, [*earlier, last]


def _clock(folder: Path) -> bytes:
    clock = Clock()
    LivedTime(folder, clock).save()
    clock.at += 5_000.0  # nobody lived them
    LivedTime(folder, clock).save()
    return (folder / lived.FILE).read_bytes()


def _read_clock(content: bytes, folder: Path) -> float:
    (folder / lived.FILE).write_bytes(content)
    clock = Clock()
    clock.at += 5_010.0
    return LivedTime(folder, clock).age(clock.at - 6_000.0)


def _restarts(folder: Path, kept: Mapping[str, Remembered] = RESTARTS) -> bytes:
    RestartMemory(folder, Clock()).save(kept)
    return (folder / restart_memory.FILE).read_bytes()


def _read_restarts(content: bytes, folder: Path) -> Any:
    (folder / restart_memory.FILE).write_bytes(content)
    return RestartMemory(folder, Clock()).load()


def _keys(folder: Path) -> bytes:
    key_memory.write(folder / key_memory.FILE, KEYS)
    return (folder / key_memory.FILE).read_bytes()


def _read_keys(content: bytes, folder: Path) -> Any:
    (folder / key_memory.FILE).write_bytes(content)
    (folder / key_memory.FILE).chmod(0o600)
    return key_memory.read(folder / key_memory.FILE)


def _alerts(folder: Path) -> bytes:
    AlertMemory(folder).save(ALERTS)
    return (folder / alert_memory.FILE).read_bytes()


def _read_alerts(content: bytes, folder: Path) -> AlertState:
    (folder / alert_memory.FILE).write_bytes(content)
    return AlertMemory(folder).load()


def _history(folder: Path) -> bytes:
    file = HistoryFile(folder, Clock())
    file.write({"connected": 3.0}, {"alpha": (1e6, 1.5)})
    return lzma.compress(file.path.read_bytes())


def _read_history(content: bytes, folder: Path) -> Any:
    """What today's reader finds of the minute, and of the session."""
    (folder / history_file.FILE).write_bytes(lzma.decompress(content))
    layout, found = HistoryFile(folder, Clock()).read()
    at = Clock().at
    minute = layout.minutes.values(found, layout.minutes.span(at)) or ()
    each = layout.of_sessions.values(found, layout.of_sessions.span(at))
    return minute[layout.fleet.index("connected")], layout.sessions, each


def _series(content: bytes) -> dict[str, str]:
    return dict.fromkeys(layout_of(lzma.decompress(content)).fleet, "")


def _document(folder: Path) -> bytes:
    Documents(folder).keep(DOCUMENT)
    return Documents(folder).path(DOCUMENT.revision).read_bytes()


def _read_document(content: bytes, folder: Path) -> Document:
    Documents(folder).path(DOCUMENT.revision).write_bytes(content)
    return documents.load(Documents(folder).path(DOCUMENT.revision), DOCUMENT.revision)


def _unpacked(content: bytes) -> Any:
    line, _, body = lzma.decompress(content).partition(b"\n")
    return [msgspec.json.decode(line), body]


def _media(folder: Path) -> bytes:
    name = MediaFolder(folder).keep(PICTURE, "image/png")
    return (folder / name[:2] / f"{name}.json").read_bytes()


def _read_media(content: bytes, folder: Path) -> str | None:
    store = MediaFolder(folder)
    name = store.keep(PICTURE, "text/plain")
    (folder / name[:2] / f"{name}.json").write_bytes(content)
    found = store.find(name)
    return found and found[1]


FORMATS: Final = (
    Format(
        name="daemon/run.json",
        write=_run,
        read=_read_run,
        means=(None, [DEATH, replace(DEATH, rebooted=False)]),
        own=frozenset({"pid", "start_time", "boot"}),
    ),
    Format(name="daemon/clock.json", write=_clock, read=_read_clock, means=1_000.0),
    Format(name="daemon/restarts.json", write=_restarts, read=_read_restarts, means=RESTARTS),
    Format(
        name="daemon/restarts-unlinked.json",
        write=lambda folder: _restarts(folder, UNLINKED),
        read=_read_restarts,
        means=UNLINKED,
    ),
    Format(
        name="daemon/restarts-parked.json",
        write=lambda folder: _restarts(folder, PARKED),
        read=_read_restarts,
        means=PARKED,
    ),
    Format(
        name="daemon/versions.json",
        write=lambda _: versions.encode(VERSIONS),
        read=lambda content, _: versions.decode(content, VersionRules(), now=BEGAN),
        means=VERSIONS,
    ),
    Format(
        name="daemon/document.xz",
        write=_document,
        read=_read_document,
        means=DOCUMENT,
        decode=_unpacked,
    ),
    Format(
        name="daemon/history.xz",
        write=_history,
        read=_read_history,
        means=(3.0, ("alpha",), (1e6, 1.5)),
        decode=_series,
    ),
    Format(name="daemon/keys.json", write=_keys, read=_read_keys, means=KEYS),
    Format(
        name="daemon/proxy.json",
        write=lambda _: proxies.encode("alpha", PROXY),
        read=lambda content, _: proxies.decode(content, "alpha"),
        means=PROXY,
    ),
    Format(name="daemon/alerts.json", write=_alerts, read=_read_alerts, means=ALERTS),
    Format(name="daemon/media.json", write=_media, read=_read_media, means="image/png"),
    as_json("daemon/restored.json", RESTORED),
    as_json("daemon/chromium.json", Bad(build="331291480-1", why="no libffmpeg.so", refused=True)),
    as_json("daemon/backup.json", LastBackup(at=BEGAN, where="/backup/x.tar", missing=("beta",))),
    as_json("daemon/backup-manifest.json", MANIFEST),
)
