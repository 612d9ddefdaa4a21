"""The command line and the choice of the binary; nothing is run."""

from pathlib import Path

import pytest

from waguard.core.replace import replace
from waguard.worker.browser.chromium import (
    BrowserArgumentError,
    BrowserNotFoundError,
    ChromiumSpec,
    Flavour,
    arguments,
    find_executable,
)
from waguard.worker.browser.identity import user_agent


def spec(*extra: str, flavour: Flavour = "chromium", sandbox: bool = True) -> ChromiumSpec:
    return ChromiumSpec(
        executable=Path("/x/chromium"),
        flavour=flavour,
        profile=Path("/p"),
        tmpdir=Path("/t"),
        extra_args=extra,
        sandbox=sandbox,
    )


def features(argv: list[str], kind: str) -> list[str]:
    switches = [one for one in argv if one.startswith(f"--{kind}-features=")]
    assert len(switches) == 1, "Chromium takes the last one only"
    return switches[0].split("=", 1)[1].split(",")


def test_the_browser_is_driven_through_a_pipe_on_its_own_profile() -> None:
    argv = arguments(spec())
    assert argv[0] == "/x/chromium"
    assert "--remote-debugging-pipe" in argv
    assert "--user-data-dir=/p" in argv
    assert not [one for one in argv if "port" in one or "single-process" in one]


def test_the_sandbox_is_off_only_on_demand() -> None:
    assert "--no-sandbox" not in arguments(spec())
    assert "--no-sandbox" in arguments(spec(sandbox=False))
    arguments(spec("--disable-setuid-sandbox", sandbox=False))


def test_only_the_desktop_browser_is_asked_to_be_headless() -> None:
    assert "--headless=new" in arguments(spec())
    assert "--headless=new" not in arguments(spec(flavour="headless-shell"))


OF_ALL = (
    "--proxy-server=proxy:3128",
    "--no-proxy-server",
    "--proxy-bypass-list=*",
    "--proxy-pac-url=a",
)


def test_nothing_goes_past_the_sessions_own_proxy() -> None:
    assert list(OF_ALL) == [it for it in arguments(spec(*OF_ALL)) if "proxy" in it]
    argv = arguments(replace(spec(*OF_ALL), proxy_port=4711))
    assert [it for it in argv if "proxy-" in it or "webrtc" in it] == [
        "--proxy-server=socks5://127.0.0.1:4711",
        "--proxy-bypass-list=<-loopback>",
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    ]
    assert "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1" in argv
    rules = "--host-resolver-rules=MAP a b, MAP * ~NOTFOUND"
    argv = arguments(replace(spec(rules), proxy_port=4711))
    assert [it for it in argv if "resolver" in it] == [rules], "Chromium takes one of them only"


def test_features_are_merged_into_one_switch_each() -> None:
    argv = arguments(
        spec(
            "--disable-features=Mine,Translate",
            "--enable-features=Other:a/b",
            "--disable-features=More",
        )
    )
    disabled, enabled = features(argv, "disable"), features(argv, "enable")
    assert {"Mine", "More", "BackForwardCache"} <= set(disabled)
    assert disabled.count("Translate") == 1
    assert enabled == ["NetworkServiceInProcess2", "Other:a/b"]


def test_an_extra_feature_wins_over_ours() -> None:
    argv = arguments(
        spec("--enable-features=Translate:x/y", "--disable-features=NetworkServiceInProcess2")
    )
    assert "Translate" not in features(argv, "disable")
    assert "Translate:x/y" in features(argv, "enable")
    assert "NetworkServiceInProcess2" in features(argv, "disable")
    assert "NetworkServiceInProcess2" not in features(argv, "enable")


def test_extra_arguments_come_last() -> None:
    argv = arguments(spec("--lang=de", "--window-size=9,9"))
    assert argv[-3:] == ["--lang=de", "--window-size=9,9", "about:blank"]


@pytest.mark.parametrize(
    "argument",
    [
        "--remote-debugging-port=9222",
        "--remote-debugging-port",
        "-remote-debugging-port=0",
        " --remote-debugging-address=0.0.0.0",
        "--user-data-dir=/elsewhere",
        "--single-process",
        "--disable-web-security",
        "--ignore-certificate-errors",
        "--no-sandbox",
        "https://example.org/",
        "--",
        "",
    ],
)
def test_an_argument_that_breaks_the_driver_is_refused_by_name(argument: str) -> None:
    with pytest.raises(BrowserArgumentError) as refused:
        arguments(spec("--lang=de", argument))
    assert refused.value.field == "browser.extra_args"
    assert refused.value.value == argument
    assert refused.value.remedy
    name = argument.strip().lstrip("-").split("=")[0]
    assert name in str(refused.value)


def runnable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_configured_executable_is_taken(tmp_path: Path) -> None:
    binary = runnable(tmp_path / "chrome")
    assert find_executable(str(binary), "chromium") == binary


def test_a_configured_wrapper_is_resolved(tmp_path: Path) -> None:
    wrapper, binary = runnable(tmp_path / "wrapper"), runnable(tmp_path / "binary")
    link = tmp_path / "link"
    link.symlink_to(wrapper)
    wrappers = {str(wrapper): str(binary)}
    assert find_executable(str(wrapper), "chromium", wrappers=wrappers) == binary
    assert find_executable(str(link), "chromium", wrappers=wrappers) == binary


@pytest.mark.parametrize("kind", ["missing", "relative", "not executable", "folder"])
def test_a_configured_executable_that_cannot_run_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "chrome"
    match kind:
        case "not executable":
            path.write_text("")
        case "folder":
            path.mkdir()
        case "relative":
            path = Path("chrome")
        case _:
            assert kind == "missing"
    with pytest.raises(BrowserNotFoundError) as missing:
        find_executable(str(path), "chromium")
    assert missing.value.field == "browser.executable"
    assert missing.value.value == str(path)
    assert missing.value.remedy


def test_a_binary_of_the_other_flavour_is_an_error(tmp_path: Path) -> None:
    binary = runnable(tmp_path / "shell")
    binaries: dict[Flavour, tuple[str, ...]] = {"headless-shell": (str(binary),), "chromium": ()}
    assert find_executable(str(binary), "headless-shell", binaries=binaries) == binary
    with pytest.raises(BrowserNotFoundError, match="does not have the flavour chromium"):
        find_executable(str(binary), "chromium", binaries=binaries)


def test_without_a_browser_the_error_says_what_to_install() -> None:
    with pytest.raises(BrowserNotFoundError) as missing:
        find_executable(None, "headless-shell", binaries={"headless-shell": ("/nowhere/at-all",)})
    assert "chromium-headless-shell" in (missing.value.remedy or "")


def test_the_user_agent_is_that_of_the_installed_version() -> None:
    identity = user_agent("156.0.8078.79", machine="x86_64")
    assert "Chrome/156.0.0.0 Safari" in identity.text
    metadata = identity.override["userAgentMetadata"]
    # as desktop Chromium 156 shows itself
    assert metadata["brands"] == [
        {"brand": "Not:A-Brand", "version": "8"},
        {"brand": "Chromium", "version": "156"},
    ]
    assert metadata["fullVersionList"][0] == {"brand": "Not:A-Brand", "version": "8.0.0.0"}
    assert metadata["architecture"] == "x86"


def test_what_is_no_version_gives_no_user_agent() -> None:
    with pytest.raises(ValueError, match="not a version"):
        user_agent("latest")
