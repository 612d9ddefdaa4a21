"""The next value of a delivery queue, while a fact is being handled. Pure: the value it comes from stays as it is."""

from waguard.core.replace import replace
from waguard.core.webhooks import delivery
from waguard.core.webhooks.facts import Effect, LoadPartition, Now, SaveLater
from waguard.core.webhooks.partition import Partition, PartitionStage
from waguard.core.webhooks.pending import Hold, Key, Pending, delivered
from waguard.core.webhooks.persistent_map import MapBuilder, PersistentMap
from waguard.core.webhooks.retry_policy import pause
from waguard.core.webhooks.state import NOT_ANNOUNCED, Owned, Queue, Reading, is_announced


class Work:
    """The attributes of ``Queue`` while it changes; whoever changes a partition does so by ``to``."""

    def __init__(self, queue: Queue, now: Now) -> None:
        self._from = queue
        self.now = now
        self.effects: list[Effect] = []
        self.policy, self.window = queue.policy, queue.window
        self.holds, self.uses_lookup, self.url = queue.holds, queue.uses_lookup, queue.url
        self.partitions = queue.partitions.builder()
        self.count = queue.count
        self.fresh, self.failed = queue.fresh.builder(), queue.failed.builder()
        self.picks = queue.picks
        self.due = queue.due.builder()
        self.held, self.announced = queue.held.builder(), queue.announced.builder()
        self.handled, self.turns = queue.handled.builder(), queue.turns.builder()
        self.following = queue.following.builder()
        self.owned = None if queue.owned is None else queue.owned.builder()
        self.read_to = queue.read_to.builder()
        self.reading: Reading = queue.reading
        self.receiver = queue.receiver
        self.in_flight, self.unsaved = queue.in_flight, queue.unsaved
        self.ending, self.closed = queue.ending, queue.closed
        self.wake = queue.wake

    def value(self) -> Queue:
        """What it has become."""
        return replace(
            self._from,
            policy=self.policy,
            holds=self.holds,
            uses_lookup=self.uses_lookup,
            url=self.url,
            partitions=self.partitions.finish(),
            count=self.count,
            fresh=self.fresh.finish(),
            failed=self.failed.finish(),
            picks=self.picks,
            due=self.due.finish(),
            held=self.held.finish(),
            announced=self.announced.finish(),
            handled=self.handled.finish(),
            turns=self.turns.finish(),
            following=self.following.finish(),
            owned=None if self.owned is None else self.owned.finish(),
            read_to=self.read_to.finish(),
            reading=self.reading,
            receiver=self.receiver,
            in_flight=self.in_flight,
            unsaved=self.unsaved,
            ending=self.ending,
            closed=self.closed,
            wake=self.wake,
        )

    def do(self, effect: Effect) -> None:
        """The shell does it."""
        self.effects.append(effect)

    # ---- a partition moves ----

    def to(
        self,
        partition: Partition,
        stage: PartitionStage,
        *,
        due: float | None = None,
        asked: bool = False,
    ) -> Partition:
        """Let it wait for something else; ``due``: until then (monotonic) at the latest, ``asked`` as ``Partition`` has
        it."""
        key = partition.key
        self._leave(partition)
        after = replace(partition, stage=stage, due=due, asked=asked)
        self.partitions[key] = after
        if due is not None:
            self.due[key] = due
            self.wake = due if self.wake is None else min(self.wake, due)
        if stage is PartitionStage.READY:
            (self.failed if after.first.attempts else self.fresh)[key] = None
        return after

    def _leave(self, partition: Partition) -> None:
        """End the partition's stage."""
        key = partition.key
        if partition.stage is PartitionStage.READY:
            (self.fresh if key in self.fresh else self.failed).pop(key)
        elif partition.stage is PartitionStage.HELD:
            _leave(self.held, key)
        if partition.due is not None:
            self.due.pop(key)

    def put(self, partition: Partition) -> Partition:
        """The partition waits for the same as before."""
        self.partitions[partition.key] = partition
        return partition

    def remove(self, partition: Partition) -> None:
        """Nothing of it is pending any more."""
        self._leave(partition)
        self.partitions.pop(partition.key)

    def ready(self, partition: Partition) -> None:
        """The partition's first may be tried now."""
        if partition.tried_since is None:
            partition = replace(partition, tried_since=self.now.wall)
        self.to(partition, PartitionStage.READY)

    def pause(self, partition: Partition, delay: float, *, asked: bool = False) -> None:
        """The partition's first may be tried after ``delay`` s; ``asked``: not before, whatever others answer."""
        if partition.requeued:
            self.read_on(partition)
            return
        if delay <= 0:
            self.ready(partition)
            return
        self.to(partition, PartitionStage.PAUSED, due=self.now.at + delay, asked=asked)

    def resume(self, partition: Partition) -> None:
        """The partition's first may be tried when the database says so."""
        first = partition.first
        if self.uses_lookup and first.event == delivery.SENT and first.attempts == 0:
            self.ready(partition)  # its row is looked for, which may be sooner
            return
        delay = pause(
            self.policy, attempts=first.attempts, next_at=first.next_at, now=self.now.wall
        )
        self.pause(partition, delay)

    def read_on(self, partition: Partition) -> None:
        """Read what follows, or everything of it again; there is none: it is gone."""
        if partition.requeued:
            self.count -= len(partition.waiting)
            partition = replace(partition, waiting=(), loaded=0, requeued=False)
        if not partition.more:
            self.remove(partition)
            return
        reading = self.to(partition, PartitionStage.READING)
        self.reading = replace(self.reading, partitions=self.reading.partitions + 1)
        self.do(
            LoadPartition(
                key=reading.key,
                after=reading.loaded,
                until=reading.newest,
                limit=self.window.partition,
            )
        )

    # ---- what waits for its session ----

    def hold(self, partition: Partition, why: str, *, brief: bool = False) -> None:
        """The partition's place, and the room of what follows, is free for others. The database notes the first of a
        session, for how long it waits, and each that was tried, for its attempts count from 0 again."""
        session, first = partition.key[0], partition.first
        is_first = session not in self.held
        note = not partition.marked and (is_first or first.tried_since is not None) and not brief
        since = self.now.wall if partition.held_since is None else partition.held_since
        self.count -= len(partition.waiting) - 1
        tried = partition.tried_since if brief else None
        kept = replace(first, tried_since=first.tried_since if brief else None)
        partition = replace(partition, waiting=(kept,), loaded=first.id, held_since=since, why=why)
        self.to(
            replace(partition, tried_since=tried, marked=partition.marked or note),
            PartitionStage.HELD,
        )
        _join(self.held, partition.key)
        if note:
            self.do(SaveLater(result=Hold(first.id, first.event_id, since)))

    def unhold(self, partition: Partition) -> Partition:
        """The partition waits for its session no longer."""
        if partition.marked:
            first = partition.first
            self.do(SaveLater(result=Hold(first.id, first.event_id, None)))
        return self.put(replace(partition, held_since=None, marked=False))

    def release(self, session: str) -> None:
        """The session may be connected, and the receiver know it: try what waited for that. What follows a pending
        ``session_ready`` waits on: it would be held anew, since now."""
        for key in self.held.get(session, ()):
            partition = self.partitions[key]
            if self.holds and not is_announced(self.announced, key):
                self.put(replace(partition, why=NOT_ANNOUNCED))
            else:
                self.resume(self.unhold(partition))

    # ---- sessions that come and go ----

    def delivers(self, session: str) -> bool:
        """Whether webhooks of a session may begin here."""
        return self.owned is None or self.owned.get(session) is Owned.HERE

    def owns(self, session: str) -> bool:
        """Whether webhooks of a session are this host's."""
        return self.owned is None or session in self.owned

    def lose(self, partition: Partition) -> None:
        """Forget the partition, whatever it waits for."""
        match partition.stage:
            case PartitionStage.IN_FLIGHT:
                self.in_flight -= 1
            case PartitionStage.SAVING:
                self.unsaved -= 1
            case PartitionStage.READING:
                left = self.reading.partitions - 1
                self.reading = replace(self.reading, partitions=left)
            case PartitionStage.TURN:
                _leave(self.turns, partition.key)
            case _:
                pass
        self.count -= len(partition.waiting)
        self.remove(partition)

    # ---- one message of a session at a time ----

    def await_turn(self, partition: Partition) -> None:
        """Another message of its session is at the receiver."""
        self.to(partition, PartitionStage.TURN)
        _join(self.turns, partition.key)

    def next_turns(self) -> None:
        """Where no message of a session is at the receiver, one that waits for that may go."""
        for session in [it for it in self.turns if it not in self.handled]:
            key = self.following.get(session)
            following = self.partitions.get(key) if key is not None else None
            if following is None or following.stage is not PartitionStage.READY:
                self._next_turn(session)

    def _next_turn(self, session: str) -> None:
        for key in self.turns[session]:
            _leave(self.turns, key)
            partition = self.partitions.get(key)
            if partition and partition.stage is PartitionStage.TURN:
                self.following[session] = key
                self.ready(partition)
                return
        self.following.pop(session)


def _join(sessions: MapBuilder[str, PersistentMap[Key, None]], key: Key) -> None:
    keys = (sessions.get(key[0]) or PersistentMap()).builder()
    keys[key] = None
    sessions[key[0]] = keys.finish()


def _leave(sessions: MapBuilder[str, PersistentMap[Key, None]], key: Key) -> None:
    """A session of which none is left is gone, too."""
    keys = sessions[key[0]].builder()
    keys.pop(key)
    if keys:
        sessions[key[0]] = keys.finish()
    else:
        sessions.pop(key[0])


def left_out(item: Pending) -> SaveLater:
    """Save that it is not delivered: a newer event of its session made it outdated."""
    return SaveLater(result=delivered(item))
