"""The configuration, as far as decisions read it."""

from waguard.config.sections import Config
from waguard.core.fleet.breaker import FleetPolicy
from waguard.core.fleet.facts import FleetRules
from waguard.core.host.admission import Limits
from waguard.core.session.probe import Limits as ProbeLimits
from waguard.core.session.restart import RestartPolicy
from waguard.core.session.state import Rules
from waguard.supervision.timings import Timings


def session_rules(config: Config, timings: Timings) -> Rules:
    """For each session."""
    restart = config.restart
    return Rules(
        restart=RestartPolicy(
            intensity=restart.intensity,
            period=restart.period,
            base_delay=restart.base_delay,
            max_delay=restart.max_delay,
        ),
        stable_after=restart.stable_after,
        limits=ProbeLimits(start=config.browser.launch_timeout + config.restore.timeout),
        adopt=timings.adopt,
        link_unknown=timings.link_unknown,
        held_retry=timings.held_retry,
        stop_grace=timings.stop_grace,
        takeover=config.whatsapp.on_conflict == "takeover",
    )


def fleet_rules(config: Config) -> FleetRules:
    """For all of them."""
    fleet, admission = config.fleet, config.admission
    return FleetRules(
        limits=Limits(
            places=config.restore.concurrency,
            session_memory=admission.session_memory << 20,
            memory_reserve=admission.memory_reserve << 20,
            memory_pressure=admission.memory_pressure,
        ),
        breaker=FleetPolicy(threshold=fleet.threshold, minimum=fleet.minimum),
        threshold=fleet.threshold,
        watch_network=fleet.network == "auto",
        ack_limit=config.send.ack_limit,
        memory_limit=config.worker.memory_limit << 20,
    )
