"""What every session shares."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from waguard.config import Config
from waguard.ports import Ages, Clock, Inbox, Meter, Spawn, Store, Undecryptables
from waguard.supervision.admission import Admission
from waguard.supervision.bus import Bus
from waguard.supervision.fleet import Fleet


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """``config`` is read at each use: a reload reaches all."""

    config: Callable[[], Config]
    instance: str
    store: Store
    inbox: Inbox
    undecryptable: Undecryptables
    spawn: Spawn
    bus: Bus
    clock: Clock
    ages: Ages
    admission: Admission
    fleet: Fleet
    meter: Meter
    crowded: Callable[[], bool] = lambda: False
    """Whether the machine has more to do than it can."""
    chance: random.Random = field(default_factory=random.Random)
