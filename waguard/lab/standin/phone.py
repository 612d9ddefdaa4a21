"""The human with the phone: scans codes, writes and reads messages, unlinks browsers, breaks things. By HTTP."""

import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec.structs import asdict

from waguard.lab.standin.accounts import Device
from waguard.lab.standin.happenings import Happenings
from waguard.lab.standin.limits import Limits, Lock, Way
from waguard.lab.standin.notices import Notices
from waguard.lab.standin.passkeys import ORIGIN
from waguard.lab.standin.refusal import Refusal, refusal_of
from waguard.lab.standin.releases import Break, Named, Publish, Releases
from waguard.lab.standin.whatsapp import WhatsApp

PHONE = "6281180001"  # the number of the person who scans, when nothing else is said

SERVERS = ("c.us", "g.us", "lid", "broadcast", "newsletter")

Number = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6,15}$")]
Block = Literal["TOS_BLOCK", "SMB_TOS_BLOCK", "PROXYBLOCK", "DEPRECATED_VERSION", "NONE"]

# why a browser cannot decrypt a message: because keys are missing (a placeholder without a subtype), as it was not
# sent to this device, as it never will be; subtypes of WhatsApp Web
Placeholder = Literal["e2e", "fanout", "view_once_unavailable_fanout"]


class Media(msgspec.Struct, forbid_unknown_fields=True):
    mimetype: str
    base64: str
    filename: str = ""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What every request may say: whose phone."""

    phone: Number = PHONE


class Scan(Request, kw_only=True):
    code: str


class Pair(Request, kw_only=True):
    phone: Number
    code: str


class Incoming(Request, kw_only=True):
    from_: str = msgspec.field(name="from")
    body: str = ""
    name: str = ""
    type: str = ""
    media: Media | None = None
    author: str = ""
    chat: str = ""
    timestamp: int | None = None
    sealed: Placeholder | Literal[""] = ""
    """The browsers cannot decrypt it: "Waiting for this message"."""
    attributes: dict[str, Any] = {}
    """Further ones, or others in place of what would be right."""


class Decrypt(Request, kw_only=True):
    id: str
    way: Literal["event", "silent", "stored", "again"] = "event"


class Written(Request, kw_only=True):
    to: str
    body: str = ""
    type: str = ""
    media: Media | None = None
    timestamp: int | None = None


class Receipt(Request, kw_only=True):
    id: str
    ack: Literal[2, 3, 4]
    reader: str = ""


class Migrate(Request, kw_only=True):
    number: Number
    lid: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6,20}$")]
    known: bool = True


class Group(Request, kw_only=True):
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9-]+@g\.us$")]
    participants: list[str]
    admin: bool = False


class Reveal(Request, kw_only=True):
    number: Number


class Edit(Request, kw_only=True):
    id: str
    body: str


class Revoke(Request, kw_only=True):
    id: str


class React(Request, kw_only=True):
    id: str
    text: str = "👍"
    from_: str = msgspec.field(name="from", default="")


class Vote(Request, kw_only=True):
    id: str
    options: list[int]
    from_: str = msgspec.field(name="from", default="")


class Call(Request, kw_only=True):
    from_: str = msgspec.field(name="from")
    video: bool = False
    group: bool = False


class Unlink(Request, kw_only=True):
    reason: Literal["unknown_companion", "account_locked"] = "unknown_companion"


class Drop(Request, kw_only=True):
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class NeedsUpdate(Request, kw_only=True):
    over: bool = False


class Passkey(Request, kw_only=True):
    options: dict[str, Any]
    """Those of the request, as JSON has them."""
    origin: str = ORIGIN
    verified: bool = True


class Timelock(Request, kw_only=True):
    way: Way = "refuse"
    seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    undated: bool = False
    over: bool = False


class BlockAccount(Request, kw_only=True):
    kind: Block = "TOS_BLOCK"


R = TypeVar("R", bound=msgspec.Struct)


def _convert(body: dict[str, Any], kind: type[R]) -> R:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise refusal_of(error, body) from None


def _wid(text: str, field: str) -> str:
    """`text` as a chat or user id: a bare number is a person."""
    wid = f"{text}@c.us" if text.isdigit() else text
    user, _, server = wid.partition("@")
    if not user or "_" in user or server not in SERVERS:
        raise Refusal(
            400, f"{text!r} is not a WhatsApp id", "give a number, or …@c.us, …@g.us", field, text
        )
    return wid


class Phone:
    """What the person can do; each method is one POST. Raises Refusal with a remedy."""

    def __init__(self, whatsapp: WhatsApp, limits: Limits | None = None) -> None:
        self.whatsapp = whatsapp
        self._limits = limits or Limits(whatsapp)
        self._happenings = Happenings(whatsapp)
        self._notices = Notices(whatsapp, self._each)
        self.releases = Releases(whatsapp)

    def scan(self, code: str, phone: str = PHONE) -> dict[str, Any]:
        return self.whatsapp.linking.scan(code, phone).to_json()

    def pair(self, phone: str, code: str) -> dict[str, Any]:
        return self.whatsapp.linking.pair(phone, code).to_json()

    def incoming(self, phone: str = PHONE, **fields: Any) -> dict[str, str]:
        """A message to the account; `fields` as in `Incoming` (from_, body, …)."""
        request = {"phone": phone} | {k.rstrip("_"): v for k, v in fields.items()}
        return self._incoming(_convert(request, Incoming))

    def _incoming(self, request: Incoming) -> dict[str, str]:
        self.whatsapp.linked(request.phone)
        sender = _wid(request.author or request.from_, "author" if request.author else "from")
        chat = _wid(request.chat or request.from_, "chat" if request.chat else "from")
        attributes: dict[str, Any] = {
            "type": request.type or "chat",
            "body": request.body,
            "t": int(time.time()) if request.timestamp is None else request.timestamp,
            "notifyName": request.name,
        }
        if request.media is not None:
            attributes |= self._file(request.media, request)
        attributes |= request.attributes
        name = request.name if chat == sender else ""
        sealed = request.sealed
        message_id = self.whatsapp.incoming(
            request.phone, sender, chat, attributes, name, sealed=sealed
        )
        return {"id": message_id}

    def decrypt(self, id: str, way: str = "event", phone: str = PHONE) -> dict[str, str]:  # noqa: A002
        """A message that came ``sealed`` becomes readable: ``way`` as in ``Decrypt``."""
        return self._decrypt(_convert({"phone": phone, "id": id, "way": way}, Decrypt))

    def _decrypt(self, request: Decrypt) -> dict[str, str]:
        known = self.whatsapp.messages.get(request.phone, {}).values()
        for message in known:
            if request.id in (message.id, message.id.split("_")[2]) and message.sealed:
                self.whatsapp.decrypt(request.phone, message.id, request.way)
                return {"id": message.id}
        error = f"{request.phone} has no undecryptable message {request.id}"
        raise Refusal(409, error, "write one with sealed first", "id", request.id)

    def write(self, to: str, phone: str = PHONE, **fields: Any) -> dict[str, str]:
        """A message from the phone itself to somebody; `fields` as in `Written` (body, …)."""
        return self._write(_convert({"phone": phone, "to": to} | fields, Written))

    def _write(self, request: Written) -> dict[str, str]:
        chat = _wid(request.to, "to")
        attributes: dict[str, Any] = {
            "type": request.type or "chat",
            "body": request.body,
            "t": int(time.time()) if request.timestamp is None else request.timestamp,
        }
        if request.media is not None:
            attributes |= self._file(request.media, request)
        return {"id": self.whatsapp.written(request.phone, chat, attributes)}

    def _file(self, media: Media, request: Incoming | Written) -> dict[str, Any]:
        try:
            data = base64.b64decode(media.base64, validate=True)
        except ValueError:
            raise Refusal(
                400, "media.base64 is not base64", "encode the file's bytes", "media"
            ) from None
        name = base64.b64encode(hashlib.sha256(data).digest()).decode()
        self.whatsapp.media[name] = data
        family = media.mimetype.split("/")[0]
        file = {
            "type": request.type
            or (family if family in ("image", "video", "audio") else "document"),
            "mimetype": media.mimetype,
            "size": len(data),
            "filehash": name,
            "body": "",
        }
        return (
            file
            | ({"caption": request.body} if request.body else {})
            | ({"filename": media.filename} if media.filename else {})
        )

    def receipt(self, id: str, ack: int, phone: str = PHONE, reader: str = "") -> dict[str, Any]:  # noqa: A002 - the field's name
        known = self.whatsapp.messages.get(phone, {})
        matches = [
            m for m in known.values() if id in (m.id, m.id.split("_")[2]) and m.direction == "out"
        ]
        if not matches:
            raise Refusal(
                409, f"{phone} never sent a message {id}", "see GET /messages for the ids", "id", id
            )
        who = _wid(reader, "reader") if reader else ""
        self.whatsapp.receipt(phone, matches[0].id, ack, who)
        return matches[0].to_json()

    def migrate(
        self, number: str, lid: str, phone: str = PHONE, *, known: bool = True
    ) -> dict[str, str]:
        """The account's chat with a number becomes that of a LID, or of another LID; not ``known``:
        the page does not know yet whose it is."""
        self.whatsapp.migrate(phone, f"{number}@c.us", f"{lid}@lid", known=known)
        return {"chat": f"{lid}@lid"}

    def group(
        self,
        id: str,  # noqa: A002
        participants: list[str],
        phone: str = PHONE,
        *,
        admin: bool = False,
    ) -> dict[str, Any]:
        """The account is in this group of theirs: numbers, or LIDs where it is addressed by them."""
        people = tuple(_wid(one, "participants") for one in participants)
        self.whatsapp.gather(phone, id, people, admin=admin)
        return {"id": id, "participants": people}

    def reveal(self, number: str, phone: str = PHONE) -> dict[str, str]:
        """Now it can."""
        if f"{number}@c.us" not in self.whatsapp.lids_of(phone).current:
            error, remedy = f"{number} has no LID for {phone}", "migrate its chat first"
            raise Refusal(409, error, remedy, "number", number)
        self.whatsapp.reveal(phone, f"{number}@c.us")
        return {"number": number}

    def edit(self, id: str, body: str, phone: str = PHONE) -> dict[str, str]:  # noqa: A002
        return {"id": self._happenings.edit(phone, id, body)}

    def revoke(self, id: str, phone: str = PHONE) -> dict[str, str]:  # noqa: A002
        return {"id": self._happenings.revoke(phone, id)}

    def react(self, id: str, text: str, from_: str = "", phone: str = PHONE) -> dict[str, str]:  # noqa: A002
        sender = _wid(from_, "from") if from_ else ""
        return {"id": self._happenings.react(phone, id, text, sender)}

    def vote(
        self,
        id: str,  # noqa: A002
        options: list[int],
        from_: str = "",
        phone: str = PHONE,
    ) -> dict[str, str]:
        sender = _wid(from_, "from") if from_ else ""
        return {"id": self._happenings.vote(phone, id, options, sender)}

    def call(
        self, from_: str, phone: str = PHONE, *, video: bool = False, group: bool = False
    ) -> dict[str, str]:
        sender = _wid(from_, "from")
        return {"id": self._happenings.call(phone, sender, video=video, group=group)}

    def unlink(self, phone: str = PHONE, reason: str = "unknown_companion") -> dict[str, Any]:
        def unlink(device: Device) -> None:
            device.is_linked = False
            device.queue.clear()
            if device.page is not None:
                device.page.send({"type": "logged_out", "reason": reason})

        return self._each(phone, unlink)

    def conflict(self, phone: str = PHONE) -> dict[str, Any]:
        """Another client takes the stream; the page gets it back by taking over, or by starting again."""

        def conflict(device: Device) -> None:
            page, device.page, device.conflict = device.page, None, True
            if page is not None:
                page.send({"type": "conflict"})

        return self._each(phone, conflict)

    def drop(self, phone: str = PHONE, seconds: float = 0.0) -> dict[str, Any]:
        def drop(device: Device) -> None:
            device.refused_until = time.monotonic() + seconds
            page, device.page = device.page, None
            if page is not None:
                page.close()

        return self._each(phone, drop)

    def needs_update(self, phone: str = PHONE, *, over: bool = False) -> dict[str, Any]:
        return self._notices.needs_update(phone, over=over)

    def passkey(
        self,
        options: dict[str, Any],
        phone: str = PHONE,
        *,
        origin: str = ORIGIN,
        verified: bool = True,
    ) -> dict[str, Any]:
        """The account's passkey signs a request; ``verified``: after it checked its person."""
        passkeys = self.whatsapp.linking.passkeys
        return passkeys.sign(options, phone, origin=origin, verified=verified)

    def ghost(self, phone: str = PHONE) -> dict[str, Any]:
        return self._notices.ghost(phone)

    def reload(self, phone: str = PHONE) -> dict[str, Any]:
        return self._notices.reload(phone)

    def spin(self, phone: str = PHONE) -> dict[str, Any]:
        return self._notices.spin(phone)

    def modal(self, phone: str = PHONE) -> dict[str, Any]:
        return self._notices.modal(phone)

    def block(self, phone: str = PHONE, kind: str = "TOS_BLOCK") -> dict[str, Any]:
        """From now on the account's browsers are turned away; kind NONE ends it."""

        def block(device: Device) -> None:
            device.block = "" if kind == "NONE" else kind
            page, device.page = device.page, None
            if page is not None and device.block:
                page.send({"type": "block", "kind": kind})

        return self._each(phone, block)

    def timelock(
        self,
        phone: str = PHONE,
        way: Way = "refuse",
        *,
        seconds: float | None = None,
        undated: bool = False,
        over: bool = False,
    ) -> dict[str, Any]:
        """First contacts of the account are refused or dropped, until ``over``. Its browsers are notified of:
        the end after ``seconds``, or that there is one (``undated``), or nothing."""
        if over:
            return self._limits.lock(phone, None)
        named = 0.0 if undated else None if seconds is None else time.time() + seconds
        return self._limits.lock(phone, Lock(way, named))

    def _each(self, phone: str, act: Callable[[Device], None]) -> dict[str, Any]:
        devices = self.whatsapp.linked(phone)
        for device in devices:
            act(device)
        return {"devices": [d.to_json() for d in devices]}

    def state(self) -> dict[str, Any]:
        accounts = {
            phone: [d.to_json() for d in devices]
            for phone, devices in self.whatsapp.devices.items()
        }
        return {
            "accounts": accounts,
            "codes": len(self.whatsapp.linking.refs),
            "lost": list(self.whatsapp.lost),
        }

    def messages(self, phone: str = PHONE) -> list[dict[str, Any]]:
        groups = self.whatsapp.groups.get(phone, {})
        return [
            m.to_json() | m.mentions(groups.get(m.chat))
            for m in self.whatsapp.messages.get(phone, {}).values()
        ]


_POSTS: dict[str, tuple[type[msgspec.Struct], Callable[[Phone, Any], dict[str, Any]]]] = {
    "scan": (Scan, lambda p, r: p.scan(r.code, r.phone)),
    "pair": (Pair, lambda p, r: p.pair(r.phone, r.code)),
    "incoming": (Incoming, lambda p, r: p._incoming(r)),  # noqa: SLF001
    "decrypt": (Decrypt, lambda p, r: p._decrypt(r)),  # noqa: SLF001
    "write": (Written, lambda p, r: p._write(r)),  # noqa: SLF001
    "receipt": (Receipt, lambda p, r: p.receipt(r.id, r.ack, r.phone, r.reader)),
    "migrate": (Migrate, lambda p, r: p.migrate(r.number, r.lid, r.phone, known=r.known)),
    "group": (Group, lambda p, r: p.group(r.id, r.participants, r.phone, admin=r.admin)),
    "reveal": (Reveal, lambda p, r: p.reveal(r.number, r.phone)),
    "edit": (Edit, lambda p, r: p.edit(r.id, r.body, r.phone)),
    "revoke": (Revoke, lambda p, r: p.revoke(r.id, r.phone)),
    "vote": (Vote, lambda p, r: p.vote(r.id, r.options, r.from_, r.phone)),
    "react": (React, lambda p, r: p.react(r.id, r.text, r.from_, r.phone)),
    "call": (Call, lambda p, r: p.call(r.from_, r.phone, video=r.video, group=r.group)),
    "unlink": (Unlink, lambda p, r: p.unlink(r.phone, r.reason)),
    "conflict": (Request, lambda p, r: p.conflict(r.phone)),
    "drop": (Drop, lambda p, r: p.drop(r.phone, r.seconds)),
    "needs-update": (NeedsUpdate, lambda p, r: p.needs_update(r.phone, over=r.over)),
    "passkey": (
        Passkey,
        lambda p, r: p.passkey(r.options, r.phone, origin=r.origin, verified=r.verified),
    ),
    "ghost": (Request, lambda p, r: p.ghost(r.phone)),
    "reload": (Request, lambda p, r: p.reload(r.phone)),
    "spin": (Request, lambda p, r: p.spin(r.phone)),
    "modal": (Request, lambda p, r: p.modal(r.phone)),
    "timelock": (
        Timelock,
        lambda p, r: p.timelock(r.phone, r.way, seconds=r.seconds, undated=r.undated, over=r.over),
    ),
    "block": (BlockAccount, lambda p, r: p.block(r.phone, r.kind)),
    "publish": (
        Publish,
        lambda p, r: p.releases.publish(r.revision, r.way, r.broken_for, r.served_to),
    ),
    "break": (Break, lambda p, r: p.releases.breaks(r.revision, r.way, r.broken_for)),
    "expire": (Named, lambda p, r: p.releases.expire(r.revision)),
    "refuse": (Named, lambda p, r: p.releases.refuse(r.revision)),
}


def phone_app(phone: Phone) -> web.Application:
    """POST each action with a JSON body; GET /state, /messages?phone=, /versions, /policy; PUT /policy. Errors are JSON."""
    policy = phone.whatsapp.policy

    async def post(request: web.Request) -> web.Response:
        kind, act = _POSTS[request.path[1:]]
        body = await _body(request)
        return web.json_response(act(phone, _convert(body, kind)))

    async def state(_request: web.Request) -> web.Response:
        return web.json_response(phone.state())

    async def messages(request: web.Request) -> web.Response:
        for name, value in request.query.items():
            if name != "phone":
                raise Refusal(400, f"unknown parameter {name!r}", "only phone=", name, value)
        return web.json_response(phone.messages(request.query.get("phone", PHONE)))

    async def versions(_request: web.Request) -> web.Response:
        return web.json_response(phone.releases.all())

    async def show_policy(_request: web.Request) -> web.Response:
        return web.json_response(asdict(policy))

    async def put_policy(request: web.Request) -> web.Response:
        policy.update(await _body(request))
        return web.json_response(asdict(policy))

    app = web.Application(middlewares=[_say_refusals], client_max_size=1 << 28)
    app.add_routes([web.post(f"/{name}", post) for name in _POSTS])
    app.add_routes([web.get("/state", state), web.get("/messages", messages)])
    app.add_routes([web.get("/versions", versions)])
    app.add_routes([web.get("/policy", show_policy), web.put("/policy", put_policy)])
    return app


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    try:
        body = json.loads(text or "{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is not a JSON object", 'send one, as {"phone": "…"}')
    return body


@web.middleware
async def _say_refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.to_json(), status=refusal.status)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        reads = ["GET /state", "GET /messages", "GET /versions", "GET|PUT /policy"]
        ways = [*(f"POST /{n}" for n in _POSTS), *reads]
        answer = Refusal(
            error.status, f"no {request.method} {request.path}", f"one of: {', '.join(ways)}"
        )
        return web.json_response(answer.to_json(), status=error.status)
