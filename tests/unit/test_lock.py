"""requirements.lock matches requirements.txt and the installed packages."""

from __future__ import annotations

import re
from importlib.metadata import distribution

from django.conf import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from heimdall.lock import lock_requirements

LOCK = (settings.BASE_DIR / "requirements.lock").read_text(encoding="utf-8")
REQUIREMENTS = (settings.BASE_DIR / "requirements.txt").read_text(encoding="utf-8")
BLOCKS = re.split(r"\n(?=[A-Za-z0-9])", LOCK)[1:]
WITHOUT_HASHES = re.compile(r"torch$|triton$|nvidia-|cuda-")


def locked() -> dict[str, str]:
    pairs = (block.split(" ", 1)[0].split("==") for block in BLOCKS)
    return {canonicalize_name(name): version for name, version in pairs}


def needed() -> dict[str, str]:
    """Every package that the requirements lead to here, with the installed version."""
    lines = [line for line in REQUIREMENTS.splitlines() if line and not line.startswith("#")]
    waiting = [Requirement(line) for line in lines]
    found: dict[str, str] = {}
    seen: set[str] = set()
    while waiting:
        one = waiting.pop()
        if str(one) in seen:
            continue
        seen.add(str(one))
        package = distribution(one.name)
        found[canonicalize_name(one.name)] = package.version
        for text in package.requires or []:
            inner = Requirement(text)
            extras = one.extras or {""}
            if not inner.marker or any(inner.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(inner)
    return {name: version for name, version in found.items() if not WITHOUT_HASHES.match(name)}


def test_every_package_has_hashes() -> None:
    assert len(BLOCKS) > 80
    assert [block for block in BLOCKS if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []


def test_installed_packages_match_the_lock_file() -> None:
    assert needed().items() <= locked().items()


def test_lock_leaves_out_torch_and_its_libraries() -> None:
    compiled = "a==1 \\\n    --hash=sha256:0\nnvidia-x==2 \\\n    --hash=sha256:0\ntorch==3\n"
    assert lock_requirements(compiled).splitlines()[3:] == ["a==1 \\", "    --hash=sha256:0"]
    assert [name for name in locked() if WITHOUT_HASHES.match(name)] == []
