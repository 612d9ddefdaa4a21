"""Credentials that hosts share: on where there is a key file, and ``lease.standby`` or a cluster."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from waguard.config.sections import Config
from waguard.core.shipping import KIND
from waguard.daemon.foundation import Foundation
from waguard.host.system.machine import holder
from waguard.supervision.fleet.lease_keeper import LeaseKeeper
from waguard.supervision.outages import Outages
from waguard.supervision.proxy_records import ProxyRecords

if TYPE_CHECKING:
    from waguard.ports.cluster import Ownership
    from waguard.supervision.shipping.credential_shipping import CredentialShipping


def shared(
    base: Foundation,
    later: Callable[[], tuple[LeaseKeeper, Outages]],
    ownership: "Ownership | None" = None,
) -> "CredentialShipping | None":
    """None: they are not shared. ``later``: what is made after it. ``ownership``: of sessions, in a cluster. Raises
    ``ConfigError`` for a key file that cannot be used."""
    config = base.config()
    key = _key(config)
    if key is None:
        return None
    # few have a standby
    from waguard.supervision.shipping.credential_shipping import CredentialShipping  # noqa: PLC0415
    from waguard.supervision.shipping.sealer import Sealer  # noqa: PLC0415
    from waguard.supervision.shipping.shipping_context import ShippingContext  # noqa: PLC0415

    mine = holder(config.paths.runtime, "")
    ctx = ShippingContext(
        store=base.store.credentials,
        sealer=Sealer(key),
        host=hashlib.sha256(f"{mine.machine}\n{mine.runtime}".encode()).hexdigest()[:32],
        epoch=ownership.epoch if ownership else lambda _: later()[0].fence,
        clock=base.clock,
        rolled_back=base.restored.roll_back,
        not_rolled_back=base.restored.undo_roll_back,
        waits=lambda session: base.restored.group_waits(session, "@g.us"),
        all_share=ownership is not None,
    )
    return CredentialShipping(ctx, lambda why: later()[1].update(KIND, why))


def proxy_records(base: Foundation) -> ProxyRecords:
    """With the key where credentials are shared. Raises ``ConfigError`` as ``shared`` does."""
    key = _key(base.config())
    return ProxyRecords(lambda: base.config().paths.state, base.store.proxies, key)


def _key(config: Config) -> bytes | None:
    """None: hosts share nothing by it."""
    if config.cluster.engine != "none":
        name, file = "cluster.key_file", config.cluster.key_file
    else:
        name, file = "database.key_file", config.database.key_file
        file = file if config.lease.standby else None
    if file is None:
        return None
    from waguard.host.files.sealing import read_key  # noqa: PLC0415 - few share credentials

    return read_key(file, name)
