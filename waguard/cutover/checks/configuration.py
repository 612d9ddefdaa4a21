"""Whether waguard's configuration fits the application's ``.env``."""

import shlex
from typing import Final
from urllib.parse import urlsplit

from waguard.core import outgoing_address as address
from waguard.cutover.checks.addresses import is_local
from waguard.cutover.checks.seen import Env, Secret, Seen, Settings
from waguard.doctor.checks.stored import proposed
from waguard.doctor.report import Check, Cli, failed, ok, skipped

HOOK: Final = "/api/whatsapp/webhooks/webjs"


def configure(seen: Seen, cli: Cli) -> list[Check]:
    """Keys, secret, addresses and database are those of the application."""
    env, here = seen.env, seen.settings
    if env is None:
        return [
            skipped(
                "application", "name the application's .env, --env FILE, to have its keys compared"
            )
        ]
    if env.error:
        remedy = "Name a readable file"
        return [
            failed(
                "application",
                f"{env.path} cannot be read: {env.error}",
                remedy,
                f"ls -l {shlex.quote(env.path)}",
            )
        ]
    return [
        *_keys(env, here),
        _secret(env, here),
        _hook(env, here, cli),
        _database(env, here, cli),
        _keyless(here, cli),
        _private(env, here, cli),
        _public(env, here, cli),
        proposed(seen.messages, here.stored, here.path, cli),
    ]


def _keys(env: Env, here: Settings) -> list[Check]:
    if not env.keys:
        return [
            failed(
                "keys",
                f"{env.path} sets no key: the application uses its default, which everybody knows",
                f"Set WHATSAPP_NODE_API_KEY to {here.least} characters or more in it",
                f"echo WHATSAPP_NODE_API_KEY=$(openssl rand -hex 32) >> {shlex.quote(env.path)}",
            )
        ]
    checks = []
    for key in env.keys:
        if key.length < here.least:
            checks.append(
                failed(
                    "keys",
                    f"{key.name} has {key.length} characters, waguard takes {here.least} or more",
                    f"Set a longer one in {env.path}, and the same in {here.key_file}",
                    "openssl rand -hex 32",
                )
            )
        elif key.known is not True:
            why = "is not in" if key.known is False else "could not be searched for in"
            checks.append(
                failed(
                    "keys",
                    f"{key.name} {why} {here.key_file}: its calls get 401",
                    f"Add its value to {here.key_file}, one key a line",
                    f"{_value(env, key)} >> {shlex.quote(here.key_file)}",
                )
            )
    return checks or [ok("keys", f"{here.key_file} holds the application's keys")]


def _secret(env: Env, here: Settings) -> Check:
    name = "secret"
    if env.secret is None:
        return failed(
            name,
            f"{env.path} sets no HMAC secret: the application refuses every webhook",
            "Set WHATSAPP_HMAC_SECRET in it, and the same in webhook.secret_file",
            "openssl rand -hex 32",
        )
    if env.secret.known:
        return ok(name, f"{here.secret_file} holds the application's {env.secret.name}")
    target = here.secret_file or "/etc/waguard/webhook-secret"
    said = "is not the first line of" if here.secret_file else "is not in webhook.secret_file, e.g."
    return failed(
        name,
        f"{env.secret.name} {said} {target}: the application answers 401 to webhooks",
        f"Write it there{'' if here.secret_file else ', and name the file in webhook.secret_file'}",
        f"{_value(env, env.secret)} | install -m 0640 -g waguard /dev/stdin {shlex.quote(target)}",
    )


def _value(env: Env, secret: Secret) -> str:
    """The command that prints it, without its quotes."""
    return f"grep ^{secret.name}= {shlex.quote(env.path)} | cut -d= -f2- | tr -d '\"'"


def _hook(env: Env, here: Settings, cli: Cli) -> Check:
    name, set_it = "webhook.url", cli("config check")
    wanted = f"{env.url.rstrip('/')}{HOOK}" if env.url else None
    if here.hook is None:
        value = wanted or f"http://127.0.0.1:8000{HOOK}"
        return failed(
            name,
            "webhook.url is not set: the application gets no webhooks",
            f'Set webhook.url = "{value}" in {here.path}',
            set_it,
        )
    if urlsplit(here.hook).path != HOOK:
        return failed(
            name,
            f"webhook.url is {here.hook}, the application takes {HOOK}",
            f'Set webhook.url = "{wanted or HOOK}" in {here.path}',
            set_it,
        )
    return ok(name, f"webhook.url is {here.hook}")


def _database(env: Env, here: Settings, cli: Cli) -> Check:
    if env.database is None or env.database == here.database:
        return ok("database", f"database.url is {here.database}")
    scheme, _, place = env.database.partition("://")
    return failed(
        "database",
        f"database.url is {here.database}, the application's database is {env.database}",
        f'Set database.url = "{scheme}://USER:PASSWORD@{place}" in {here.path}',
        cli("config check"),
    )


def _keyless(here: Settings, cli: Cli) -> Check:
    if here.keyless:
        return ok("api.keyless_loopback", "the application's calls without a key are answered")
    return failed(
        "api.keyless_loopback",
        "the application asks for a session's status and last activity, and logs it out, without a key, and gets 401",
        f"Set api.keyless_loopback = true in {here.path}; it holds for callers on this machine",
        cli("config check"),
    )


def _private(env: Env, here: Settings, cli: Cli) -> Check:
    name = "send.allow_private"
    if env.url is None or address.url_refusal(env.url, allow_private=False) is None:
        return ok(name, "the application's files lie at a public address, as far as APP_URL says")
    if here.allow_private:
        return ok(name, f"files may be fetched from {env.url}")
    return failed(
        name,
        f"files that are sent lie at {env.url}, a private address, and are refused",
        f"Set send.allow_private = true in {here.path}",
        cli("config check"),
    )


def _public(env: Env, here: Settings, cli: Cli) -> Check:
    name = "api.public_url"
    if env.url is None or is_local(env.url) or not is_local(here.public):
        return ok(name, f"webhooks give {here.public} as waguard's address")
    return failed(
        name,
        f"webhooks name {here.public} to the application at {env.url}: that is the application itself",
        f"Set api.public_url in {here.path} to what the application reaches this machine by",
        cli("config check"),
    )
