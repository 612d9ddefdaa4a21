"""A refusal names key, value and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from tests.config.configured import loaded, refusal
from waguard.config.checks import require_sandbox
from waguard.config.reading import load
from waguard.errors import ConfigError


@dataclass(frozen=True)
class Bad:
    """``shown`` is the value as the line shows it, ``allowed`` what it says is right."""

    field: str
    shown: str
    allowed: str
    text: str | bytes = ""
    environ: Mapping[str, str] | None = None


SEES_EXAMPLE: Final = "etc/waguard.toml"
BAD: Final = {
    "a lease too short for a standby": Bad(
        "lease.margin",
        "1.0",
        "use 15",
        "[lease]\nstandby = true\nmargin = 1\n[worker]\norphan_grace = 2",
    ),
    "credentials that are shared by a file": Bad(
        "database.key_file",
        "(not shown)",
        "use PostgreSQL or MariaDB",
        '[database]\nkey_file = "/x/key"\n[lease]\nstandby = true',
    ),
    "an extension that is none": Bad(
        "whatsapp.passkey_extension",
        "waguard",
        "use the 32 letters",
        '[whatsapp]\npasskey_extension = "waguard"',
    ),
    "a call through that sends": Bad(
        "whatsapp.call_through",
        "chat.sendTextMessage",
        "name functions that read",
        '[whatsapp]\ncall_through = ["chat.getMessages", "chat.sendTextMessage"]',
    ),
    "a presence that is none": Bad(
        "whatsapp.presence", "away", SEES_EXAMPLE, "[whatsapp]\npresence = 'away'"
    ),
    "what to do that is none": Bad(
        "whatsapp.on_conflict",
        "'ask'",
        "it has to be one of 'park', 'takeover'",
        "[whatsapp]\non_conflict = 'ask'",
    ),
    "quiet hours that are none": Bad(
        "alerts.quiet", "'22-7'", "22:00-07:00", "[alerts]\nquiet = '22-7'"
    ),
    "a heartbeat to a metadata service": Bad(
        "alerts.heartbeat_url",
        "169.254.169.254",
        "name the address",
        "[alerts]\nheartbeat_url = 'http://169.254.169.254/'",
    ),
    "a page with a key in its address": Bad(
        "alerts.page_url", "#key", "https://host/", "[alerts]\npage_url = 'https://wa.example/#key'"
    ),
    "unknown section": Bad("apl", "3", "api, browser", "apl = 3"),
    "unknown key": Bad("api.prot", "3001", "api.port", "[api]\nprot = 3001"),
    "a section that is none": Bad("api", "3", "[api]", "api = 3"),
    "a list of sections": Bad("api", "[{'port': 1}]", "[api]", "[[api]]\nport = 1"),
    "a section in a section": Bad("api.tls", "not shown", "api.port", "[api.tls]\non = true"),
    "text for a number": Bad("api.port", "'3001'", "int", "[api]\nport = '3001'"),
    "a fraction for a count": Bad(
        "restore.concurrency", "1.5", "int", "[restore]\nconcurrency = 1.5"
    ),
    "a port above the last": Bad("api.port", "65536", "65535", "[api]\nport = 65536"),
    "a negative port": Bad("api.port", "-1", ">= 0", "[api]\nport = -1"),
    "a number without end": Bad("api.port", "…", "65535", f"[api]\nport = {'9' * 300}"),
    "a public address no address": Bad(
        "api.public_url", "wa.example", "http://host/", '[api]\npublic_url = "wa.example"'
    ),
    "a public address of another kind": Bad(
        "api.public_url",
        "ftp://wa.example",
        "http://host/",
        '[api]\npublic_url = "ftp://wa.example"',
    ),
    "a public address with a space": Bad(
        "api.public_url",
        "http://wa example",
        "http://host/",
        '[api]\npublic_url = "http://wa example"',
    ),
    "a public address of no host": Bad(
        "api.public_url",
        "http://0.0.0.0:3001",
        "unspecified",
        '[api]\npublic_url = "http://0.0.0.0:3001"',
    ),
    "a public address of no IPv6 host": Bad(
        "api.public_url",
        "http://[::]:3001",
        "unspecified",
        '[api]\npublic_url = "http://[::]:3001"',
    ),
    "a public address with a query": Bad(
        "api.public_url",
        "https://wa.example/?a=1",
        "no ?",
        '[api]\npublic_url = "https://wa.example/?a=1"',
    ),
    "a public address with a fragment": Bad(
        "api.public_url",
        "https://wa.example/#",
        "no ?",
        '[api]\npublic_url = "https://wa.example/#"',
    ),
    "a public address with a user": Bad(
        "api.public_url", "not shown", "user", '[api]\npublic_url = "https://me@wa.example/"'
    ),
    "a public address too long": Bad(
        "api.public_url", "…", "255", f'[api]\npublic_url = "https://wa.example/{"x" * 250}"'
    ),
    "a switch as a number": Bad("api.keyless_loopback", "1", "bool", "[api]\nkeyless_loopback = 1"),
    "a number as a switch": Bad("api.port", "True", "int", "[api]\nport = true"),
    "seconds as a switch": Bad("send.wait", "True", "float", "[send]\nwait = true"),
    "not a number": Bad("send.timeout", "nan", "float", "[send]\ntimeout = nan"),
    "for ever": Bad("send.wait", "inf", "86400", "[send]\nwait = inf"),
    "before the beginning": Bad("send.wait", "-inf", ">= 0", "[send]\nwait = -inf"),
    "a negative duration": Bad(
        "worker.orphan_grace", "-0.5", ">= 0", "[worker]\norphan_grace = -0.5"
    ),
    "a duration that must not be zero": Bad(
        "reconcile.interval", "0", "> 0", "[reconcile]\ninterval = 0"
    ),
    "more than a day": Bad("restart.period", "86401", "86400", "[restart]\nperiod = 86401"),
    "a share that is never reached": Bad(
        "fleet.threshold", "1.0", "< 1", "[fleet]\nthreshold = 1.0"
    ),
    "more than all": Bad(
        "admission.memory_pressure", "101", "100", "[admission]\nmemory_pressure = 101"
    ),
    "no restart at all": Bad("restart.intensity", "0", ">= 1", "[restart]\nintensity = 0"),
    "longest below shortest": Bad(
        "restart.max_delay", "60.0", "restart.base_delay", "[restart]\nbase_delay = 61.0"
    ),
    "a trial shorter than its proof": Bad(
        "versions.trial_limit", "30.0", "versions.well_for", "[versions]\ntrial_limit = 30"
    ),
    "a mode that is none": Bad("versions.mode", "'on'", SEES_EXAMPLE, "[versions]\nmode = 'on'"),
    "a gap from more to less": Bad("send.gap", "[3.0, 2.0]", "[2, 6]", "[send]\ngap = [3, 2]"),
    "a gap of one number": Bad("send.gap", "[3]", "length", "[send]\ngap = [3]"),
    "a date": Bad("api.port", "1979", "int", "[api]\nport = 1979-05-27"),
    "a word that is none of them": Bad(
        "browser.flavour", "'firefox'", SEES_EXAMPLE, "[browser]\nflavour = 'firefox'"
    ),
    "a level in small letters": Bad("log.level", "'info'", SEES_EXAMPLE, "[log]\nlevel = 'info'"),
    "one argument for a list": Bad(
        "browser.extra_args", "'--x'", "array", "[browser]\nextra_args = '--x'"
    ),
    "a number among arguments": Bad(
        "browser.extra_args", "['--x', 1]", "str", "[browser]\nextra_args = ['--x', 1]"
    ),
    "an empty path": Bad("paths.state", "''", "path", "[paths]\nstate = ''"),
    "a number for a path": Bad("paths.state", "1", "path", "[paths]\nstate = 1"),
    "NUL in a path": Bad("paths.state", r"'a\x00'", "NUL", '[paths]\nstate = "a\\u0000"'),
    "NUL in an optional path": Bad(
        "whatsapp.wajs", r"'a\x00'", "NUL", '[whatsapp]\nwajs = "a\\u0000"'
    ),
    "NUL in a program": Bad(
        "browser.executable", r"'a\x00'", "NUL", '[browser]\nexecutable = "a\\u0000"'
    ),
    "NUL in an argument": Bad(
        "browser.extra_args", r"['a\x00']", "NUL", '[browser]\nextra_args = ["a\\u0000"]'
    ),
    "NUL in a host": Bad("api.host", r"'a\x00'", "NUL", '[api]\nhost = "a\\u0000"'),
    "an empty host": Bad("api.host", "''", "127.0.0.1", "[api]\nhost = ''"),
    "a blank host": Bad("api.host", "' '", "127.0.0.1", "[api]\nhost = ' '"),
    "a URL without a scheme": Bad(
        "whatsapp.url", "'web.whatsapp.com'", "https://", "[whatsapp]\nurl = 'web.whatsapp.com'"
    ),
    "a URL of another scheme": Bad(
        "webhook.url", "'ftp://h/'", "http://", "[webhook]\nurl = 'ftp://h/'"
    ),
    "a URL without a host": Bad(
        "webhook.url", "'http:///hook'", "http://host", "[webhook]\nurl = 'http:///hook'"
    ),
    "a URL with a space": Bad(
        "webhook.url", "'http://a b/'", "http://host", "[webhook]\nurl = 'http://a b/'"
    ),
    "a URL with a port too high": Bad(
        "webhook.url", "'http://h:99999'", "http://host", "[webhook]\nurl = 'http://h:99999'"
    ),
    "a URL with a broken address": Bad(
        "webhook.url", "'http://[::1'", "http://host", "[webhook]\nurl = 'http://[::1'"
    ),
    "an empty URL in the file": Bad("webhook.url", "''", "http://", "[webhook]\nurl = ''"),
    "a runtime folder too deep": Bad(
        "paths.runtime", "r" * 81, "81 bytes", f"[paths]\nruntime = '/{'r' * 81}'"
    ),
    "a runtime folder of too many bytes": Bad(
        "paths.runtime", "é" * 41, "81 bytes", f"[paths]\nruntime = '/{'é' * 41}'"
    ),
    "no TOML": Bad("--config", "given.toml", "line 1", "port 3001"),
    "a key twice": Bad("--config", "given.toml", "overwrite", "[api]\nport = 1\nport = 2"),
    "not UTF-8": Bad("--config", "given.toml", "0xff", b"[log]\nlevel = '\xff'"),
    "UTF-16": Bad("--config", "given.toml", "utf-8", "[log]".encode("utf-16")),
    "more digits than Python reads": Bad(
        "--config", "given.toml", "4300", f"[api]\nport = {'9' * 5000}"
    ),
    "a list without a bottom": Bad("--config", "given.toml", "recursion", f"a = {'[' * 100_000}"),
    "an unknown section in the environment": Bad(
        "WAGUARD_APL__PORT", "'1'", "WAGUARD_API__", environ={"WAGUARD_APL__PORT": "1"}
    ),
    "an unknown key in the environment": Bad(
        "api.prot", "'1'", "api.port", environ={"WAGUARD_API__PROT": "1"}
    ),
    "an empty number in the environment": Bad(
        "api.port", "''", "int", environ={"WAGUARD_API__PORT": ""}
    ),
    "a hexadecimal port": Bad("api.port", "'0xbb9'", "int", environ={"WAGUARD_API__PORT": "0xbb9"}),
    "a list that is no JSON": Bad(
        "browser.extra_args", "'--x'", "JSON", environ={"WAGUARD_BROWSER__EXTRA_ARGS": "--x"}
    ),
    "JSON that is no list": Bad(
        "browser.extra_args", "'--x'", "array", environ={"WAGUARD_BROWSER__EXTRA_ARGS": '"--x"'}
    ),
    "a switch that opens the browser to others": Bad(
        "browser.extra_args",
        "'--remote-debugging-port=9222'",
        "remove --remote-debugging-port",
        'browser.extra_args = ["--lang=de", "--remote-debugging-port=9222"]',
    ),
    "a switch that opens WhatsApp's page to others": Bad(
        "browser.extra_args",
        "'-disable-web-security'",
        "remove --disable-web-security",
        'browser.extra_args = ["-disable-web-security"]',
    ),
    "a switch that trusts a key in the network": Bad(
        "browser.extra_args",
        "'--ignore-certificate-errors-spki-list=abc='",
        "remove --ignore-certificate-errors-spki-list",
        'browser.extra_args = ["--ignore-certificate-errors-spki-list=abc="]',
    ),
    "the same, where only one name leads here": Bad(
        "browser.extra_args",
        "'--ignore-certificate-errors-spki-list=abc='",
        "remove --ignore-certificate-errors-spki-list",
        'browser.extra_args = ["--ignore-certificate-errors-spki-list=abc=",'
        ' "--host-resolver-rules=MAP a.example 127.0.0.1"]',
    ),
    "a proxy with a login": Bad(
        "browser.extra_args",
        "'--proxy-server=\u2026'",
        "without a login",
        'browser.extra_args = ["--proxy-server=socks5://me:hunter2@proxy.example:1080"]',
    ),
    "a proxy with a login and without a scheme": Bad(
        "browser.extra_args",
        "'--proxy-server=\u2026'",
        "without a login",
        'browser.extra_args = ["-proxy-server = http=a.example;https=me:hunter2@b.example"]',
    ),
    "a switch against the sandbox": Bad(
        "browser.extra_args",
        "'--no-sandbox'",
        "browser.sandbox = false",
        'browser.extra_args = ["--no-sandbox"]',
    ),
    "an argument that is no switch": Bad(
        "browser.extra_args", "'x'", "--name=value", 'browser.extra_args = ["x"]'
    ),
    "a yes": Bad(
        "api.keyless_loopback", "'yes'", "bool", environ={"WAGUARD_API__KEYLESS_LOOPBACK": "yes"}
    ),
    "not a number in the environment": Bad(
        "send.wait", "'nan'", "float", environ={"WAGUARD_SEND__WAIT": "nan"}
    ),
    "an empty path in the environment": Bad(
        "paths.runtime", "''", "path", environ={"WAGUARD_PATHS__RUNTIME": ""}
    ),
    "an empty host in the environment": Bad(
        "api.host", "''", "127.0.0.1", environ={"WAGUARD_API__HOST": ""}
    ),
    "a byte that is no UTF-8": Bad(
        "api.host", r"'\udcff'", "utf-8", environ={"WAGUARD_API__HOST": "\udcff"}
    ),
    "a byte that is no UTF-8 in a list": Bad(
        "browser.extra_args",
        r"\udcff",
        "utf-8",
        environ={"WAGUARD_BROWSER__EXTRA_ARGS": '["\udcff"]'},
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_refusal_names_key_value_and_what_is_allowed(bad: Bad) -> None:
    error = refusal(bad.text, bad.environ)
    line = error.line()
    assert error.code == 2
    assert error.field == bad.field
    assert line.startswith(f"{bad.field}: ")
    assert bad.shown in line
    assert bad.allowed in line
    assert error.remedy
    assert line.isprintable()
    assert len(line) < 700


@pytest.mark.parametrize("text", ['["a\\nb"]\nx = 1', '[api]\n"a\\nb\\u001b[31m" = 1'])
def test_a_name_with_a_line_end_still_makes_one_line(text: str) -> None:
    line = refusal(text).line()
    assert line.isprintable()
    assert r"a\nb" in line


def test_root_needs_to_give_up_the_sandbox_on_purpose() -> None:
    config = load(None, {})  # clients of a daemon read it as root, too
    with pytest.raises(ConfigError) as refused:
        require_sandbox(config.browser, root=True)
    assert refused.value.field == "browser.sandbox"
    assert "WAGUARD_BROWSER__SANDBOX=false" in refused.value.line()
    require_sandbox(config.browser, root=False)
    given_up = loaded("browser.sandbox = false\nbrowser.extra_args = ['--no-sandbox']")
    require_sandbox(given_up.browser, root=True)
