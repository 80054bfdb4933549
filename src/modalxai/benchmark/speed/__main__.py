"""``python -m modalxai.benchmark.speed OUT [--quick] [--device cuda]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from modalxai.benchmark.speed.run import run
from modalxai.benchmark.speed.settings import Settings


def main() -> None:
    """Run it, and say where the page is."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--device", default="cpu")
    given = arguments.parse_args()
    print(run(Settings(quick=given.quick, device=given.device), given.out))


if __name__ == "__main__":
    main()
