"""How long the API waits, and how much it takes at a time. Tests pass other values."""

from typing import Final

from aiohttp import web
from msgspec import Struct


class Timings(Struct, frozen=True, kw_only=True):
    """In seconds."""

    request: float = 60.0
    """For a request; the event stream and the sends have their own ends."""
    longer_elsewhere: float = 5.0
    """So much more has another host for one that it was forwarded."""
    hosts_answer: float = 3.0
    """For other hosts to answer what each is asked."""
    reply_confirmed: float = 3.0
    """For the host that has forwarded a send to say that its client has the reply."""
    host_begins: float = 5.0
    """For another host to begin its stream of events."""
    host_stalled: float = 40.0
    """In which nothing comes of that, not even a comment."""
    host_again: float = 0.5
    """Until a host that has ended its stream is asked again; who lives is checked as often."""
    host_away_again: float = 2.0
    """Until a host that is away is asked again."""
    body: float = 30.0
    """For a client to send a body."""
    ping: float = 2.0
    """For the database: one that is slower is as good as none to whoever asks."""
    comment_every: float = 15.0
    """Without an event; so that a proxy keeps the connection of the stream."""
    all_said_after: float = 0.1
    """Without an event, after which all that was remembered is said."""
    event_write: float = 30.0
    """For a listener to read: one that does not holds up to 4,000 events in memory."""
    refusal: float = 1.0
    """Until a missing key is answered, where there are too many of those."""
    first_request: float = 15.0
    """From a connection to its first request."""
    next_request: float = 75.0
    """From a response to the next request; proxies keep a connection for up to 60."""
    unread: float = 60.0
    """In which a client takes nothing of what it is sent."""
    full: float = 0.1
    """Until there may be a place for a connection again."""
    full_reported_every: float = 60.0
    last_requests: float = 0.2
    """At the end, from the last connection to its request."""


class Limits(Struct, frozen=True, kw_only=True):
    """Beside those of the configuration."""

    streams: int = 64
    """Event streams; each may lag by 4,000 events."""
    host_streams: int = 256
    """Event streams of other hosts, one for each of their clients."""
    watchers: int = 200
    """Requests for each of the other watched resources."""
    bodies: int = 1_000
    """Requests with a body that is being read or worked on."""
    body_bytes: int = 128 << 20
    """Bodies of all requests; one takes up to four times its size."""
    watchers_bytes: int = 4 << 20
    """All that a watcher says in a body is a key."""
    piece: int = 64 << 10
    """Bytes of a body that are unpacked at a time."""
    searched: int = 256
    """Bodies that are read to find a key in them."""
    searched_bytes: int = 8 << 20
    """All these together."""
    refused_at_once: int = 20
    """Refusals because a key is missing, within ``Timings.refusal``; the others are answered later."""
    refusals_waiting: int = 256
    """Those that wait; each keeps a connection. Who comes then is refused at once."""
    begun_bytes: int = 8 << 20
    """That all connections together have said of requests that are not there yet."""
    ahead_bytes: int = 64 << 10
    """Further requests on a connection with a key, while one is under way."""
    keyless_cpu: float = 0.5
    """Share of a core, for all who have shown no key …"""
    keyless_cpu_free: float = 0.01
    """… beyond so many seconds of CPU time."""
    keyless_cost: float = 0.25
    """Seconds of CPU time for one connection without a key."""
    framing: int = 8 << 10
    """Bytes beside the content of a body without a key, and a quarter of its content: 5 for each chunk."""
    discarded: int = 64 << 20
    """Bytes of a refused body that are read for its client to get the answer."""
    discarding: int = 64
    """Connections of which that is read; the one that has the answer for the longest time makes room."""
    keyless: int = 8
    """Connections without a key that are read at once; others say first what they want."""


DEFAULT_TIMINGS: Final = Timings()
DEFAULT_LIMITS: Final = Limits()
TIMINGS: Final = web.AppKey("timings", Timings)
LIMITS: Final = web.AppKey("limits", Limits)
