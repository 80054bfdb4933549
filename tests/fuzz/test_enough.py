"""That enough is tried: every test here says how many inputs its entrance must see at least."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from tests.support.fuzzing import Judge, odd_json, spoilt

from modalxai.errors import InputError

ENTRANCES = 30
INPUTS = 1000


def promised() -> dict[str, int]:
    """Each entrance and the least number of its inputs; what is parametrised counts once."""
    found: dict[str, int] = {}
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "judge":
                entrance, least = node.args[:2]
                name = ast.unparse(entrance)
                found[name] = found.get(name, 0) + ast.literal_eval(least)
    return found


def test_a_thousand_inputs_over_all_entrances() -> None:
    found = promised()
    assert len(found) >= ENTRANCES
    assert sum(found.values()) >= INPUTS, found


def test_the_same_seed_makes_the_same_inputs_and_none_is_whole() -> None:
    raw, record = bytes(range(256)) * 4, {"a": 1, "b": {"c": [1, 2]}}
    for make, whole in ((spoilt, raw), (odd_json, record)):
        one = list(make(whole, 60, 7))
        assert one == list(make(whole, 60, 7))
        assert one != list(make(whole, 60, 8))
        assert whole not in [changed for _, changed in one]
        assert len({changed for _, changed in one}) > 40


def refuse() -> None:
    raise InputError("a", expected="b", got="c", mend="d")


def mute() -> None:
    raise InputError("a", expected="b", got="c", mend="")


def burst() -> None:
    raise KeyError("a")


def judged(least: int, keep: Path | None, *tries: tuple[Any, Any]) -> None:
    """A judgement over one good refusal and what is given."""
    with Judge("x", least, lambda *_: None, keep) as tried:
        tried("good", refuse)
        for use, legal in tries:
            tried("bad", use, legal)


@pytest.mark.parametrize(
    ("use", "legal"),
    [
        (burst, lambda found: True),
        (mute, lambda found: True),
        (lambda: 3, lambda found: found == 4),
        (lambda: 3, lambda found: found["a"]),
        (lambda: exit(1), lambda found: True),
    ],
)
def test_the_judge_notices(use: Any, legal: Any) -> None:
    judged(1, None)
    with pytest.raises(AssertionError, match="went wrong"):
        judged(1, None, (use, legal))


def test_the_judge_notices_a_hang_a_changed_file_and_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.fuzzing.LIMIT", 1)
    kept = tmp_path / "mine"

    def hang() -> None:
        while True:
            pass

    def spoil() -> None:
        kept.write_text("yours")
        refuse()

    for use in (hang, spoil):
        with pytest.raises(AssertionError, match="went wrong"):
            judged(1, tmp_path, (use, lambda found: True))
    with pytest.raises(AssertionError, match="too few"):
        judged(2, None)
