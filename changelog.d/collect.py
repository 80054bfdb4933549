"""Fragments to a section of ``CHANGELOG.md``; without a version, only print it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHANGELOG = HERE.parent / "CHANGELOG.md"
KINDS = ("added", "changed", "fixed", "removed")


def fragments(folder: Path = HERE) -> dict[str, list[tuple[str, Path]]]:
    """By kind the texts and their files, in the order of the files' names."""
    found: dict[str, list[tuple[str, Path]]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.glob("*.md")):
        if path.name == "README.md":
            continue
        kind = path.name.removesuffix(".md").rpartition(".")[2]
        text = path.read_text(encoding="utf-8").strip()
        if kind not in found or not text or text.startswith("#"):
            raise SystemExit(
                f"{path.name}: expected <what>.<kind>.md, kind one of {list(KINDS)}, "
                "with a sentence and no heading in it"
            )
        found[kind].append((text, path))
    return found


def section(version: str, found: dict[str, list[tuple[str, Path]]]) -> str:
    """The section of one release."""
    lines = [f"## {version} ({datetime.now(UTC):%Y-%m-%d})", ""]
    for kind, entries in found.items():
        if entries:
            lines += [f"### {kind.capitalize()}", ""]
            for text, _ in entries:
                first, *rest = text.splitlines()
                lines += [f"- {first}", *(f"  {line}".rstrip() for line in rest)]
            lines += [""]
    return "\n".join(lines)


def main() -> None:
    """Write or print."""
    found = fragments()
    version = sys.argv[1] if len(sys.argv) > 1 else "next"
    text = section(version, found)
    if version == "next":
        print(text)
        return
    heading, _, rest = CHANGELOG.read_text(encoding="utf-8").partition("\n## ")
    CHANGELOG.write_text(f"{heading.rstrip()}\n\n{text}\n## {rest}", encoding="utf-8")
    for entries in found.values():
        for _, path in entries:
            path.unlink()


if __name__ == "__main__":
    main()
