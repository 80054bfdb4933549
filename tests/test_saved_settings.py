"""Settings in files: their types, and that what was read is what was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest
from toys import speech_model

import modalxai as mx
from modalxai import plugins, saved_settings
from modalxai.errors import CheckpointError
from modalxai.pretrained import Pretrained

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    speech_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(path: Path, **settings: Any) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | settings), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deltas", "참"), ("deltas", 1), ("normalize", 3), ("normalize", None), ("layers", "2"),
        ("layers", 2.0), ("layers", True), ("strides", [NAN, 2]), ("strides", [2.0, 2]),
        ("strides", "22"), ("strides", {"0": 2}), ("hop", True), ("hop", NAN), ("hop", INF),
        ("hop", "0.01"), ("max_frames", 1.5), ("axis", "frequency"), ("trainable", "some"),
        ("channels", [None]), ("heads", None), ("attention_layers", 10**6), ("dropout", [0.1]),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(name: str, value: Any, folder: Path) -> None:
    change(folder / "encoders" / "audio" / "config.json", **{name: value})
    with pytest.raises(CheckpointError, match=name) as caught:
        mx.EmotionModel.from_pretrained(folder)
    assert "config.json" in caught.value.wrong


@pytest.mark.parametrize("label", [3, 4])
def test_a_label_without_its_kind_is_no_class(label: int, folder: Path) -> None:
    """Loaded, it would be one more class of the softmax, and every score another."""
    path = folder / "fusion" / "config.json"
    labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    assert labels[label].pop("kind") != "categorical"
    change(path, labels=labels)
    with pytest.raises(CheckpointError, match="labels"):
        mx.EmotionModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        (1, int, True), (True, int, False), (1.0, int, False), (1, float, True),
        (NAN, float, False), (True, float, False),
        (10**400, int, True), ("a", str, True), (None, str, False), (None, str | None, True),
        ("a", Literal["a", "b"], True), ("c", Literal["a", "b"], False), ([], Literal["a"], False),
        ([1, 2], Sequence[int], True), ([1, "2"], Sequence[int], False),
        ("12", Sequence[str], False),
        ({"a": 1}, Mapping[str, int], True), ([["a", 1]], Mapping[str, int], True),
        ([["a"]], Mapping[str, int], False), ([1], Mapping[str, int], False),
        (3, Mapping[str, int], False),
        ({"a": "b"}, Mapping[str, int], False), (None, None, True), (object(), Any, True),
        ([3, 0.5], tuple[int, float], True), ([3, 0.5, 1], tuple[int, float], False),
        ([0.5, 3], tuple[int, float], False), ([1, 2, 3], tuple[int, ...], True),
        ([1, 2.5], tuple[int, ...], False), (None, Literal["a", None], True),
        ([[1, 2], [3]], Sequence[Sequence[int]], True), ([[1], 3], Sequence[Sequence[int]], False),
    ],
)  # fmt: skip
def test_types_of_json(value: Any, hint: Any, right: bool) -> None:
    assert saved_settings.fits(value, hint) is right


class Loose(Pretrained):
    """As others annotate."""

    def __init__(self, dim: int = None, longest: float = INF, deltas: bool = True) -> None:  # type: ignore[assignment]  # noqa: RUF013
        super().__init__()
        self.kept = {"dim": dim, "longest": longest, "deltas": deltas}

    def settings(self) -> dict[str, Any]:
        return self.kept


def test_a_default_is_right_whatever_its_annotation_says(tmp_path: Path) -> None:
    Loose().save_pretrained(tmp_path)
    assert Loose.from_pretrained(tmp_path).kept == Loose().kept
    for name, value in (("dim", "8"), ("longest", NAN), ("longest", -INF), ("deltas", 1)):
        Loose().save_pretrained(tmp_path)
        change(tmp_path / "config.json", **{name: value})
        with pytest.raises(CheckpointError, match=name):
            Loose.from_pretrained(tmp_path)


@pytest.mark.parametrize("annotation", ["numpy.nothing", "a number", "Unknown", "8"])
def test_annotations_that_only_readers_understand_stop_nothing(
    annotation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Loose.__init__.__annotations__, "dim", annotation)
    Loose(8).save_pretrained(tmp_path)
    assert Loose.from_pretrained(tmp_path).kept["dim"] == 8


def test_every_part_of_ours_says_its_types() -> None:
    """Where a class hides an annotation from `check`, its settings would go in unseen."""
    seen = 0
    for group in ("encoders", "fusion"):
        for name in plugins.available(group):
            part = plugins.load(group, name)
            if issubclass(part, Pretrained):
                seen += 1
                assert set(get_type_hints(part.__init__)) >= {"return"}
    assert seen >= 10


def test_depth_is_bounded_wherever_a_config_names_it() -> None:
    for name in ("layers", "num_hidden_layers", "encoder_layers", "n_layers"):
        saved_settings.check_depth({name: 1000, "width": 10**9}, "a")
        for value in (1001, 10**30, INF, NAN):
            with pytest.raises(CheckpointError, match=name):
                saved_settings.check_depth({name: value}, "a")
