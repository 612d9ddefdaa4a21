"""How each kind of destination wants a notice by HTTP. Pure.

ntfy: docs.ntfy.sh/publish, "Publish as JSON". Slack: api.slack.com/messaging/webhooks; Mattermost and Rocket.Chat take
the same. Telegram: core.telegram.org/bots/api, ``sendMessage``.
"""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from waguard.core.alerts.destinations import AlertDestination
from waguard.core.alerts.notice import Notice


class Job(Struct, frozen=True, kw_only=True):
    """What a process of its own delivers where; ``within``: seconds for each step of it."""

    destination: AlertDestination
    notice: Notice
    within: float


class AlertRequest(Struct, frozen=True):
    """What is posted."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def request(to: AlertDestination, notice: Notice) -> AlertRequest:
    """The notice in the form of its destination."""
    match to.kind:
        case "ntfy":
            base, _, topic = to.url.rpartition("/")
            return _json(base, _ntfy(topic, notice), token=next(iter(to.words), None))
        case "slack":
            return _json(to.url, {"text": _slack(notice)})
        case "telegram":
            token, chat = to.words
            said = {"chat_id": chat, "text": plain(notice), "disable_web_page_preview": True}
            return _json(f"{to.url}/bot{token}/sendMessage", said)
        case _:
            return _json(to.url, notice.content, token=next(iter(to.words), None))


def plain(notice: Notice) -> str:
    """Title, text and link."""
    return f"{notice.title}\n\n{body(notice)}"


def body(notice: Notice) -> str:
    """Text and link, where the title stands elsewhere."""
    return "\n\n".join(filter(None, (notice.text, notice.page)))


def _ntfy(topic: str, notice: Notice) -> Mapping[str, Any]:
    said = {
        "topic": topic,
        "title": notice.title,
        "message": notice.text,
        "priority": 4 if notice.urgent else 3,
        "tags": ["warning" if notice.urgent else "white_check_mark"],
    }
    return said | ({"click": notice.page} if notice.page else {})


def _slack(notice: Notice) -> str:
    text = plain(notice)
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, escaped)
    return text


def _json(url: str, value: Mapping[str, Any], *, token: str | None = None) -> AlertRequest:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return AlertRequest(url, headers, json.dumps(value).encode())
