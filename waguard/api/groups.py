"""/api/sessions/:id/groups: groups as the session's page has them, and what may be changed of them."""

from typing import Annotated, Any, ClassVar, Final, TypeVar

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.asking import Found, Part, Person, ask, named, people_of
from waguard.api.fields import Kind, SessionId
from waguard.api.route import Done, OfSession, route
from waguard.core.keys import Right
from waguard.core.messages.message_ids import GROUP
from waguard.errors import UncertainError
from waguard.wire.bounds import AtSecond, Chat, Count, Name, Word, Words

PARTICIPANTS_LIMIT: Final = 50  # of one request
NAME_LIMIT: Final = 100  # characters; WhatsApp's own
INVITATION: Final = "https://chat.whatsapp.com/"


def _group(value: Any, field: str) -> str:
    found = fields.chat_id(value, field)
    if not found.endswith(GROUP):
        raise fields.bad(field, value, "not a group", "<id>@g.us")
    return found


def _participants(value: Any, field: str) -> tuple[str, ...]:
    given = value if isinstance(value, list) else []
    found = tuple(dict.fromkeys(fields.chat_id(one, field) for one in given[:PARTICIPANTS_LIMIT]))
    if not 0 < len(given) <= PARTICIPANTS_LIMIT or any(one.endswith(GROUP) for one in found):
        allowed = f"a list of 1 to {PARTICIPANTS_LIMIT} numbers"
        raise fields.bad(field, len(given), f"invalid {field}", allowed)
    return found


def _name(value: Any, field: str) -> str:
    found = fields.text(value, field)
    if len(found) > NAME_LIMIT:
        raise fields.bad(field, value, f"{field} is too long", f"at most {NAME_LIMIT} characters")
    return found


GroupId = Annotated[
    str,
    Kind(_group),
    Meta(
        pattern=r"^[0-9]{5,25}(-[0-9]{5,15})?@g\.us$|^[0-9]{16,25}$",
        description="the id of a group",
        examples=["120363000000000001@g.us"],
    ),
]
PersonId = Annotated[
    str, Meta(pattern=r"^\+?[0-9]{5,15}$|^[0-9]{5,15}@(c\.us|s\.whatsapp\.net)$|^[0-9]{5,20}@lid$")
]
Participants = Annotated[
    tuple[PersonId, ...],
    Kind(_participants),
    Meta(min_length=1, max_length=PARTICIPANTS_LIMIT, description="people: numbers or chat ids"),
]
GroupName = Annotated[str, Kind(_name), Meta(min_length=1, max_length=NAME_LIMIT, pattern=r"\S")]


class Group(Struct, kw_only=True):
    """A group of the list; ``members`` null: the page does not know how many."""

    id: Chat
    name: Name | None
    timestamp: AtSecond | None
    members: Count | None


class Groups(OfSession, kw_only=True):
    """Groups that the page has, the last active first; ``total`` counts all."""

    total: int
    groups: list[Group]


@route(Right.READ, 409)
async def listing(request: web.Request, session_id: SessionId, query: Part) -> Groups:
    """List the session's groups, as its page has them."""
    found = await ask(request, session_id, "groups", query.given(), into=Found[Group])
    return Groups(session_id=session_id, total=found.total, groups=found.items)


class Member(Person, kw_only=True):
    """A member of a group."""

    is_admin: bool
    is_owner: bool


class WholeGroup(Struct, kw_only=True):
    """A group; ``is_admin``: the session's account is one. Of a very large one not all are ``members``."""

    id: Chat
    name: Name | None
    description: Words | None
    owner: Chat | None
    created_at: AtSecond | None
    is_admin: bool
    total: Count
    members: list[Member]


class GroupShown(OfSession, kw_only=True):
    """A group with its members."""

    group: WholeGroup


@route(Right.READ, 404, 409)
async def show(request: web.Request, session_id: SessionId, group_id: GroupId) -> GroupShown:
    """A group with its members."""
    group = await ask(request, session_id, "group", group_id, into=WholeGroup)
    people = await people_of(request, session_id)
    group.members = named(group.members, people)
    group.owner = group.owner and people.number(group.owner)
    return GroupShown(session_id=session_id, group=group)


class _InviteFound(Struct, kw_only=True):
    code: Word | None


class Invite(OfSession, kw_only=True):
    """What lets anybody join; null: WhatsApp gave none."""

    id: str
    code: str | None
    url: str | None


@route(Right.SEND, 404, 409, 422)
async def invite(request: web.Request, session_id: SessionId, group_id: GroupId) -> Invite:
    """The code by which anybody may join, where the account is an admin."""
    code = (await ask(request, session_id, "invite", group_id, into=_InviteFound)).code
    url = f"{INVITATION}{code}" if code else None
    return Invite(session_id=session_id, id=group_id, code=code, url=url)


class Participant(Person, kw_only=True):
    """What WhatsApp says of one person: ``code`` is its own (200: done, 403: only an invitation is possible)."""

    code: int | None
    invite_code: Word | None


class _Changed(Struct, kw_only=True):
    id: Chat
    participants: list[Participant]


class GroupChanged(OfSession, kw_only=True):
    """The group was changed."""

    id: str
    participants: list[Participant]


class GroupCreated(GroupChanged, kw_only=True):
    """The group was created."""

    STATUS: ClassVar[int] = 201


G = TypeVar("G", bound=GroupChanged)


class ChangeUncertain(Done, kw_only=True):
    """The change may have been done: it must not be repeated."""

    STATUS: ClassVar[int] = 202
    success: bool = False
    outcome: str = "uncertain"
    error: str
    remedy: str


class NewGroup(Struct, kw_only=True):
    """The group to create."""

    name: GroupName
    participants: Participants


class ParticipantList(Struct, kw_only=True):
    """Who is added or removed."""

    participants: Participants


@route(Right.SEND, 409, 422)
async def create(
    request: web.Request, session_id: SessionId, body: NewGroup
) -> GroupCreated | ChangeUncertain:
    """Create a group."""
    return await _changed(
        request, session_id, "create", body.name, body.participants, into=GroupCreated
    )


@route(Right.SEND, 404, 409, 422)
async def add(
    request: web.Request, session_id: SessionId, group_id: GroupId, body: ParticipantList
) -> GroupChanged | ChangeUncertain:
    """Add people to a group, where the account may do that."""
    return await _changed(
        request, session_id, "add", group_id, body.participants, into=GroupChanged
    )


@route(Right.SEND, 404, 409, 422)
async def remove(
    request: web.Request, session_id: SessionId, group_id: GroupId, body: ParticipantList
) -> GroupChanged | ChangeUncertain:
    """Remove people from a group, where the account is an admin."""
    return await _changed(
        request, session_id, "remove", group_id, body.participants, into=GroupChanged
    )


async def _changed(
    request: web.Request, session_id: str, name: str, *given: Any, into: type[G]
) -> G | ChangeUncertain:
    people = await people_of(request, session_id)  # before: after a change nothing may fail or wait
    try:
        found = await ask(request, session_id, name, *given, into=_Changed, changes=True)
    except UncertainError as error:
        return ChangeUncertain(error=error.message, remedy=error.remedy or "do not repeat it")
    participants = named(found.participants, people)
    return into(session_id=session_id, id=found.id, participants=participants)
