"""One of each message that daemon and worker say."""

from typing import Any, Final

from waguard.core.link import Link
from waguard.wire.calls import (
    Acks,
    Ask,
    Call,
    CatchUp,
    Exists,
    Failed,
    FetchFile,
    MarkSeen,
    PairingCode,
    PasskeyAnswer,
    PasskeyCancel,
    PasskeyConfirm,
    PasskeyRequest,
    PasskeyStart,
    RefreshQr,
    Reload,
    Reread,
    Screenshot,
    SendContent,
    SendFile,
    SendMedia,
    SendText,
    SendViewOnce,
    Sent,
    SetLog,
    ShowTyping,
    TakeOver,
    Unlink,
    Value,
)
from waguard.wire.events import (
    Ack,
    Acquainted,
    BackfillGap,
    Edit,
    Event,
    InboundMessage,
    IncomingCall,
    LoggedOut,
    MessageError,
    ProfileMended,
    Reaction,
    Revoke,
    Undecryptable,
)
from waguard.wire.protocol import Hello, Lend, Reply, Request, StartBrowser, Stop, Stored
from waguard.wire.reports import Heartbeat, PageVersion, QrCode, Report
from waguard.wire.worker import LogSettings

TEXT: Final = SendText(
    chat="6281@c.us", text="hé\0llo 👋", message_id="true_6281@c.us_3EB0", timeout=30
)
MEDIA: Final = SendMedia(
    chat="6281@c.us",
    content=bytes(range(256)) * 300,
    mimetype="image/png",
    kind="image",
    message_id="true_6281@c.us_3EB1",
    timeout=30,
    caption="see",
)
FILE: Final = SendFile(
    chat="6281@c.us",
    content=b"",
    file="/var/lib/waguard/state/outgoing/0f/" + "0f" * 32,
    size=100 << 20,
    mimetype="application/pdf",
    kind="document",
    message_id="true_6281@c.us_3EB2",
    timeout=230,
    filename="a.pdf",
)
REACTION: Final = SendContent(
    chat="6281@c.us",
    kind="reaction",
    content={"text": "👍"},
    target="false_6281@c.us_3A",
    message_id="true_6281@c.us_3EB3",
    timeout=30,
)
PLACE: Final = '{"location":{"latitude":1,"longitude":2}}'
MESSAGE: Final = InboundMessage(
    id="false_6281@c.us_3A",
    chat="1@g.us",
    sender="6281@c.us",
    to="6282@c.us",
    body="",
    timestamp=1_732_233_600,
    from_me=False,
    kind="image",
    media=b"\x89PNG",
    size=4,
    content=PLACE,
)
CALLS: Final[tuple[Call, ...]] = (
    *(TEXT, MEDIA, FILE, PairingCode(phone="6281"), RefreshQr(), Unlink(), Screenshot()),
    *(REACTION, MarkSeen(chat="6281@c.us"), ShowTyping(chat="1@g.us", state="paused")),
    SendViewOnce(**{name: getattr(MEDIA, name) for name in MEDIA.__struct_fields__}),
    Exists(chat="6281@c.us"),
    Ask(name="add", given='["1@g.us", ["6281@c.us"]]', timeout=30, changes=True),
    CatchUp(since={"6281@c.us": 1_732_233_600}, floor=0, fresh=True),
    Acks(ids=("true_6281@c.us_3EB0",)),
    Reread(ids=("false_6281@c.us_3EB0",), aliases={"false_6281@c.us_3EB0": ("7@lid",)}),
    *(PasskeyStart(), PasskeyConfirm(code="ABCD-1234"), PasskeyCancel(request="r")),
    PasskeyAnswer(request="r", assertion={"id": "i", "response": {"userHandle": None}}),
    FetchFile(message_id="false_6281@c.us_3EB0", folder="/f", limit=128 << 20, timeout=316),
    *(Reload(), TakeOver(), SetLog(log=LogSettings(level="DEBUG"))),
)
WHO: Final[dict[str, Any]] = {"chat": "1@g.us", "sender": "6281@c.us", "timestamp": 1_732_233_600}
TO_WORKER: Final = (
    Hello(protocol=1, instance="f00d", session="a", generation=3, lends=True),
    Lend(until=12_345.5),
    StartBrowser(),
    *(Request(id=number, call=call) for number, call in enumerate(CALLS)),
    Stored(seq=2**40),
    Stop(),
)
TO_DAEMON: Final = (
    Report(session="a", generation=3, phase="loading", link=Link.UNKNOWN),
    Report(
        session="a",
        generation=3,
        phase="ready",
        link=Link.QR_PENDING,
        browser_pid=42,
        qr=QrCode(raw="2@abc", count=2, expires_at=1_732_233_600.5),
        qr_idle=True,
        details="more",
        proxy="0123456789abcdef",
    ),
    Report(
        session="a",
        generation=3,
        phase="closing",
        link=Link.CONNECTED,
        version=PageVersion(
            page=1_045_220_589,
            document=1_045_220_589,
            wajs="0f" * 32,
            wajs_version="4.6.0",
            served_by="store",
            missing=("ChatStore",),
            spent="HTTP 404",
        ),
    ),
    Report(session="a", generation=3, phase="settling", link=Link.CONNECTED, files=True),
    Heartbeat(devtools=0.001, page=None),
    Event(seq=1, at=1_732_233_600.5, body=MESSAGE),
    Event(seq=2, at=0.0, body=Ack(ids=("true_6281@c.us_3EB0",), chat="6281@c.us", ack=-1)),
    Event(seq=3, at=0.0, body=LoggedOut(reason=None)),
    Event(seq=4, at=0.0, body=ProfileMended(done=("a",), grave=True)),
    Event(seq=5, at=0.0, body=Edit(id="e", message_id="m", body="hé 👋", **WHO)),
    Event(seq=6, at=0.0, body=Revoke(id="r", message_id="m", **WHO)),
    Event(seq=7, at=0.0, body=Reaction(id="x", message_id="m", text="", **WHO)),
    Event(seq=8, at=0.0, body=IncomingCall(id="c", video=True, group=False, **WHO)),
    Event(
        seq=9,
        at=0.0,
        body=MessageError(what="ack", id=None, chat="", error="e", raw='{"a": 1}', digest="d"),
    ),
    Event(seq=10, at=0.0, body=BackfillGap(chat="1@g.us", why="w", since=None)),
    Event(
        seq=11,
        at=0.0,
        body=Acquainted(pairs=(("7@lid", "6281@c.us"),), asked=(("6281@c.us", True),)),
    ),
    Event(seq=12, at=0.0, body=Undecryptable(id="false_1@g.us_1", **WHO)),
    Reply(id=1, outcome=Sent(outcome="sent", message_id="m", timestamp=1)),
    Reply(
        id=2,
        outcome=Value(
            content=b"\x89PNG",
            flag=False,
            passkey=PasskeyRequest(request="r", options="{}", left=599.5),
            answer='{"é": 1}',
            messages=(MESSAGE,),
            before="m",
        ),
    ),
    Reply(id=3, outcome=Failed(kind="not_ready", error="QR")),
)
