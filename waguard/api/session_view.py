"""A session and its conditions, as replies have them."""

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from waguard.api import fields
from waguard.api.route import Reply
from waguard.core import blame
from waguard.ports.sessions import SessionView

MB: Final = 1 << 20


class Condition(Struct, kw_only=True):
    """What is wrong, or a person should know, and what to do about it."""

    session_id: str | None
    type: str
    blame: str
    reason: str
    message: str
    remedy: str
    since: str
    until: str | None
    expires_in: int | None
    stage: str | None
    unattended_until: str | None
    unattended_expires_in: int | None
    degrades: bool
    needs_person: bool


def condition(it: blame.Condition) -> Condition:
    """As replies have it."""
    left, unattended = it.expires_in, it.unattended_expires_in
    return Condition(
        session_id=it.session,
        type=it.type,
        blame=it.blame,
        reason=it.reason,
        message=it.message,
        remedy=it.remedy,
        since=fields.iso(round(it.since)),
        until=fields.second(it.until),
        expires_in=None if left is None else round(left),
        stage=it.stage,
        unattended_until=fields.second(it.unattended_until),
        unattended_expires_in=None if unattended is None else round(unattended),
        degrades=it.degrades,
        needs_person=it.needs_person,
    )


class LoadedVersion(Struct, kw_only=True):
    """What a page is loaded with."""

    page: int | None
    document: int | None
    served_by: str
    wajs: str | None
    wajs_version: str | None
    missing: tuple[str, ...]


class Undecryptable(Struct, kw_only=True):
    """Messages that WhatsApp Web could not decrypt so far."""

    count: int
    since: str | None


class Sentinel(Struct, kw_only=True):
    """The newest message of the session to its own number."""

    at: str
    seconds: float
    error: str | None


class Session(Reply, kw_only=True):
    """A session. ``success`` is there after a change, ``unlinked`` after a logout; false: WhatsApp did not hear of it, so
    remove the device on the phone."""

    success: bool | UnsetType = UNSET
    unlinked: bool | UnsetType = UNSET
    session_id: str
    workspace_id: int
    status: str
    phone_number: str | None
    connected_at: str | None
    last_activity: str | None
    lifecycle: str
    link: str
    disconnect_reason: str | None
    disconnect_details: str | None
    worker_pid: int | None
    browser_pid: int | None
    restarts: int
    cpu_percent: float | None
    memory_mb: float | None
    version: LoadedVersion | None
    waiting: str | None
    degraded: str | None
    conditions: list[Condition]
    undecryptable: Undecryptable
    sentinel: Sentinel | UnsetType = UNSET
    removed_at: str | None
    host: str | UnsetType | None = UNSET
    """Only where there are several hosts, of a status: the living one that has it; null: none."""


def shown(
    view: SessionView,
    *,
    success: bool | UnsetType = UNSET,
    unlinked: bool | UnsetType = UNSET,
    host: str | UnsetType | None = UNSET,
) -> Session:
    """A session alone, with what ops want to know."""
    used, loaded, tried = view.usage, view.version, view.sentinel
    return Session(
        success=success,
        unlinked=unlinked,
        session_id=view.session_id,
        workspace_id=view.workspace_id,
        status=view.status,
        phone_number=view.phone_number,
        connected_at=fields.moment(view.connected_at),
        last_activity=fields.moment(view.last_activity),
        lifecycle=view.lifecycle,
        link=view.link,
        disconnect_reason=view.disconnect_reason,
        disconnect_details=view.disconnect_details,
        worker_pid=view.worker_pid,
        browser_pid=view.browser_pid,
        restarts=view.restarts,
        cpu_percent=used.cpu_percent if used else None,
        memory_mb=round(used.memory / MB, 1) if used else None,
        version=None
        if loaded is None
        else msgspec.convert(loaded, LoadedVersion, from_attributes=True),
        waiting=view.waiting,
        degraded=view.degraded,
        conditions=[condition(it) for it in view.conditions],
        undecryptable=Undecryptable(
            count=view.undecryptable, since=fields.second(view.undecryptable_since)
        ),
        sentinel=UNSET
        if tried is None
        else Sentinel(
            at=fields.iso(round(tried.at)), seconds=round(tried.seconds, 2), error=tried.error
        ),
        removed_at=fields.moment(view.removed_at),
        host=host,
    )
