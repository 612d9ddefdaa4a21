"""Where webhooks go, and whether the application finds back."""

from http import HTTPStatus

from msgspec import Struct

from waguard.doctor.checks.instance import Instance
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning


class Receiver(Struct, frozen=True, kw_only=True):
    """What ``webhook.url`` answers to OPTIONS, which delivers nothing. ``status`` None: no answer."""

    url: str | None
    status: int | None = None
    error: str | None = None


def receiver(seen: Receiver, cli: Cli) -> Check:
    """Whether it can be delivered to."""
    if seen.url is None:
        return skipped("receiver", "webhook.url is not set: there are no webhooks")
    if seen.status is None:
        return failed(
            "receiver",
            f"{seen.url} does not answer: {seen.error}",
            "Start the application, or correct webhook.url; what is undelivered waits",
            f"curl -sS -o /dev/null -X OPTIONS {seen.url}",
        )
    asked = f"curl -sS -i -X OPTIONS {seen.url}"
    if seen.status == HTTPStatus.NOT_FOUND:
        return failed(
            "receiver",
            f"{seen.url} answers 404: there is no such path",
            "Correct webhook.url; the application takes /api/whatsapp/webhooks/webjs",
            cli("config show"),
        )
    if HTTPStatus.MULTIPLE_CHOICES <= seen.status < HTTPStatus.BAD_REQUEST:
        return failed(
            "receiver",
            f"{seen.url} answers with a redirect ({seen.status}), which no webhook follows",
            "Name the address that it leads to in webhook.url",
            asked,
        )
    if seen.status == HTTPStatus.TOO_MANY_REQUESTS:
        return warning(
            "receiver",
            f"{seen.url} answers 429: it limits requests; waguard sends nothing for 65 s then",
            "Wait; its limit is 1,000 requests a minute",
            asked,
        )
    if seen.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return failed(
            "receiver",
            f"{seen.url} answers {seen.status}",
            "Read the application's log; what is undelivered waits",
            asked,
        )
    return ok("receiver", f"{seen.url} answers")


class CallBack(Struct, frozen=True, kw_only=True):
    """What GET /health says at ``url``, which webhooks name in X-Instance-Url. ``status`` None: no
    answer. ``same``: it is this very daemon; None: unknown."""

    url: str
    own: bool
    """``api.public_url`` names it."""
    loopback: bool
    """Only this machine is meant by it."""
    receiver_is_here: bool
    """The receiver is on this machine; True also where there is none."""
    status: int | None = None
    error: str | None = None
    same: bool | None = None
    several: str = ""
    """The key by which there are several hosts; empty: this one alone is called."""
    waits: bool = False
    """The daemon here is the standby: it answers 503."""


def call_back(seen: CallBack, daemon: Instance) -> Check:
    """Whether the application reaches this daemon by the address in webhooks."""
    remedy = "Set api.public_url to what the application reaches this machine by"
    if seen.loopback and not seen.receiver_is_here:
        return failed(
            "call-back",
            f"webhooks name {seen.url} to an application on another machine: that is the machine itself",
            remedy,
            f"curl -sS {seen.url}/health",
        )
    if seen.several:
        remedy = "Set api.public_url to this host's own address: not loopback, and not one that moves between the hosts"
        if seen.loopback:
            return failed(
                "call-back",
                f"with {seen.several}, applications on the other host are given {seen.url}: there that is the host itself",
                remedy,
            )
    if not daemon.up:
        return skipped("call-back", "no daemon runs")
    asked = f"curl -sS -i {seen.url}/health"
    if seen.status is None:
        return failed(
            "call-back", f"{seen.url}/health does not answer: {seen.error}", remedy, asked
        )
    expected = HTTPStatus.SERVICE_UNAVAILABLE if seen.waits else HTTPStatus.OK
    holder = seen.waits and seen.status == HTTPStatus.OK
    # a daemon without its lease, or one that stops, answers 503 as well
    known = seen.same and seen.status == HTTPStatus.SERVICE_UNAVAILABLE
    if seen.status != expected and not holder and not known:
        return failed("call-back", f"{seen.url}/health answers {seen.status}", remedy, asked)
    if holder or seen.same is False:
        return failed(
            "call-back",
            f"{seen.url} is answered by something else than this daemon",
            remedy,
            asked,
        )
    waits = ", which waits as the standby" if seen.waits else ""
    return ok("call-back", f"{seen.url} leads to this daemon{waits}")
