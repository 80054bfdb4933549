"""Run in an environment where examples/plugin_package is installed: uses it with every built-in.

``python installed_plugins.py NAMES``: NAMES of built-in encoders, or none for all. Prints json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import tiny
import torch

import modalxai as mx
from modalxai import plugins
from modalxai.testing.small import small_options

LABELS = mx.labels("anger", "joy", "sadness") + mx.labels("valence", kind="dimensional")
UNSAVED = ("hanbert: morphemes",)
"""Needs code of its user's to be loaded again."""
FACES = ("video-gru", "gated", "permutation-shapley")


def _fusion(name: str, dims: dict[str, int]) -> Any:
    own = small_options("fusion", name) or {}
    return plugins.create("fusion", name, dims=dims, labels=LABELS, **own)


def _model(encoders: dict[str, Any], fusion: str) -> mx.EmotionModel:
    torch.manual_seed(0)
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    return mx.EmotionModel(encoders, _fusion(fusion, dims))


def _samples(**raws: Any) -> list[dict[str, Any]]:
    rows = [dict(zip(raws, row, strict=True)) for row in zip(*raws.values(), strict=True)]
    return [
        *({"id": f"u{row}", **one} for row, one in enumerate(rows)),
        {"id": "lacking", **rows[0], next(iter(raws)): None},
    ]


def _agree(model: mx.EmotionModel, samples: list[dict[str, Any]]) -> float:
    """Save, load, explain; how far the package's attributor is from the built-in one."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = mx.EmotionModel.from_pretrained(folder)
    torch.testing.assert_close(again.predict(samples).scores, model.predict(samples).scores)
    explanation = mx.explain(model, samples)
    assert explanation.shapley().residual().abs().max() < 1e-5
    found = plugins.create("attribution", FACES[2]).attribute(model.game(samples))
    return float((found.totals - explanation.shapley().totals).abs().max())


def main(names: list[str]) -> None:
    face = plugins.load("encoders", FACES[0]).small()
    faces, (words, waves) = face.examples(), (tiny.encoder("byte-text"), tiny.encoder("mel-cnn"))
    texts, clips = tiny.raws("byte-text"), tiny.raws("mel-cnn")
    done: dict[str, Any] = {
        "packages": {
            group: plugins.inspect(group, name).package
            for group, name in zip(("encoders", "fusion", "attribution"), FACES, strict=True)
        },
        "api": plugins.describe("encoders", FACES[0]).api,
    }
    done["fusions"] = {
        name: _agree(_model({"face": face, "text": words}, name), _samples(face=faces, text=texts))
        for name in plugins.available("fusion")
    }
    done["encoders"] = {
        name: _agree(
            _model({"other": tiny.encoder(name), "face": face}, FACES[1]),
            _samples(other=tiny.raws(name), face=faces),
        )
        for name in names or [name for name in tiny.ENCODERS if name not in UNSAVED]
    }
    parts = {"audio": waves, "text": words, "face": face}
    removal = {"audio": "silence", "text": "mask", "face": "neutral"}
    samples = _samples(audio=clips, text=texts, face=faces)
    game = _model(parts, FACES[1]).game(samples, removal=removal)
    done["attributors"] = []
    for name in plugins.available("attribution"):
        units = {"face": "second", "text": "word"} if name in ("owen", "unit-shapley") else None
        options = {} if units is None else {"players": units}
        found = plugins.create("attribution", name, **options).attribute(game, ["joy"])
        assert found.totals.isfinite().all(), name
        done["attributors"].append(name)
    print(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1:])
