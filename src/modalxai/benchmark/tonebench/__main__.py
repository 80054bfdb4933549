"""``python -m modalxai.benchmark.tonebench OUT [--quick] [--seeds N] [--families A B]``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from modalxai.benchmark.tonebench.command import run
from modalxai.benchmark.tonebench.settings import FAMILIES, Settings


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="modalxai.benchmark.tonebench", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="whether everything works")
    parser.add_argument("--seeds", type=int, help="models of each family")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, metavar="FAMILY")
    asked = parser.parse_args()
    settings = Settings.quick() if asked.quick else Settings()
    if asked.seeds is not None:
        settings = replace(settings, seeds=asked.seeds)
    if asked.families:
        settings = replace(settings, families=tuple(asked.families))
    print(run(settings, asked.out))


if __name__ == "__main__":
    main()
