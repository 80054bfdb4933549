"""The speed table in full, into build/speed, and its page and pictures into docs.

A killed run goes on where it was; delete the folder to measure again.

Run: python benchmarks/speed.py [FOLDER] [--seconds 600]
"""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path

from modalxai.benchmark.speed import Settings, run

HOME = Path(__file__).resolve().parents[1]


def main() -> None:
    arguments = argparse.ArgumentParser(description="The speed table in full.")
    arguments.add_argument("out", type=Path, nargs="?", default=HOME / "build" / "speed")
    arguments.add_argument("--seconds", type=float, default=math.inf)
    given = arguments.parse_args()
    page = run(Settings(), given.out, seconds=given.seconds)
    docs = HOME / "docs"
    (docs / "pictures").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(page, docs / "speed.md")
    for picture in sorted((given.out / "pictures").glob("*.png")):
        shutil.copyfile(picture, docs / "pictures" / picture.name)
    print(docs / "speed.md")


if __name__ == "__main__":
    main()
