"""What waguard consists of, as CycloneDX 1.6 JSON, from the lock files alone: `make sbom`.

The same lock files give the same document, byte for byte. A component of pip's has the SHA-256 of each file that
pip accepts for it. What only development and tests need is "excluded". Debian's packages (Chromium, Python, npm)
are Debian's to list.
"""

import argparse
import base64
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SERVICE: Final = "etc/requirements.txt"
DEVELOPMENT: Final = ".ci/requirements.txt"
SCRIPTS: Final = ("waguard/wajs/package-lock.json", "waguard/api/swagger/package-lock.json")
TEST_DATA: Final = "tests/worker/wa-version/package-lock.json"
_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)(.*)$")
_VERSION: Final = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
Component = dict[str, Any]


def document(root: Path = ROOT) -> dict[str, Any]:
    """The whole. Raises ``ValueError`` for a lock file with something that is not pinned."""
    name, version = "waguard", _VERSION.findall((root / "waguard/__init__.py").read_text())[0]
    wanted = [*of_pip(root / SERVICE), *(it for name in SCRIPTS for it in of_npm(root / name))]
    needed = {it["bom-ref"] for it in wanted}
    beside = [*of_pip(root / DEVELOPMENT), *of_npm(root / TEST_DATA)]
    unneeded = [it | {"scope": "excluded"} for it in beside if it["bom-ref"] not in needed]
    components = sorted([*wanted, *unneeded], key=lambda it: it["bom-ref"])
    main = {
        "type": "application",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([main, components]))}",
        "version": 1,
        "metadata": {"component": main},
        "components": components,
        "dependencies": [{"ref": main["bom-ref"], "dependsOn": sorted(needed)}],
    }


def of_pip(path: Path) -> Iterator[Component]:
    """Of a requirements file with hashes."""
    for line in path.read_text().replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _PINNED.match(line)
        hashes = _HASH.findall(found[3]) if found else []
        if not found or not hashes:
            raise ValueError(f"{path}: not pinned with a hash: {line[:80]}")
        name, version = found[1].lower().replace("_", "-"), found[2]
        files = [{"alg": "SHA-256", "content": it} for it in hashes]
        yield component(name, version, f"pkg:pypi/{name}@{version}") | {"hashes": files}


def of_npm(path: Path) -> Iterator[Component]:
    """Of a package-lock.json, version 2 or 3."""
    for place, it in json.loads(path.read_text())["packages"].items():
        if not place:
            continue  # the project itself
        name = place.rpartition("node_modules/")[2]
        algorithm, _, digest = it["integrity"].partition("-")
        if algorithm != "sha512":
            raise ValueError(f"{path}: {name} is not pinned by its SHA-512")
        made = component(name, it["version"], f"pkg:npm/{name.replace('@', '%40')}@{it['version']}")
        made["hashes"] = [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}]
        if licence := it.get("license"):
            made["licenses"] = [{"license": {"id": licence}}]
        yield made


def component(name: str, version: str, purl: str) -> Component:
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "scope": "required",
        "purl": purl,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path)
    into = parser.parse_args().into
    made = document()
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(json.dumps(made, indent=2) + "\n")
    kept = [it for it in made["components"] if it["scope"] == "required"]
    print(
        f"{into}: {len(kept)} components, {len(made['components']) - len(kept)} more for development"
    )


if __name__ == "__main__":
    main()
