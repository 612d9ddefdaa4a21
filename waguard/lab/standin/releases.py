"""What WhatsApp does with its versions, by hand: a build is published, broken, taken off the CDN, refused."""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from waguard.lab.standin.refusal import Refusal
from waguard.lab.standin.versions import Accounts, Revision, Way
from waguard.lab.standin.whatsapp import WhatsApp

Number = Annotated[int, msgspec.Meta(ge=1)]


class Publish(msgspec.Struct, forbid_unknown_fields=True):
    """``Versions.publish``."""

    revision: Number | None = None
    way: Way = ""
    broken_for: list[str] | None = None
    served_to: list[str] | None = None


class Break(msgspec.Struct, forbid_unknown_fields=True):
    """``Releases.breaks``."""

    revision: Number
    way: Way = ""
    broken_for: list[str] | None = None


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A build."""

    revision: Number


class Releases:
    """Raises Refusal for a build that is not known."""

    def __init__(self, whatsapp: WhatsApp) -> None:
        self._whatsapp = whatsapp
        self._versions = whatsapp.versions

    def publish(
        self,
        revision: int | None = None,
        way: Way = "",
        broken_for: Iterable[str] | None = None,
        served_to: Iterable[str] | None = None,
    ) -> dict[str, Any]:
        """From now on the network serves it; pages that are loaded stay as they are."""
        broken, served = _accounts(broken_for), _accounts(served_to)
        made = self._versions.publish(revision, way, broken, served)
        self._turn_away()
        return made.to_json()

    def breaks(
        self, revision: int, way: Way, broken_for: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """A build that is out breaks, or works again (``way=""``): what the server does of it at once,
        what the page does at its next load."""
        known = self._known(revision)
        known.way, known.broken_for = way, _accounts(broken_for)
        self._turn_away()
        return known.to_json()

    def expire(self, revision: int) -> dict[str, Any]:
        """Have the version's scripts leave the CDN."""
        known = self._known(revision)
        known.on_cdn = False
        return known.to_json()

    def refuse(self, revision: int) -> dict[str, Any]:
        """All builds before this one are too old, for all accounts at once."""
        self._versions.oldest_accepted = revision
        self._turn_away()
        return {"oldest_accepted": revision}

    def all(self) -> list[dict[str, Any]]:
        """The one that was published last comes last."""
        return [known.to_json() for known in self._versions.known]

    def _known(self, revision: int) -> Revision:
        known = self._versions.get(revision)
        if known is None:
            numbers = ", ".join(str(one.number) for one in self._versions.known)
            error = f"there is no build {revision}"
            raise Refusal(409, error, f"one of: {numbers}", "revision", revision)
        return known

    def _turn_away(self) -> None:
        """Pages of builds that are too old lose their connection."""
        for devices in self._whatsapp.devices.values():
            for device in devices:
                page = device.page
                if page is not None and self._versions.is_refused(device.revision, device.phone):
                    device.page = None
                    page.send({"type": "block", "kind": "DEPRECATED_VERSION"})


def _accounts(phones: Iterable[str] | None) -> Accounts | None:
    return None if phones is None else frozenset(phones)
