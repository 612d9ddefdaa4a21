"""Keys and defaults are a contract, and the example shows them all."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.config.configured import EXAMPLE, loaded
from waguard.config.reading import load
from waguard.config.sections import SECTIONS, version_rules
from waguard.core.versions.version_rules import VersionRules
from waguard.core.webhooks.delivery import OLD_SERVICE


def test_nothing_given_is_the_contract(folder: Path) -> None:
    config = load(None, {})
    reported = {
        f"{section}.{key}": value
        for section, keys in msgspec.structs.asdict(config).items()
        for key, value in msgspec.structs.asdict(keys).items()
    }
    assert reported == {
        "api.host": "127.0.0.1",
        "api.port": 3001,
        "api.key_file": folder / "state/api-key",
        "api.public_url": None,
        "api.keyless_loopback": False,
        "paths.sessions": folder / "sessions",
        "paths.runtime": folder / "run",
        "paths.state": folder / "state",
        "database.url": f"sqlite+aiosqlite:///{folder}/state/waguard.db",
        "database.key_file": None,
        "lease.margin": 15.0,
        "lease.standby": False,
        "cluster.engine": "none",
        "cluster.endpoints": (),
        "cluster.ca_file": None,
        "cluster.certificate_file": None,
        "cluster.private_key_file": None,
        "cluster.user_file": None,
        "cluster.host": "",
        "cluster.address": "",
        "cluster.lease": None,
        "cluster.key_file": None,
        "cluster.max_sessions": 0,
        "browser.executable": None,
        "browser.flavour": "chromium",
        "browser.extra_args": (),
        "browser.launch_timeout": 30.0,
        "browser.sandbox": True,
        "browser.keep_previous": False,
        "whatsapp.url": "https://web.whatsapp.com/",
        "whatsapp.wajs": None,
        "whatsapp.on_conflict": "park",
        "whatsapp.passkey_extension": "",
        "whatsapp.presence": "",
        "whatsapp.call_through": (),
        "versions.mode": "react",
        "versions.good_after": 1800.0,
        "versions.well_for": 60.0,
        "versions.trial_limit": 600.0,
        "versions.pause": 900.0,
        "versions.canary_after": 3600.0,
        "versions.canary_for": 1800.0,
        "restore.timeout": 25.0,
        "restore.concurrency": 2,
        "admission.session_memory": 200,
        "admission.memory_reserve": 300,
        "admission.memory_pressure": 20.0,
        "fleet.threshold": 0.5,
        "fleet.minimum": 3,
        "fleet.network": "auto",
        "worker.orphan_grace": 60.0,
        "worker.measure_interval": 15.0,
        "worker.memory_limit": 0,
        "profiles.cache_limit": 300,
        "profiles.quarantine_days": 30,
        "profiles.quarantine_limit": 2000,
        "reconcile.interval": 30.0,
        "restart.intensity": 5,
        "restart.period": 300.0,
        "restart.base_delay": 1.0,
        "restart.max_delay": 60.0,
        "restart.stable_after": 300.0,
        "send.wait": 20.0,
        "send.timeout": 30.0,
        "send.ack_limit": 60.0,
        "send.reply_grace": 120.0,
        "send.check_first_contact": True,
        "send.fetch_timeout": 15.0,
        "send.allow_private": False,
        "send.rate": 0.0,
        "send.burst": 5,
        "send.gap": (0.0, 0.0),
        "send.bulk_gap": 1.0,
        "limits.disk_reserve": 200,
        "limits.sends_in_flight": 50,
        "limits.requests": 200,
        "webhook.url": None,
        "webhook.secret_file": None,
        "webhook.give_up_after": 2_592_000.0,
        "webhook.allow_private": False,
        "webhook.hold": True,
        "webhook.hold_limit": 900.0,
        "webhook.events": OLD_SERVICE,
        "webhook.stored": None,
        "webhook.inline_limit": 16 << 20,
        "webhook.body_limit": 8_388_608,
        "webhook.fields": "application",
        "alerts.destination_file": None,
        "alerts.quiet": "",
        "alerts.page_url": None,
        "alerts.heartbeat_url": None,
        "inbox.broadcasts": False,
        "inbox.channels": False,
        "inbox.groups": True,
        "inbox.backfill_after_pairing": 600.0,
        "inbox.undecryptable_interval": 3600.0,
        "sentinel.sessions": (),
        "sentinel.interval": 3600.0,
        "media.keep_days": 30,
        "media.limit": 4096,
        "media.file_limit": 128,
        "retention.inbox_days": 30,
        "retention.outbox_days": 30,
        "retention.dead_days": 30,
        "retention.audit_days": 90,
        "log.level": "INFO",
        "log.format": "auto",
    }


def test_the_example_changes_nothing_but_the_paths_and_names_every_key() -> None:
    text = EXAMPLE.read_text()
    the_services = {
        "WAGUARD_PATHS__SESSIONS": "/var/lib/waguard/sessions",
        "WAGUARD_PATHS__RUNTIME": "/run/waguard",
        "WAGUARD_PATHS__STATE": "/var/lib/waguard/state",
    }
    assert load(EXAMPLE, {}) == load(None, the_services)
    # with the leading # of `# key = …` taken away, every key is there, in its section
    whole = tomllib.loads(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    assert {name: set(keys) for name, keys in whole.items()} == {
        name: {field.name for field in msgspec.structs.fields(section)}
        for name, section in SECTIONS.items()
    }


def test_what_the_example_shows_commented_out_is_allowed() -> None:
    assert loaded(re.sub(r"(?m)^# (\w+ = )", r"\1", EXAMPLE.read_text())).webhook.secret_file


def test_a_configuration_cannot_be_changed() -> None:
    config: Any = load(None, {})
    with pytest.raises(AttributeError):
        config.api.port = 1


def test_the_core_gets_the_rules_of_versions_as_configured() -> None:
    rules = version_rules(
        loaded("[versions]\nmode = 'guard'\npause = 60\n[restore]\nconcurrency = 3")
    )
    assert rules == VersionRules(mode="guard", pause=60.0, places=3)
