"""The explanation as a function of rows, inside other people's pipelines."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import soundfile
import torch

import modalxai as mx
from modalxai.corpus_run import ExplainRows
from modalxai.errors import InputError

LABELS = mx.labels("anger", "joy")
NAMES = [f"evidence/{label.name}/{m}" for label in LABELS for m in ("audio", "text")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    parts = {
        "audio": mx.plugins.create("encoders", "mel-cnn", dim=8, mels=8, channels=8, heads=2),
        "text": mx.plugins.create("encoders", "byte-text", dim=8, layers=1, heads=2),
    }
    dims = {name: part.dim for name, part in parts.items()}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=LABELS)
    path = tmp_path_factory.mktemp("model")
    mx.EmotionModel(parts, fusion=fusion, modality_dropout=0.1).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def clips():
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(2000 + 90 * place, generator=generator) for place in range(7)]


@pytest.fixture(scope="module")
def wanted(folder, clips):
    samples = [
        {"id": f"u{place}", "audio": mx.Audio(clip, 16_000), "text": "well " * (place + 1)}
        for place, clip in enumerate(clips)
    ]
    totals = mx.explain(mx.EmotionModel.from_pretrained(folder), samples).shapley().totals
    return {name: totals[:, place // 2, place % 2].tolist() for place, name in enumerate(NAMES)}


def rows_of(clips):
    return {
        "id": [f"u{place}" for place in range(len(clips))],
        "audio": [{"array": clip.numpy(), "sampling_rate": 16_000} for clip in clips],
        "text": ["well " * (place + 1) for place in range(len(clips))],
    }


def close(found, wanted):
    for name in NAMES:
        assert found[name] == pytest.approx(wanted[name], abs=1e-6)


def test_rows_get_what_explain_says(folder, clips, wanted) -> None:
    explainer = ExplainRows(folder, batch_size=3)
    found = explainer(rows_of(clips))
    close(found, wanted)
    assert found["problem"] == [None] * len(clips)
    assert set(found["predicted"]) <= {"anger", "joy"}


def test_it_travels_without_weights(folder, clips, wanted) -> None:
    explainer = ExplainRows(folder)
    explainer(rows_of(clips))
    packed = pickle.dumps(explainer)
    assert len(packed) < 2_000
    close(pickle.loads(packed)(rows_of(clips)), wanted)


def test_rows_of_numpy_as_ray_gives_them(folder, clips, wanted) -> None:
    rows = rows_of(clips)
    as_arrays = {
        "name": np.array(rows["id"]),
        "text": np.array(rows["text"]),
        "audio": np.array(rows["audio"], dtype=object),
    }
    close(ExplainRows(folder, columns={"id": "name"})(as_arrays), wanted)


def test_a_bad_row_says_why_and_harms_no_other(folder, clips, wanted) -> None:
    rows = rows_of(clips)
    rows["audio"][2] = {"array": np.full(2000, np.nan), "sampling_rate": 16_000}
    rows["audio"][4] = {"bytes": b"no sound", "path": None}
    found = ExplainRows(folder, batch_size=4)(rows)
    for place in range(len(clips)):
        bad = place in (2, 4)
        assert (found["problem"][place] is not None) is bad
        assert (found["predicted"][place] is None) is bad
        for name in NAMES:
            got = found[name][place]
            assert got is None if bad else got == pytest.approx(wanted[name][place], abs=1e-6)
    assert "finite" in found["problem"][2]
    assert "decoded" in found["problem"][4]
    alone = {name: values[4:5] for name, values in rows.items()}
    assert ExplainRows(folder)(alone)["predicted"] == [None]


def test_missing_columns_are_named(folder, clips) -> None:
    rows = rows_of(clips)
    del rows["text"]
    with pytest.raises(InputError, match="columns are missing"):
        ExplainRows(folder)(rows)


def test_inside_hugging_face_datasets(folder, clips, wanted, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = rows_of(clips)
    stored = []
    for clip in clips:
        sound = io.BytesIO()
        soundfile.write(sound, clip.numpy(), 16_000, format="WAV", subtype="FLOAT")
        stored.append({"bytes": sound.getvalue(), "path": None})
    table = datasets.Dataset.from_dict({**rows, "audio": stored})
    done = table.map(
        ExplainRows(folder),
        batched=True,
        batch_size=3,
        num_proc=2,
        cache_file_name=None,
        load_from_cache_file=False,
    )
    close({name: done[name][:] for name in NAMES}, wanted)
    assert done["id"][:] == rows["id"]
