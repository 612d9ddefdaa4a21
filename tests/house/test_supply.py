"""What waguard consists of: each part is pinned, and one that was tampered with is refused."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from waguard.api.page import UPLOT
from waguard.api.reference import SWAGGER
from waguard.worker.page import wajs

ROOT = Path(__file__).parents[2]
PACKED = {
    "WAJS": wajs.PACKED,
    "SWAGGER": SWAGGER / "swagger-ui-bundle.js",
    "UPLOT": UPLOT / "uPlot.esm.js",
}


def script(name: str) -> ModuleType:
    """Of ``.ci``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f".ci/{name}.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(params=sorted(PACKED))
def name(request: pytest.FixtureRequest) -> str:
    """A script that is not ours."""
    return str(request.param)


@pytest.fixture
def tampered(tmp_path: Path, name: str) -> Path:
    """All of them, that one with one bit changed."""
    for path in PACKED.values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True)
        shutil.copy(path, copy)
    tampered = tmp_path / PACKED[name].relative_to(ROOT)
    content = bytearray(tampered.read_bytes())
    content[len(content) // 2] ^= 1
    tampered.write_bytes(content)
    return tampered


def test_each_script_is_pinned_once_and_the_same_everywhere() -> None:
    hook, make = script("wheel_hook"), (ROOT / "Makefile").read_text()
    assert hook.SHA256 == wajs.SHA256
    digests = {"SWAGGER_SHA256": hook.SWAGGER_SHA256, "UPLOT_SHA256": hook.UPLOT_SHA256}
    for name, digest in {"SHA256": hook.SHA256, **digests}.items():
        assert re.findall(rf"^{name} := (.+)$", make, re.MULTILINE) == [digest]


def test_a_checkout_with_a_tampered_script_is_not_set_up(name: str, tampered: Path) -> None:
    unneeded = ("-o", "system", "-o", ".venv/.installed")
    done = subprocess.run(
        ["make", *unneeded, "setup", f"{name}={tampered}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert str(tampered) in done.stdout + done.stderr
    shutil.copy(PACKED[name], tampered)
    subprocess.run(["make", *unneeded, "setup", f"{name}={tampered}"], cwd=ROOT, check=True)


def test_no_wheel_is_built_of_a_tampered_script(tmp_path: Path, name: str, tampered: Path) -> None:
    hook = script("wheel_hook").PinnedBundle(str(tmp_path), {}, None, None, "", "")
    with pytest.raises(SystemExit, match="is not the pinned build"):
        hook.initialize("standard", {})
    shutil.copy(PACKED[name], tampered)
    hook.initialize("standard", {})


# ---- the bill of materials ----


@pytest.fixture(scope="module")
def sbom() -> dict[str, Any]:
    made: dict[str, Any] = script("sbom").document()
    return made


def by_name(sbom: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {it["name"]: it for it in sbom["components"]}


def test_the_sbom_lists_every_part_of_the_lock_files(sbom: dict[str, Any]) -> None:
    found = by_name(sbom)
    assert len(found) == len(sbom["components"])
    for name, scope in (("etc/requirements.txt", "required"), (".ci/requirements.txt", None)):
        for package, version in re.findall(
            r"^([\w.-]+)(?:\[.*\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE
        ):
            it = found[package]
            assert it["version"] == version
            assert it["purl"] == f"pkg:pypi/{package}@{version}"
            assert scope in {None, it["scope"]}
    assert found["@wppconnect/wa-js"]["purl"].startswith("pkg:npm/%40wppconnect/wa-js@")
    assert {found["aiohttp"]["scope"], found["pytest"]["scope"]} == {"required", "excluded"}


def test_each_part_has_the_digests_by_which_it_is_installed(sbom: dict[str, Any]) -> None:
    for it in sbom["components"]:
        hashes = it.get("hashes", ())
        assert hashes, it["name"]
        for one in hashes:
            length = {"SHA-256": 64, "SHA-512": 128}[one["alg"]]
            assert re.fullmatch(f"[0-9a-f]{{{length}}}", one["content"])


def test_the_same_lock_files_give_the_same_document(sbom: dict[str, Any]) -> None:
    assert json.dumps(script("sbom").document()) == json.dumps(sbom)
    assert (sbom["bomFormat"], sbom["specVersion"], sbom["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", sbom["serialNumber"])


@pytest.mark.parametrize("line", ["aiohttp>=3", "aiohttp==3.1", "git+https://a.example/b"])
def test_what_is_not_pinned_makes_no_document(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="not pinned"):
        list(script("sbom").of_pip(tmp_path / "requirements.txt"))
