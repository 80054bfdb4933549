"""What the package brings along, and whether two builds of it are the same file."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0",
    "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "HPND",
}  # fmt: skip
"""They let everybody use, change and pass on what is built on them."""
SPELLED = {
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0", "mit license": "MIT", "3-clause bsd": "BSD-3-Clause",
    "bsd": "BSD-3-Clause", "bsd license": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause", "python software foundation license": "PSF-2.0",
    "isc license (iscl)": "ISC",
}  # fmt: skip
"""Other words for the same, as older metadata has them."""
EXCEPTIONS = {
    "tqdm": "MPL-2.0 beside MIT: asks for changes of its own files alone, which nobody makes here",
    "hypothesis": "MPL-2.0, for the same reason; and it serves the tests alone",
    "pyworld": "says nothing in its metadata; its LICENSE.txt, and that of WORLD, are MIT and BSD",
}
"""Direct dependencies that are not plainly permissive, and why they may stay."""
REFUSED = re.compile(
    r"\bA?GPL|GNU (Affero )?General|Non-?Commercial|\bCC-BY-NC|\bSSPL|\bBUSL", re.I
)


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-")


def direct() -> set[str]:
    """Of the package, of every extra, and of its build."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    groups.append(PYPROJECT["build-system"]["requires"])
    return {name_of(one) for group in groups for one in group}


def licences(found: Distribution) -> set[str]:
    """What the metadata says: an SPDX expression, else a short name, else the classifiers."""
    about = found.metadata
    if expression := about.get("License-Expression"):
        return set(re.split(r" (?:AND|OR|WITH) |[()]", expression)) - {""}
    classed = {
        one.rpartition(" :: ")[2]
        for one in about.get_all("Classifier") or []
        if one.startswith("License") and not one.endswith("OSI Approved")
    }
    plain = (about.get("License") or "").strip()
    said = classed or ({plain} if plain and "\n" not in plain and len(plain) < 60 else set())
    parts = {part for one in said for part in re.split(r" AND | OR ", one)}
    return {SPELLED.get(part.lower(), part) for part in parts}


@pytest.mark.parametrize("name", sorted(direct()))
def test_a_direct_dependency_is_on_the_allow_list(name: str) -> None:
    try:
        found = licences(distribution(name))
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    if name in EXCEPTIONS:
        assert not found <= PERMISSIVE or not found, "it is permissive by now: no exception"
    else:
        assert found, f"{name} does not say its licence: look it up, then list it with the reason"
        assert found <= PERMISSIVE, f"{name}: {found - PERMISSIVE}"


def test_the_exceptions_are_dependencies() -> None:
    assert set(EXCEPTIONS) <= direct()


def test_nothing_below_them_is_refused_either() -> None:
    """All that a user's installation pulls in, as far as it is installed here."""
    groups = {k: v for k, v in PROJECT["optional-dependencies"].items() if k not in ("dev", "docs")}
    waiting = {
        name_of(one) for group in (PROJECT["dependencies"], *groups.values()) for one in group
    }
    seen: dict[str, set[str]] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            seen[name] = set()
            continue
        seen[name] = licences(found)
        needed = [one for one in found.requires or [] if "extra ==" not in one]
        waiting |= {name_of(one) for one in needed} - set(seen)
    assert len(seen) > 30
    wrong = {name: found for name, found in seen.items() if any(map(REFUSED.search, found))}
    assert not wrong


REFUSABLE = (
    "GPL-3.0-or-later", "AGPL-3.0", "GNU General Public License v3 (GPLv3)", "CC-BY-NC-4.0",
    "Free for non-commercial use",
)  # fmt: skip


@pytest.mark.parametrize("said", REFUSABLE)
def test_what_is_refused_would_be_noticed(said: str) -> None:
    assert REFUSED.search(said)
    assert said not in PERMISSIVE


def built(folder: Path, epoch: str, zone: str, mask: int) -> str:
    """The sha256 of a wheel that was built under other circumstances."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    env = os.environ | {"SOURCE_DATE_EPOCH": epoch, "TZ": zone, "PYTHONHASHSEED": str(mask)}
    before = os.umask(mask)
    try:
        subprocess.run([*command, str(ROOT)], check=True, capture_output=True, env=env)
    finally:
        os.umask(before)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        assert all(name.startswith("modalxai") for name in held.namelist())
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_two_builds_are_the_same_wheel(tmp_path: Path) -> None:
    """At another time, in another time zone, with other hashes and another mask of modes."""
    one = built(tmp_path / "one", "1700000000", "UTC", 0o022)
    other = built(tmp_path / "other", "1700000000", "Asia/Seoul", 0o027)
    assert one == other
