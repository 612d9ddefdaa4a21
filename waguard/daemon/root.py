"""Knows everyone, decides nothing.

Start order: configuration → lock → port (``cli``), then everything heavy here: API, database and
its lease, restore, ticks. Stop order: the reverse, sessions all in parallel.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from loguru import logger

from waguard import config as configuration
from waguard.api import ApiDeps, LocalApi, create_app, serve
from waguard.api.auth import Keys, load_or_create_keys
from waguard.api.content import MEDIA_LIMIT
from waguard.api.door import CONNECTIONS
from waguard.config import Config, Log
from waguard.core.host import last_run
from waguard.core.incidents.kinds import DIED, RESTORED, STARTED
from waguard.core.lease import Terms, terms
from waguard.daemon.feed import feed
from waguard.daemon.housekeeping import Housekeeping
from waguard.daemon.reload import CurrentConfig, Reload
from waguard.daemon.runtime_folder import RuntimeFolder, make_private
from waguard.errors import (
    ConfigError,
    DatabaseUnavailableError,
    InstanceHeldError,
    WaguardError,
)
from waguard.host import early_signals, files, logs
from waguard.host.children import quarantine_unreadable_records
from waguard.host.clock import SystemClock
from waguard.host.conditions import HostConditions
from waguard.host.documents import FOLDER, Documents
from waguard.host.fork_server import ForkSpawn
from waguard.host.listen import base_url, public_url
from waguard.host.lived import SAVED_EVERY, LivedTime
from waguard.host.lock import PID_FILE, InstanceLock
from waguard.host.machine import holder
from waguard.host.media import MediaFolder
from waguard.host.network import Network, uses_proxy
from waguard.host.pressure import cpu_is_saturated
from waguard.host.restart_memory import RestartMemory
from waguard.host.run_file import RunFile
from waguard.host.systemd import SystemdNotifier
from waguard.host.ticker import Ticker
from waguard.host.usage import Meter
from waguard.messaging.health import COUNTED_EVERY, MessageHealth
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.bulk import Bulks
from waguard.messaging.outbox.fetch import Fetcher
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.webhooks.signing import read_secrets
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.process import Process
from waguard.store.engine import sqlite_file
from waguard.store.sql import SqlStore
from waguard.supervision.bus import Bus
from waguard.supervision.disk import DiskReserve
from waguard.supervision.greeting import greeted
from waguard.supervision.lease import TICK, LeaseKeeper
from waguard.supervision.log_control import LogControl
from waguard.supervision.readiness import status_line
from waguard.supervision.supervisor import Ports, Supervisor
from waguard.supervision.timings import Timings
from waguard.wire.protocol import WorkerRecord
from waguard.worker import wajs

WATCH_INTERVAL: Final = 1.0  # s
DATABASE_RETRY: Final = (0.5, 1.0, 2.0, 5.0)  # s; the last one repeats
SEND_GRACE: Final = 5.0  # s for messages on their way at the end; then the next daemon looks
DRAIN: Final = 3.0  # s for webhooks at the end; what is left is delivered by the next daemon
LAST_ANSWER: Final = 5.0  # s for those in flight: cut off, they would be repeated


class Daemon:
    """One run of the daemon."""

    def __init__(
        self,
        config: Config,
        lock: InstanceLock,
        listener: socket.socket,
        path: Path | None,
        spawn: ForkSpawn,
    ) -> None:
        """``path``: what SIGHUP reads again. ``lock`` and ``spawn``: begun; whoever began them
        ends them."""
        self._config = current = CurrentConfig(config)
        self._lock = lock
        self._runtime = RuntimeFolder(config.paths.runtime, lock)
        self._listener = listener
        self._public_url = public_url(config.api.public_url, listener)
        self._notifier = SystemdNotifier()
        self._clock = SystemClock()
        self._bus = Bus(self._clock)
        self._ages = LivedTime(config.paths.state, self._clock)
        self._run_file = RunFile(config.paths.state, self._clock)
        self._restarts = RestartMemory(config.paths.state, self._clock)
        remembered = self._restarts.load()
        self._store = SqlStore(config.database.url)
        self._spawn = spawn
        self._media = MediaFolder(config.paths.state / "media")
        self._webhooks: Webhooks | None = None
        self._keys: Keys | None = None
        self._messages: MessageHealth | None = None
        self._host = HostConditions()
        self._network = Network(config.whatsapp.url, proxied=uses_proxy(config.browser.extra_args))
        self._journal = Journal(
            self._store.messages,
            self._media,
            base=self._public_url,
            for_global=self._for_global,
            publish=self._bus.publish,
            barred=lambda: self._lease.why_barred() is not None,
        )
        self._timings = Timings()
        self._supervisor = Supervisor(
            current,
            Ports(
                store=self._store,
                inbox=self._journal,
                undecryptable=self._store.messages,
                spawn=self._spawn,
                documents=Documents(config.paths.state / FOLDER),
                clock=self._clock,
                ages=self._ages,
                meter=Meter(),
                host=lambda: self._host.read(current()),
                network=self._network.read,
                cpu_is_saturated=cpu_is_saturated,
                remembered=lambda: remembered,
            ),
            self._bus,
            instance=lock.instance,
            packed=wajs.SHA256,
            timings=self._timings,
        )
        self._fleet = self._supervisor.fleet
        self._lease = LeaseKeeper(
            self._store.lease,
            holder(config.paths.runtime, lock.instance),
            self._lease_terms,
            self._fleet.outages,
            lost=self._end_for,
        )
        self._store.guard(why_barred=self._lease.why_barred, before_migration=self._lease.acquire)
        self._log = LogControl(config.log, self._fleet.trail, self._apply_log)
        self._reload = Reload(current, path, self._log)
        self._reload.subscribe(self._reloaded)
        self._housekeeping = Housekeeping(current, self._store, self._media, self._ages)
        self._disk = DiskReserve(
            self._fleet.outages,
            self._clock,
            reserve=lambda: current().limits.disk_reserve,
            folders=_written(config),
        )
        self._outbox = Outbox(
            self._supervisor.sessions,
            self._store.outbox,
            self._journal,
            self._config,
            self._clock,
            require_room=self._require_room,
            ages=self._ages,
        )
        self._local: LocalApi | None = None
        self._ticker = Ticker()
        self._stop = asyncio.Event()
        self._why_stopping = "by itself"
        self._lost: list[str] = []
        """Sessions whose workers were gone, and had left their records."""
        self._signals = 0
        self._hands_over = False
        """The workers go on, for the next daemon."""
        self._up = False
        self._cannot_begin: str | None = None
        self._ended_for: InstanceHeldError | None = None
        """The other daemon that the database belongs to."""

    async def run(self) -> int:
        """The exit code. Raises ``InstanceHeldError`` where another daemon has the database."""
        self._listen_to_signals()
        current = self._config
        paths = current().paths
        self._runtime.make()
        make_private("paths.sessions", paths.sessions)
        make_private("paths.state", paths.state)
        secrets = read_secrets(current().webhook.secret_file)
        self._webhooks = webhooks = Webhooks(
            self._journal,
            lambda: current().webhook,
            secrets,
            instance_url=self._public_url,
            connection=self._supervisor.health.connection,
            ages=self._ages,
        )
        self._messages = messages = MessageHealth(
            webhooks,
            self._journal,
            hold_limit=lambda: current().webhook.hold_limit,
            ages=self._ages,
        )
        self._keys = keys = load_or_create_keys(current().api.key_file)
        logs.hide(*keys.values, *secrets, *configuration.passwords(current().database.url))
        app = create_app(
            ApiDeps(
                config=current,
                keys=keys,
                sessions=self._supervisor.sessions,
                reconciler=self._supervisor.reconciler,
                health=self._supervisor.health.read,
                store=self._store,
                events=self._bus,
                outbox=self._outbox,
                bulks=Bulks(
                    self._outbox,
                    self._store.outbox,
                    lambda: current().send,
                    ages=self._ages,
                ),
                fetcher=Fetcher(lambda: current().send, limit=MEDIA_LIMIT),
                outgoing=self._store.outbox,
                messages=self._store.messages,
                media=self._media,
                webhooks=webhooks,
                message_health=messages,
                log=self._log,
                versions=self._supervisor.operators,
                require_room=self._require_room,
            )
        )
        # half of the files: the other half is for sessions, database and webhooks
        most = min(CONNECTIONS, files.raise_limit() // 2)
        runner = await serve(app, self._listener, connections=most)
        self._local = LocalApi(runner, paths.runtime)
        await self._local.listen()
        api = base_url(self._listener)
        if not current().browser.sandbox:
            logger.warning(
                "Chromium runs without its sandbox: browser.sandbox is false",
                event="browser_unsandboxed",
            )
        logger.info(
            "waguard is up",
            event="daemon_up",
            api=api,
            public_url=self._public_url,
            pid=os.getpid(),
        )
        self._notifier.ready("waiting for the database")
        self._up = True
        self._run_file.begin()
        with self._run_file.ending():
            try:
                async with self._leased(), self._journal, webhooks, self._fed(webhooks):
                    await self._work(webhooks)
            finally:
                self._bus.close()
                await self._network.close()
                await runner.cleanup()
                await self._store.close()
                self._ages.save()
                logger.info("waguard has stopped", event="daemon_stopped")
        if self._ended_for:
            raise self._ended_for
        return 0

    @contextlib.asynccontextmanager
    async def _leased(self) -> AsyncIterator[None]:
        """Renew the lease while the body runs, which stops the sessions; then release it."""
        ticker = Ticker()  # the other one ends before the sessions do
        ticker.every(TICK, "lease", self._lease.tick)
        ticker.start()
        try:
            yield
        finally:
            ticker.stop()
            await self._lease.release()

    def _lease_terms(self) -> Terms:
        grace, margin = self._config().worker.orphan_grace, self._config().lease.margin
        return terms(orphan_grace=grace, margin=margin)

    def _end_for(self, error: InstanceHeldError) -> None:
        """Another daemon has the database: nothing here may continue."""
        logger.critical("waguard ends: {}", error.line(), event="lease_lost")
        self._ended_for = self._ended_for or error
        self._why_stopping = "another daemon has the database"
        self._stop.set()

    async def _work(self, webhooks: Webhooks) -> None:
        """Restore, then tick until a stop is requested; then stop every session: after what the
        application handles now, for it asks meanwhile whether its session is connected."""
        self._ticker.every(WATCH_INTERVAL, "watch", self._watch)
        self._measure()
        interval, reconciler = self._config().reconcile.interval, self._supervisor.reconciler
        self._ticker.every(interval, "reconcile", reconciler.reconcile)
        if self._messages:
            self._ticker.every(COUNTED_EVERY, "webhooks", self._messages.count)
        self._ticker.every(SAVED_EVERY, "clock", self._save_clock)
        self._ticker.every(last_run.SEEN_EVERY, "alive", self._renew_run)
        self._housekeeping.schedule(self._ticker)
        self._ticker.start()
        self._report_last_run()
        self._supervisor.versions.begin()
        renewing = asyncio.create_task(self._renew_run(), name="alive")
        reporting = asyncio.create_task(self._renew_when_reported(), name="reporting")
        beginning = asyncio.create_task(self._begin(), name="beginning")
        try:
            await self._stop.wait()
        finally:
            doing = (
                "the sessions stay connected"
                if self._hands_over
                else "every session is closed in order"
            )
            self._notifier.stopping()
            self._notifier.status(f"stopping: {doing}")
            logger.info("stopping: {}", doing, event="daemon_stopping")
            self._ticker.stop()
            marking = asyncio.create_task(
                asyncio.to_thread(self._run_file.stopping, self._why_stopping), name="stopping"
            )
            for task in (beginning, reporting):
                task.cancel()
            await asyncio.gather(beginning, reporting, return_exceptions=True)
            if self._ended_for:
                # its browsers must not fight with the other daemon's, nor is there anything to write
                await asyncio.gather(self._outbox.close(0), self._supervisor.stop(write=False))
            else:
                await asyncio.gather(
                    self._outbox.close(SEND_GRACE),
                    webhooks.wind_down(begin=DRAIN, answer=LAST_ANSWER),
                )
                await (self._supervisor.leave() if self._hands_over else self._supervisor.stop())
            await asyncio.gather(renewing, marking)

    def _report_last_run(self) -> None:
        self._fleet.trail.record(STARTED, reason=self._run_file.before)
        for death in self._run_file.deaths:
            reported = last_run.account(death)
            logger.error("{}", reported, event="daemon_died")
            self._fleet.trail.record(DIED, reason=reported, evidence=last_run.evidence(death))

    async def _report_restored(self, left: Sequence[WorkerRecord], summary: str) -> None:
        views = await self._supervisor.sessions.views()
        restored = last_run.restoration(
            [(record.session, record.pid) for record in left],
            self._lost,
            {view.session_id: view.worker_pid for view in views if view.worker_pid},
        )
        reported = last_run.result(restored)
        logger.info("restore finished: {}; {}", summary, reported, event="daemon_restored")
        self._fleet.trail.record(RESTORED, reason=reported, evidence=asdict(restored))

    async def _renew_when_reported(self) -> None:
        """At once: the next daemon reports again what is not noted as reported."""
        await self._fleet.trail.recorded()
        await self._renew_run()

    async def _renew_run(self) -> None:
        """A disk that hangs holds up this tick alone."""
        reported = not self._fleet.trail.unrecorded
        await asyncio.to_thread(self._run_file.renew, reported=reported)
        if self._supervisor.state.loaded:  # until then it is what the last daemon wrote
            kept = {it.name: it.remember() for it in self._supervisor.registry.sessions}
            await asyncio.to_thread(self._restarts.save, kept)

    async def _begin(self) -> None:
        """Open the database and restore; whatever goes wrong is said, and tried again."""
        left_behind: list[tuple[WorkerRecord, Process]] | None = None
        attempt = 0
        async with contextlib.AsyncExitStack() as company:
            while True:
                try:
                    if left_behind is None:
                        left_behind = self._workers_left()
                        await company.enter_async_context(self._greeted(left_behind))
                    await self._store.open()
                    await self._lease.acquire()
                    await self._outbox.begin()
                    await company.aclose()  # from here on they are their sessions'
                    summary = await self._supervisor.restorer.restore(left_behind)
                    await self._abandon_removed()
                    await self._report_restored([record for record, _ in left_behind], summary)
                except InstanceHeldError as error:
                    self._end_for(error)
                    return
                except Exception as error:  # noqa: BLE001 - a daemon that restores nothing must not idle
                    delay = DATABASE_RETRY[min(attempt, len(DATABASE_RETRY) - 1)]
                    attempt += 1
                    self._say_not_begun(error, delay)
                    if left_behind and not self._supervisor.state.loaded:
                        await company.aclose()
                        await company.enter_async_context(self._greeted(left_behind))
                    await asyncio.sleep(delay)
                else:
                    self._cannot_begin = None
                    return

    def _greeted(
        self, left_behind: list[tuple[WorkerRecord, Process]]
    ) -> contextlib.AbstractAsyncContextManager[None]:
        return greeted(
            [record for record, _ in left_behind],
            instance=self._lock.instance,
            after=self._timings.greet_after,
            again=self._timings.greet_again,
        )

    async def _abandon_removed(self) -> None:
        """A daemon that died in the middle of a DELETE left what was still to be sent."""
        for view in await self._supervisor.sessions.views(removed=True):
            if view.removed_at is not None:
                await self._outbox.abandon(view.session_id, "its session was deleted")

    def _say_not_begun(self, error: Exception, delay: float) -> None:
        why = error.line() if isinstance(error, WaguardError) else repr(error)
        if isinstance(error, DatabaseUnavailableError):
            logger.debug("the database is not open; trying again", why=why, delay=delay)
            self._fleet.outages.update("database_down", error.message)
        else:
            logger.opt(exception=error).critical(
                "the start failed; trying again", event="begin_failed", why=why, delay=delay
            )
        self._cannot_begin = f"cannot begin yet: {why}"

    def _measure(self) -> None:
        interval = self._config().worker.measure_interval
        self._ticker.every(interval, "measure", self._supervisor.watchdog.measure)

    def _workers_left(self) -> list[tuple[WorkerRecord, Process]]:
        self._report_unreadable()
        living, gone = self._runtime.workers_left(self._spawn.adopt)
        self._lost.extend(gone)
        return living

    def _report_unreadable(self) -> None:
        """What an earlier daemon left, and nobody can read, is quarantined."""
        found = quarantine_unreadable_records(self._runtime.workers)
        if self._lock.found_unreadable:
            found[self._runtime.workers.parent / PID_FILE] = self._lock.found_unreadable
        for memory in (self._restarts, self._run_file, self._supervisor.versions.memory):
            if memory.unreadable:
                found[memory.path] = memory.unreadable
        for path, why in found.items():
            logger.error(
                "a file is unreadable and is quarantined",
                event="file_unreadable",
                file=str(path),
                why=why,
            )
            self._fleet.trail.record("file_unreadable", reason=f"{path} is quarantined: {why}")

    def _require_room(self) -> None:
        """Raises ``WaguardError`` while new work would end badly."""
        self._disk.require()
        self._journal.backlog.require_room()

    async def _watch(self) -> None:
        logs.tick()
        self._fleet.outages.update("runtime_removed", self._runtime.restore())
        if self._local:
            await self._local.keep()
        self._disk.check()
        self._check_messages()
        await self._supervisor.watchdog.watch()
        self._notifier.status(self._cannot_begin or status_line(self._supervisor.health.read()))
        # only here: the watchdog learns that supervision moves, not that a timer fires
        self._notifier.alive()

    def _check_messages(self) -> None:
        if self._webhooks and self._messages:
            self._webhooks.check()
            self._supervisor.health.report("messages", self._messages.conditions())

    def _for_global(self) -> Collection[str]:
        webhook = self._config().webhook
        return webhook.events if webhook.url is not None else ()

    async def _save_clock(self) -> None:
        await asyncio.to_thread(self._ages.save)

    @contextlib.asynccontextmanager
    async def _fed(self, webhooks: Webhooks) -> AsyncIterator[None]:
        """Feed the bus to the inbox while the body runs."""
        feeding = asyncio.create_task(feed(self._bus, self._journal, webhooks), name="inbox feed")
        await asyncio.sleep(0)  # it subscribes before anything is published
        try:
            yield
        finally:
            self._bus.close()
            await feeding
            if not self._ended_for and await self._journal.flushed(DRAIN):
                await webhooks.drain_sessions(DRAIN)

    # ---- signals ----

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        loop.add_signal_handler(signal.SIGUSR2, self._on_hand_over)
        for number in early_signals.drain():
            match number:
                case signal.SIGHUP:
                    self._on_reload()
                case signal.SIGUSR2:
                    self._on_hand_over()
                case _:
                    self._on_stop(number)

    def _on_hand_over(self) -> None:
        if not self._stop.is_set():
            self._hands_over = True
            self._why_stopping = "a restart"
            self._stop.set()

    def _on_stop(self, number: signal.Signals) -> None:
        self._signals += 1
        self._hands_over = False
        self._why_stopping = number.name
        if self._signals > 1 and number == signal.SIGINT:
            logger.warning("second interrupt: workers are killed", event="workers_killed")
            self._supervisor.kill()
        self._stop.set()

    def _on_reload(self) -> None:
        if self._stop.is_set():
            return  # nothing would come of it
        if self._up:  # else it is not ready yet
            self._notifier.reloading()
        result = self._reload.run()
        if self._up:
            self._notifier.ready(result)

    def _reloaded(self, changed: Collection[str]) -> None:
        if "worker" in changed:
            self._measure()
        self._renew_webhooks()
        self._renew_keys()

    def _apply_log(self, log: Log) -> None:
        self._config.replace(log=log)
        logs.configure(log.level, log.format)
        for session in self._supervisor.registry.sessions:
            session.runner.follow_log()

    def _renew_webhooks(self) -> None:
        """Also where no key changed: the file with the secrets may have."""
        try:
            secrets = read_secrets(self._config().webhook.secret_file)
        except ConfigError as error:
            logger.error(
                "webhook secrets kept as they were: {}",
                error.line(),
                event="secrets_rejected",
                every=True,
            )
            return
        logs.hide(*secrets)
        if self._webhooks:
            self._webhooks.configure(secrets)

    def _renew_keys(self) -> None:
        if self._keys is None:
            return  # it is not up yet, and reads them
        try:
            fresh = load_or_create_keys(self._config().api.key_file)
        except ConfigError as error:
            logger.error(
                "API keys kept as they were: {}", error.line(), event="keys_rejected", every=True
            )
            return
        logs.hide(*fresh.values)
        self._keys.renew(fresh)


def _written(config: Config) -> tuple[Path, ...]:
    """Folders on whose disks sessions and messages are stored."""
    paths = (config.paths.sessions, config.paths.state)
    database = sqlite_file(config.database.url)
    return (*paths, database.parent) if database else paths
