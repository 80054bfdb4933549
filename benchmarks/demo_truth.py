"""Does the demo recover its planted truth? Five seeds, a shuffled rule table, shuffled labels."""

from __future__ import annotations

import argparse
import tempfile
import time

from modalxai.recipes import demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24, 25])
    seeds = parser.parse_args().seeds
    runs = [(seed, "plain", "true") for seed in seeds]
    runs += [(seeds[-1] + 1, "shuffled", "true"), (seeds[-1] + 2, "plain", "shuffled")]
    for seed, rules, labels in runs:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = demo.run(folder, seed=seed, rules=rules, labels=labels, quiet=True)
        seconds = time.perf_counter() - start
        gate = found.report.chance()
        errors = ", ".join(f"{name} {100 * error:.1f}" for name, error in found.errors.items())
        worst = f"largest {100 * max(found.errors.values()):.1f}" if found.errors else "none given"
        print(
            f"seed {seed}, rules {rules}, labels {labels}: at chance {gate.at_chance}; "
            f"points off the planted share: {worst} ({errors}); {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
