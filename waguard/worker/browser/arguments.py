"""What a Chromium is started with: the folders and the switches. Nothing here runs it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct, field

from waguard.core.host import chromium_switches
from waguard.host.process.executable import Flavour
from waguard.worker.browser.errors import BrowserArgumentError

# Measured on 156: 111 MB a further session instead of 157.
DISABLED_FEATURES = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "SpareRendererForSitePerProcess",
    "Translate",
    "BackForwardCache",
    "MediaRouter",
    "OptimizationHints",
)
_RULES = "--host-resolver-rules="
ENABLED_FEATURES = ("NetworkServiceInProcess2",)  # 16 MB less
SWITCHES = (
    "--disable-gpu",
    "--in-process-gpu",
    # nothing is left to fork from it; sandboxed processes have one of their own: 14 MB less, headless-shell 8
    "--no-unsandboxed-zygote",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-hang-monitor",
    "--hide-crash-restore-bubble",
    "--mute-audio",
    "--password-store=basic",  # else it waits for the keyring of a desktop
    # the page is never in front: without these its timers run once a second or less
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)


class ChromiumSpec(Struct, frozen=True, kw_only=True):
    """One browser.

    ``profile`` is its user-data-dir, ``tmpdir`` its own TMPDIR: shorter than 64 characters, wiped at
    the end. ``marks`` go into its environment (and no child's), ``inherited_fds`` stay open in it:
    a lock held through one of them is free only when the browser is gone too. ``visible``: a window for a person.
    ``proxy_port``: a SOCKS proxy on loopback through which all goes, whatever ``extra_args`` say of proxies.
    """

    executable: Path
    profile: Path
    tmpdir: Path
    flavour: Flavour = "chromium"
    extra_args: tuple[str, ...] = ()
    sandbox: bool = True
    visible: bool = False
    proxy_port: int | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    inherited_fds: tuple[int, ...] = ()


def arguments(spec: ChromiumSpec, *, user_agent: str | None = None) -> list[str]:
    """The whole command line. Raises ``BrowserArgumentError`` for an extra argument that breaks it.

    Chromium takes the last of two equal switches, so the lists of features are merged into one each:
    an extra ``--enable-features`` wins over what we disable, and the other way round.
    """
    disabled, enabled = list(DISABLED_FEATURES), list(ENABLED_FEATURES)
    extra = []
    for argument in spec.extra_args:
        name, value = _parse(argument, spec)
        match name:
            case "disable-features":
                _move(value, into=disabled, out_of=enabled)
            case "enable-features":
                _move(value, into=enabled, out_of=disabled)
            case _ if spec.proxy_port and name in chromium_switches.OF_PROXIES:
                pass  # Chromium takes some of them before the session's own
            case _:
                extra.append(argument.strip())
    if spec.proxy_port:
        extra += _through(spec.proxy_port, resolves=any(it.startswith(_RULES) for it in extra))
    return [
        str(spec.executable),
        "--remote-debugging-pipe",
        f"--user-data-dir={spec.profile}",
        *(["--headless=new"] if spec.flavour == "chromium" and not spec.visible else []),
        *([] if spec.sandbox else ["--no-sandbox"]),
        *([f"--user-agent={user_agent}"] if user_agent else []),
        *SWITCHES,
        f"--disable-features={','.join(disabled)}",
        f"--enable-features={','.join(enabled)}",
        *extra,
        "about:blank",
    ]


def _through(port: int, *, resolves: bool) -> list[str]:
    """Switches for a proxy on loopback. Nothing goes past it: no address on this host, no UDP of WebRTC, no look-up of a
    name, for the proxy makes those; ``resolves``: the configuration has rules for look-ups."""
    return [
        f"--proxy-server=socks5://127.0.0.1:{port}",
        "--proxy-bypass-list=<-loopback>",
        # the first is Chromium's, the other headless-shell's
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        *([] if resolves else [f"{_RULES}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]),
    ]


def _parse(argument: str, spec: ChromiumSpec) -> tuple[str, str]:
    if refusal := chromium_switches.refusal(argument, sandbox=spec.sandbox, beside=spec.extra_args):
        shown = chromium_switches.shown(argument)
        raise BrowserArgumentError(
            f"{shown!r} is not allowed: {refusal.why}",
            field="browser.extra_args",
            value=shown,
            remedy=refusal.remedy,
        )
    return chromium_switches.parse(argument)


def _move(value: str, *, into: list[str], out_of: list[str]) -> None:
    for feature in _features(value):
        name = _bare(feature)
        for features in (into, out_of):
            features[:] = [known for known in features if _bare(known) != name]
        into.append(feature)


def _features(value: str) -> Iterable[str]:
    return (feature for part in value.split(",") if (feature := part.strip()))


def _bare(feature: str) -> str:
    """``Name:parameter/value`` and ``Name<Trial`` are about ``Name``."""
    return feature.split(":", 1)[0].split("<", 1)[0]
