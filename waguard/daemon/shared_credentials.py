"""Credentials that are shared with a standby: on where there is a key file and ``lease.standby``."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from waguard.core.shipping import KIND
from waguard.daemon.foundation import Foundation
from waguard.host.system.machine import holder
from waguard.supervision.fleet.lease_keeper import LeaseKeeper
from waguard.supervision.outages import Outages
from waguard.supervision.proxy_records import ProxyRecords

if TYPE_CHECKING:
    from waguard.supervision.shipping.credential_shipping import CredentialShipping


def shared(
    base: Foundation, later: Callable[[], tuple[LeaseKeeper, Outages]]
) -> "CredentialShipping | None":
    """None: they are not shared. ``later``: what is made after it. Raises ``ConfigError`` for a key file that
    cannot be used."""
    config = base.config()
    if not config.lease.standby or config.database.key_file is None:
        return None
    # few have a standby
    from waguard.host.files.sealing import read_key  # noqa: PLC0415
    from waguard.supervision.shipping.credential_shipping import CredentialShipping  # noqa: PLC0415
    from waguard.supervision.shipping.sealer import Sealer  # noqa: PLC0415
    from waguard.supervision.shipping.shipping_context import ShippingContext  # noqa: PLC0415

    mine = holder(config.paths.runtime, "")
    key = read_key(config.database.key_file, "database.key_file")
    ctx = ShippingContext(
        store=base.store.credentials,
        sealer=Sealer(key),
        host=hashlib.sha256(f"{mine.machine}\n{mine.runtime}".encode()).hexdigest()[:32],
        epoch=lambda: later()[0].fence,
        clock=base.clock,
        rolled_back=base.restored.roll_back,
        waits=lambda session: base.restored.group_waits(session, "@g.us"),
    )
    return CredentialShipping(ctx, lambda why: later()[1].update(KIND, why))


def proxy_records(base: Foundation) -> ProxyRecords:
    """With the key where credentials are shared. Raises ``ConfigError`` as ``shared`` does."""
    config, key = base.config(), None
    if config.lease.standby and config.database.key_file is not None:
        from waguard.host.files.sealing import read_key  # noqa: PLC0415

        key = read_key(config.database.key_file, "database.key_file")
    return ProxyRecords(lambda: base.config().paths.state, base.store.proxies, key)
