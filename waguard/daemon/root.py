"""Knows everyone, decides nothing.

Start order: configuration → lock → port (``cli``), then everything heavy here: API, database and
its lease, restore, ticks. Stop order: the reverse, sessions all in parallel.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from pathlib import Path

from loguru import logger

from waguard.api import ApiDeps, LocalApi, create_app, key_table, serve
from waguard.api.door import CONNECTIONS
from waguard.config.passwords import passwords
from waguard.config.sections import Config, Log
from waguard.core.host import last_run
from waguard.core.host.admission import Reading
from waguard.daemon import gone_sessions, stop_sequence, watch
from waguard.daemon.bus_to_inbox import feed
from waguard.daemon.database_lease import DatabaseLease
from waguard.daemon.foundation import Foundation
from waguard.daemon.history_recorder import HistoryRecorder
from waguard.daemon.housekeeping import Housekeeping, written
from waguard.daemon.installation import Installation
from waguard.daemon.leftovers import Leftovers
from waguard.daemon.lending import lend
from waguard.daemon.reload import CurrentConfig, Reload
from waguard.daemon.restore_loop import RestoreLoop
from waguard.daemon.run_history import RunHistory
from waguard.daemon.runtime_folder import RuntimeFolder, make_private
from waguard.daemon.secret_files import SecretFiles
from waguard.daemon.several_hosts import cluster_of
from waguard.daemon.shared_credentials import proxy_records, shared
from waguard.daemon.signals import Signals
from waguard.daemon.stop_request import StopRequest
from waguard.daemon.watch import Watch
from waguard.host.files.lock import InstanceLock
from waguard.host.memory import restore_journal
from waguard.host.memory.alert_memory import AlertMemory
from waguard.host.memory.documents import FOLDER, Documents
from waguard.host.memory.lived import SAVED_EVERY
from waguard.host.memory.restart_memory import RestartMemory
from waguard.host.memory.run_file import RunFile
from waguard.host.process import heap
from waguard.host.process import open_files as files
from waguard.host.process.fork_server import ForkSpawn
from waguard.host.process.usage import Meter
from waguard.host.system import logs
from waguard.host.system.api_port import ApiPort
from waguard.host.system.evidence import HostEvidence
from waguard.host.system.listen import base_url, public_url
from waguard.host.system.pressure import cpu_is_saturated
from waguard.host.system.systemd import SystemdNotifier
from waguard.host.ticker import Ticker
from waguard.messaging.alerts.alerts import Alerts
from waguard.messaging.health import COUNTED_EVERY, MessageHealth
from waguard.messaging.outbox.bulk import Bulks
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.supervision.fleet.database_watch import ASKED_EVERY, DatabaseWatch
from waguard.supervision.fleet.disk_reserve import DiskReserve
from waguard.supervision.log_control import LogControl
from waguard.supervision.supervisor import Ports, Supervisor
from waguard.supervision.timings import Timings
from waguard.supervision.versions.decision import Packed
from waguard.worker.page import wajs


class Daemon:
    """One run of the daemon."""

    def __init__(
        self,
        config: Config,
        lock: InstanceLock,
        port: ApiPort,
        path: Path | None,
        spawn: ForkSpawn,
    ) -> None:
        """``path``: what SIGHUP reads again. ``lock`` and ``spawn``: begun; whoever began them ends them."""
        heap.share()
        self._config = current = CurrentConfig(config)
        self._port = port
        self._public_url = public_url(config.api.public_url, port.socket)
        self._notifier = SystemdNotifier()
        self._ticker = Ticker()
        self._stop = StopRequest()
        timings = Timings()
        self._base = base = Foundation(current, timings, public_url=self._public_url)
        self._runtime = RuntimeFolder(config.paths.runtime, lock)
        state, clock = config.paths.state, base.clock
        self._cluster = cluster_of(base, self._stop, spawn, lock.instance)
        ownership = self._cluster.ownership if self._cluster else None
        restarts = RestartMemory(state, clock)
        remembered = restarts.load()
        self._supervisor = Supervisor(
            current,
            Ports(
                store=base.store,
                inbox=base.journal,
                messages=base.store.messages,
                spawn=spawn,
                documents=Documents(state / FOLDER),
                clock=clock,
                ages=base.ages,
                tally=base.tally,
                meter=Meter(),
                witness=HostEvidence(base.browsers.config),
                browsers=base.browsers,
                proxies=proxy_records(base),
                host=self._read_host,
                network=base.network.read,
                abandon=lambda session, why: self._outbox.abandon(session, why),  # noqa: PLW0108 - made later
                cpu_is_saturated=cpu_is_saturated,
                remembered=lambda: remembered,
                lent_until=lambda: self._lease.lent_until,
                ownership=ownership,
                shipping=shared(
                    base, lambda: (self._lease.keeper, self._supervisor.fleet.outages), ownership
                ),
            ),
            base.bus,
            instance=lock.instance,
            packed=Packed(wajs.SHA256, wajs.VERSION),
            timings=timings,
        )
        fleet = self._supervisor.fleet
        self._installation = Installation(current, base.store.installation, fleet.outages)
        self._lease = DatabaseLease(
            current,
            base.store,
            lock,
            fleet.outages,
            self._stop,
            self._installation,
            lend=lambda: lend(self._supervisor, lends=self._lease.keeper.standby),
            cluster=self._cluster,
        )
        self._outbox = Outbox(
            self._supervisor.sessions,
            base.store.outbox,
            base.journal,
            current,
            clock,
            require_room=self._require_room,
            ages=base.ages,
            tally=base.tally,
            group_waits=base.restored.group_waits,
            file=base.outgoing.path,
            bring=self._cluster.uploads.bring if self._cluster else None,
            epoch_seen=ownership.epoch_seen if ownership else None,
        )
        self._deferred = base.deferred_files(self._supervisor.sessions)
        self._database = DatabaseWatch(base.store, self._supervisor.state, file=base.store.file)
        self._disk = DiskReserve(
            fleet.outages,
            clock,
            reserve=lambda: current().limits.disk_reserve,
            folders=written(config),
        )
        self._run_file = RunFile(state, clock)
        self._history = RunHistory(self._run_file, restarts, fleet.trail, self._supervisor)
        sent = AlertMemory(state)
        name = config.cluster.host if self._cluster else socket.gethostname()
        self._alerts = Alerts(current, sent, base.store, clock, host=name)
        memories = (restarts, self._run_file, self._supervisor.versions.memory, sent, base.history)
        self._restore = RestoreLoop(
            base.store,
            self._lease.keeper,
            self._installation,
            self._outbox,
            self._supervisor,
            leftovers=Leftovers(self._runtime, memories, spawn.adopt, fleet.trail),
            history=self._history,
            state=state,
            outages=fleet.outages,
            stop=self._stop,
            instance=lock.instance,
            timings=timings,
            cluster=self._cluster,
        )
        self._housekeeping = Housekeeping(current, base.store, base.media, base.ages, base.outgoing)
        self._log = LogControl(config.log, fleet.trail, self._apply_log)
        self._reload = Reload(current, path, self._log)
        self._reload.subscribe(self._reloaded)
        self._signals = Signals(self._stop, self._reload, self._notifier, self._supervisor.kill)

    async def run(self) -> int:
        """The exit code. Raises ``InstanceHeldError`` where another daemon has the database."""
        self._signals.listen()
        paths = self._config().paths
        self._runtime.make()
        make_private("paths.sessions", paths.sessions)
        make_private("paths.state", paths.state)
        restore_journal.forget(paths.state)
        outages = self._supervisor.fleet.outages
        secrets = SecretFiles(self._config, self._base.clock, report=outages.update)
        self._alerts.configure()
        logs.hide(*passwords(self._config().database.url))
        webhooks = self._base.webhooks(self._supervisor, secrets.webhook)
        if self._cluster:
            parts = (self._supervisor, self._outbox, webhooks, self._deferred)
            self._cluster.connect(*parts, lambda: secrets.webhook)
        self._reload.subscribe(lambda _: secrets.read_again(webhooks.configure))
        self._reload.subscribe(lambda _: self._alerts.configure())
        messages = MessageHealth(
            webhooks,
            self._base.journal,
            hold_limit=lambda: self._config().webhook.hold_limit,
            ages=self._base.ages,
        )
        app = create_app(self._api(secrets, webhooks, messages))
        if self._cluster:
            self._cluster.work_with_others(self._alerts, app, self._ticker)
        # half of the files: the other half is for sessions, database and webhooks
        most = min(CONNECTIONS, files.raise_limit() // 2)
        runner = await serve(app, self._port.socket, connections=most, kept=self._port_is_kept)
        local = LocalApi(runner, paths.runtime)
        await local.listen()
        self._report_up()
        self._run_file.begin()
        with self._run_file.ending():
            try:
                async with self._lease.renewed(), self._base.journal, webhooks, self._fed(webhooks):
                    self._schedule(webhooks, messages, local)
                    self._ticker.every(key_table.SAVED_EVERY, "keys", secrets.save_keys)
                    async with self._deferred:
                        await self._work(webhooks)
            finally:
                await self._alerts.close()
                await self._base.end_calls()
                await runner.cleanup()
                await secrets.save_keys()
                if self._cluster:
                    await self._cluster.renew_last(store_is_open=True)
                await self._base.close()
                if self._cluster:
                    await self._cluster.close()
                logger.info("waguard has stopped", event="daemon_stopped")
        if self._stop.error:
            raise self._stop.error
        return 0

    def _api(self, secrets: SecretFiles, webhooks: Webhooks, messages: MessageHealth) -> ApiDeps:
        base, supervisor = self._base, self._supervisor
        bulks = Bulks(self._outbox, base.store.outbox, lambda: self._config().send, ages=base.ages)
        return ApiDeps(
            config=self._config,
            keys=secrets.keys,
            issued_keys=secrets.issued_keys,
            sessions=supervisor.sessions,
            passkeys=supervisor.passkeys,
            proxies=supervisor.proxies,
            reconciler=supervisor.reconciler,
            health=supervisor.health.read,
            store=base.store,
            database=self._installation,
            audit=base.changes.append,
            events=base.bus,
            outbox=self._outbox,
            bulks=bulks,
            fetcher=base.fetcher,
            outgoing=base.store.outbox,
            messages=base.store.messages,
            media=base.media,
            outgoing_files=base.outgoing,
            deferred=self._deferred,
            webhooks=webhooks,
            message_health=messages,
            history=base.history,
            log=self._log,
            versions=supervisor.operators,
            tally=base.tally,
            restored=base.restored,
            standby=lambda: self._lease.keeper.held_elsewhere,
            cluster=self._cluster.for_api(self._public_url, secrets) if self._cluster else None,
            require_room=self._require_room,
        )

    def _report_up(self) -> None:
        if not self._config().browser.sandbox:
            logger.warning(
                "Chromium runs without its sandbox: browser.sandbox is false",
                event="browser_unsandboxed",
            )
        logger.info(
            "waguard is up",
            event="daemon_up",
            api=base_url(self._port.socket),
            public_url=self._public_url,
            pid=os.getpid(),
        )
        self._notifier.ready("waiting for the database")
        self._signals.report_reloads()

    def _schedule(self, webhooks: Webhooks, messages: MessageHealth, local: LocalApi) -> None:
        watching = Watch(
            self._supervisor,
            self._supervisor.fleet.outages,
            self._notifier,
            ticker=self._ticker,
            runtime=self._runtime,
            local=local,
            disk=self._disk,
            webhooks=webhooks,
            messages=messages,
            stored=self._base.stored,
            restore=self._restore,
            alerts=self._alerts,
            restored=self._base.restored,
        )
        self._ticker.every(watch.INTERVAL, "watch", watching.tick)
        self._measure()
        interval = self._config().reconcile.interval
        self._ticker.every(interval, "reconcile", self._supervisor.reconciler.reconcile)
        if self._cluster:
            self._ticker.every(interval, "engine", self._cluster.tick)
        self._ticker.every(ASKED_EVERY, "database", self._database.tick)
        self._ticker.every(COUNTED_EVERY, "webhooks", messages.count)
        gone_sessions.schedule(self._ticker, webhooks, self._supervisor.registry)
        self._ticker.every(watch.INTERVAL, "receiver", partial(self._check_receiver, webhooks))
        self._ticker.every(heap.TRIMMED_EVERY, "memory", heap.trim)
        recorder = HistoryRecorder(self._base, self._supervisor, self._outbox, messages)
        self._ticker.every(SAVED_EVERY, "history", recorder.tick)
        self._ticker.every(last_run.SEEN_EVERY, "alive", self._history.renew)
        self._housekeeping.schedule(self._ticker, webhooks.dead_letters.add_expired)

    async def _work(self, webhooks: Webhooks) -> None:
        """Restore, then tick until a stop is requested; then stop every session."""
        self._ticker.start()
        self._history.report_last_run()
        self._supervisor.versions.begin()
        renewing = asyncio.create_task(self._history.renew(), name="alive")
        reporting = asyncio.create_task(self._history.renew_when_reported(), name="reporting")
        beginning = asyncio.create_task(self._restore.run(), name="beginning")
        try:
            await self._stop.wait()
        finally:
            stop_sequence.announce(self._stop, self._notifier)
            self._ticker.stop()
            marking = asyncio.create_task(self._history.stopping(self._stop.why), name="stopping")
            for task in (beginning, reporting):
                task.cancel()
            await asyncio.gather(beginning, reporting, return_exceptions=True)
            await stop_sequence.stop_sessions(
                self._stop, self._supervisor, self._restore, self._outbox, webhooks, self._cluster
            )
            # what became of them since the last tick, and while they were closed
            keeping = asyncio.create_task(self._history.renew(), name="keeping")
            await stop_sequence.wait_for_files(renewing, marking, keeping)
            await self._database.asked()

    @contextlib.asynccontextmanager
    async def _fed(self, webhooks: Webhooks) -> AsyncIterator[None]:
        """Feed the bus to the inbox while the body runs."""
        bus, journal = self._base.bus, self._base.journal
        feeding = asyncio.create_task(feed(bus, journal, webhooks), name="inbox feed")
        await asyncio.sleep(0)  # it subscribes before anything is published
        try:
            yield
        finally:
            bus.close()
            await feeding
            await stop_sequence.deliver_last_events(self._stop, journal, webhooks)

    def _port_is_kept(self) -> bool:
        """Whether connections wait for the next daemon, from the end of this one on."""
        return self._port.activated or self._stop.hands_over

    def _require_room(self) -> None:
        """Raises ``WaguardError`` while new work would end badly."""
        self._disk.require()
        self._base.journal.backlog.require_room()

    def _read_host(self, unpaired: Callable[[], Collection[Path]]) -> Reading:
        return self._lease.on(self._base.host.read(self._base.browsers.config(), unpaired))

    def _measure(self) -> None:
        interval = self._config().worker.measure_interval
        self._ticker.every(interval, "measure", self._supervisor.watchdog.measure)

    async def _check_receiver(self, webhooks: Webhooks) -> None:
        await asyncio.gather(webhooks.check_receiver(), self._base.stored.check())

    def _reloaded(self, changed: Collection[str]) -> None:
        if "worker" in changed:
            self._measure()

    def _apply_log(self, log: Log) -> None:
        self._config.replace(log=log)
        logs.configure(log.level, log.format)
        for session in self._supervisor.registry.sessions:
            session.runner.follow_log()
