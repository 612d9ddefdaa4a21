"""Routes, and what serves them."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web
from loguru import logger

from waguard.api import (
    alike,
    audit,
    bulk,
    call_through,
    chats,
    confirmations,
    contacts,
    database,
    events,
    groups,
    health,
    history,
    hosts,
    incidents,
    keys,
    left_events,
    log_level,
    media,
    message_actions,
    messages,
    metrics,
    outbox,
    page,
    page_tickets,
    passkey,
    proxies,
    qr,
    receivers,
    reconcile,
    reference,
    restored,
    sessions,
    timeline,
    versions,
    webhooks,
)
from waguard.api.call_backs import ADDRESSES, Addresses, given_up, witnessed
from waguard.api.deadline import CHANGES
from waguard.api.deps import DEPS, ApiDeps
from waguard.api.door import CONNECTIONS, Door, attend_requests
from waguard.api.gate import MEDIA_PATH, ending, gate
from waguard.api.limits import (
    LOAD,
    MEDIA_BODY_LIMIT,
    Load,
    Share,
    bounded,
)
from waguard.api.newcomers import NOBODY, Clients
from waguard.api.problems import REQUEST_ID, problems
from waguard.api.standby import answers_for_itself
from waguard.api.timings import DEFAULT_LIMITS, DEFAULT_TIMINGS, LIMITS, TIMINGS, Limits, Timings
from waguard.host.clock import SystemClock

SHUTDOWN_TIMEOUT: Final = 5.0  # s for open requests at the end


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    """Nothing here may be guessed at or kept by a browser or a proxy."""
    response.headers["Server"] = "waguard"
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")


def create_app(
    deps: ApiDeps, *, timings: Timings = DEFAULT_TIMINGS, limits: Limits = DEFAULT_LIMITS
) -> web.Application:
    """The application; ``serve`` runs it."""
    let_in = [witnessed, problems, gate, answers_for_itself]
    app = web.Application(middlewares=let_in, client_max_size=MEDIA_BODY_LIMIT)
    app[DEPS] = deps
    if cluster := getattr(deps, "cluster", None):  # who asks for the routes alone has no deps
        from waguard.api import forwarding  # noqa: PLC0415 - one host alone needs nothing of it

        forwarding.join(app, cluster, timings)
        app.middlewares.append(forwarding.forwarding)
    # a change that goes on behind its request keeps its place
    app.middlewares.extend([ending, bounded, audit.audited])
    app[TIMINGS], app[LIMITS] = timings, limits
    app[LOAD] = Load(timings, limits)
    app[page_tickets.TICKETS] = page_tickets.Tickets(SystemClock())
    app[CHANGES], app[metrics.SCRAPES] = set(), set()
    app[health.COUNTED], app[ADDRESSES] = health.Counted(), Addresses()
    app[reference.DOCUMENT], app[reference.READERS] = [], Share(0)
    app.on_response_prepare.append(_protect)
    one, dead = "/api/sessions/{session_id}", "/api/webhooks/dead"
    unknown = "/api/webhooks/unidentified"
    # What has no number in it is no id, but may be a route of another method. Routes are matched before the key
    # is: the first part ends at the first digit, for a search for another one would take quadratic time.
    with_number = "[^{}/0-9]*[0-9][^{}/]*"
    one_message, one_letter = f"{{id:{with_number}}}", f"{dead}/{{number:{with_number}}}"
    app.add_routes(
        [
            web.get("/", page.html),
            web.get("/page.js", page.script),
            web.get("/page.css", page.style),
            web.get("/page/{file:[a-z./]+}", page.part),
            web.get("/docs", reference.html),
            web.get("/docs/reference.js", reference.script),
            web.get("/docs/swagger-ui-bundle.js", reference.bundle),
            web.get("/docs/swagger-ui.css", reference.style),
            web.get("/api/openapi.json", reference.document),
            web.get("/health", health.health),
            web.get("/health/live", health.live),
            web.get("/health/ready", health.ready),
            web.get("/health/detailed", health.detailed),
            web.get("/metrics", metrics.show),
            web.get("/health/metrics", metrics.show),
            web.get("/api/events", events.stream, allow_head=False),
            web.get("/api/audit", audit.listing),
            web.get("/api/history", history.fleet),
            web.get("/api/timeline", timeline.listing),
            web.get("/api/incidents", incidents.fleet),
            web.get("/api/incidents/all", incidents.every),
            web.get("/api/hosts", hosts.listing),
            web.get("/api/cluster/alike", alike.show),
            web.delete("/api/hosts/{host}", hosts.forget),
            web.get("/api/cluster/conditions", hosts.conditions),
            web.post(left_events.PATH, left_events.receive),
            web.post("/api/cluster/keys", hosts.keys_changed),
            web.post(confirmations.PATH, hosts.reply_written),
            web.post("/api/hosts/{host}/drain", hosts.drain),
            web.delete("/api/hosts/{host}/drain", hosts.end_drain),
            web.post(f"{one}/move", hosts.move),
            web.get("/api/log-level", log_level.show),
            web.put("/api/log-level", log_level.put),
            web.get("/api/keys", keys.listing),
            web.post("/api/keys", keys.create),
            web.get("/api/keys/current", keys.current),
            web.delete("/api/keys/current", keys.leave),
            web.post("/api/keys/ticket", page_tickets.make),
            web.post("/api/keys/exchange", page_tickets.exchange),
            web.delete("/api/keys/{key_id}", keys.revoke),
            web.post("/api/database/accept", database.accept),
            web.post("/api/restored/groups/release", restored.release_groups),
            web.post("/api/restored/webhooks/release", restored.release_webhooks),
            web.get("/api/reconcile", reconcile.difference),
            web.post("/api/reconcile", reconcile.now),
            web.get("/api/versions", versions.listing),
            web.post("/api/versions/pin", versions.pin),
            web.post("/api/versions/unpin", versions.unpin),
            web.post("/api/versions/try", versions.try_version),
            web.get("/api/wajs", versions.bundles),
            web.post("/api/wajs/try", versions.try_bundle),
            web.post("/api/wajs/use", versions.use_bundle),
            web.post("/api/sessions", sessions.create),
            web.get("/api/sessions", sessions.listing),
            web.get(f"{one}/status", sessions.status),
            web.get(f"{one}/qr", qr.show),
            web.post(f"{one}/qr", qr.show),
            web.post(f"{one}/regenerate-qr", qr.regenerate),
            web.post(f"{one}/pairing-code", sessions.pairing_code),
            web.get(f"{one}/passkey", passkey.show),
            web.post(f"{one}/passkey/start", passkey.start),
            web.post(f"{one}/passkey/answer", passkey.answer),
            web.post(f"{one}/passkey/confirm", passkey.confirm),
            web.delete(f"{one}/passkey", passkey.cancel),
            web.post(f"{one}/restore", sessions.restore),
            web.post(f"{one}/start", sessions.restore),
            web.post(f"{one}/stop", sessions.stop),
            web.post(f"{one}/reconnect", sessions.reconnect),
            web.post(f"{one}/logout", sessions.logout),
            web.get(f"{one}/metadata", sessions.metadata),
            web.put(f"{one}/metadata", sessions.set_metadata),
            web.get(f"{one}/screenshot", sessions.screenshot),
            web.get(f"{one}/incidents", incidents.listing),
            web.get(f"{one}/webhook", receivers.show),
            web.put(f"{one}/webhook", receivers.put),
            web.delete(f"{one}/webhook", receivers.delete),
            web.get(f"{one}/proxy", proxies.show),
            web.put(f"{one}/proxy", proxies.put),
            web.delete(f"{one}/proxy", proxies.delete),
            web.get(f"{one}/history", history.of_session),
            web.delete(one, sessions.delete),
            web.get(f"{one}/groups", groups.listing),
            web.post(f"{one}/groups", groups.create),
            web.get(f"{one}/groups/{{group_id}}", groups.show),
            web.get(f"{one}/groups/{{group_id}}/invite", groups.invite),
            web.post(f"{one}/groups/{{group_id}}/participants", groups.add),
            web.delete(f"{one}/groups/{{group_id}}/participants", groups.remove),
            web.get(f"{one}/contacts", contacts.listing),
            web.get(f"{one}/contacts/{{chat_id}}/picture", contacts.picture),
            web.get(f"{one}/numbers/{{numbers}}", contacts.numbers),
            web.get(f"{one}/chats", chats.listing),
            web.get(f"{one}/chats/{{chat_id}}/messages", chats.messages),
            web.post(f"{one}/wajs/{{function}}", call_through.call),
            web.get("/sessions/{session_id}/status", sessions.status),
            web.post("/sessions/{session_id}/logout", sessions.logout),
            web.get("/api/internal/sessions/{session_id}/last-activity", sessions.phone_activity),
            web.post("/api/messages/send", messages.send),
            web.post(MEDIA_PATH, messages.send_media),
            web.post("/api/messages/send-location", messages.send_location),
            web.post("/api/messages/send-contact", messages.send_contact),
            web.post("/api/messages/send-poll", messages.send_poll),
            web.get("/api/messages/{session_id}/validate", messages.validate),
            web.get("/api/media/{sha256}", media.show),
            web.post(media.UPLOAD, media.upload),
            web.get("/api/media/outgoing/{sha256}", media.outgoing),
            web.post("/api/messages/bulk-send", bulk.send),
            web.get("/api/messages/bulk/{bulk_id:[0-9a-f-]{36}}", bulk.show),
            web.post("/api/messages/bulk/{bulk_id:[0-9a-f-]{36}}/cancel", bulk.cancel),
            web.get("/api/messages", outbox.listing),
            web.get(f"/api/messages/{one_message}", outbox.show),
            web.post(f"/api/messages/{one_message}/cancel", outbox.cancel),
            web.post(f"/api/messages/{one_message}/media", media.fetch_again),
            web.post(f"/api/messages/{one_message}/reaction", message_actions.react),
            web.post(f"/api/messages/{one_message}/edit", message_actions.edit),
            web.post(f"/api/messages/{one_message}/revoke", message_actions.revoke),
            web.post(f"{one}/chats/{{chat_id}}/seen", message_actions.mark_seen),
            web.post(f"{one}/chats/{{chat_id}}/typing", message_actions.show_typing),
            web.get("/api/webhooks/receivers", receivers.listing),
            web.get("/api/webhooks/held", webhooks.held),
            web.post("/api/webhooks/held/discard", webhooks.discard_held),
            web.get(unknown, webhooks.unidentified),
            web.post(f"{unknown}/replay", webhooks.replay_unidentified),
            web.post(f"{unknown}/discard", webhooks.discard_unidentified),
            web.get(dead, webhooks.listing),
            web.post(f"{dead}/replay", webhooks.replay_all),
            web.get(one_letter, webhooks.letter),
            web.post(f"{one_letter}/replay", webhooks.replay),
            web.delete(one_letter, webhooks.discard),
        ]
    )
    return app


async def serve(
    app: web.Application,
    listener: socket.socket,
    *,
    connections: int = CONNECTIONS,
    timings: Timings = DEFAULT_TIMINGS,
    limits: Limits = DEFAULT_LIMITS,
    kept: Callable[[], bool] = lambda: False,
) -> web.AppRunner:
    """Run on a socket that listens already, for so many at a time; ``runner.cleanup()`` ends it. Where it is
    ``kept`` then, another process has it, too, and goes on."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    assert runner.server  # noqa: S101 - it is set up
    attend_requests(runner.server)
    deps = app.get(DEPS)
    door = Door(
        runner,
        listener,
        most=connections,
        timings=timings,
        limits=limits,
        kept=kept,
        clients=Clients(deps.keys.accept_any, partial(given_up, app)) if deps else NOBODY,
    )
    if deps:
        deps.webhooks.call_backs.doors.append(door.caught_up)
    await door.start()
    logger.debug("API serves")
    return runner
