import re
from pathlib import Path

from mypy import api

PARTS = Path(__file__).parent / "parts.py"


def test_the_checker_accepts_every_built_in_part_and_refuses_the_wrong_ones():
    config = PARTS.parents[2] / "pyproject.toml"
    output, errors, _ = api.run(["--config-file", str(config), str(PARTS)])
    assert not errors
    found = {int(line) for line in re.findall(r"parts\.py:(\d+): error:", output)}
    lines = PARTS.read_text(encoding="utf-8").splitlines()
    refused = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert found == refused, output
    assert len(refused) == 5
