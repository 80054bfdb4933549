"""Every place and every test that docs/seeds_*.md name is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = sorted((ROOT / "docs").glob("seeds_s*.md"))
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PLACE = re.compile(r"`([\w.]+):([\w.]+)`")


def rows(path):
    """The lines of a file's tables, without heads."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    ruled = [line for line in lines if not re.fullmatch(r"[|\s:-]+", line)]
    heads = [lines[at - 1] for at, line in enumerate(lines) if re.fullmatch(r"[|\s:-]+", line)]
    return [line for line in ruled if line not in heads]


def resolve(module, name):
    """An attribute below ``modalxai.recipes``, or of a module of modalxai; a field counts."""
    found = importlib.import_module(
        module if module.split(".")[0] == "modalxai" else f"modalxai.recipes.{module}"
    )
    for part in name.split("."):
        fields = getattr(found, "__dataclass_fields__", {})
        found = fields[part] if part in fields else getattr(found, part)


def names_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_line_names_a_place_and_a_test_that_exist(path):
    found = rows(path)
    assert found
    for row in found:
        places = PLACE.findall(TEST.sub("", row))
        tests = TEST.findall(row)
        assert places, f"no place: {row}"
        assert tests, f"no test: {row}"
        for module, name in places:
            resolve(module, name)
        for file, name in tests:
            assert name in names_in(file), f"{file} has no {name}"


def test_a_table_with_a_name_that_is_gone_fails(tmp_path):
    with pytest.raises(AttributeError):
        resolve("valence_arousal.models", "Settings.nothing")
    with pytest.raises(ModuleNotFoundError):
        resolve("no_such_recipe", "run")
