from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import MIXED, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import Explanation, FeatureDifference, GradCAM
from modalxai.errors import CheckpointError, InputError
from modalxai.types import Attribution, Label, Provenance, Spans


def same(one: Any, two: Any) -> bool:
    """Equal to the last bit, whatever it is made of."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one.nan_to_num(-9.0), two.nan_to_num(-9.0)) and one.dtype == two.dtype
    if isinstance(one, dict):
        return set(one) == set(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, Explanation | Attribution | Spans):
        return all(same(getattr(one, f.name), getattr(two, f.name)) for f in fields(one))
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def explain(count: int = 5, **settings: Any) -> Explanation:
    model, samples = vector_model(2).eval(), vector_samples(count, missing=True)
    for index, sample in enumerate(samples):
        sample |= {"speaker": f"s{index % 2}", "age": 30 + index, "known": index > 2, "note": None}
        sample["labels"] = {"joy": 1, "valence": 0.5}
    return mx.explain(model, samples, **settings)


def tiles(attribution: Attribution) -> Attribution:
    """With spans that have frequencies and names, and pairs."""
    spans = {
        name: replace(
            one,
            low=one.start * 100,
            high=one.end * 100,
            names=tuple(("참", "잘했다") for _ in attribution.sample_ids),
        )
        for name, one in attribution.spans.items()
    }
    pairs = {("a", "b"): torch.randn(len(attribution.sample_ids), 5, 3, 2)}
    return replace(attribution, spans=spans, pairs=pairs)


def attributions() -> dict[str, Attribution]:
    model, samples = vector_model(2).eval(), vector_samples(5, missing=True)
    game = model.game(samples)
    table = Explanation.of(game)
    return {
        "shapley": table.shapley("contrast", against="joy"),
        "interactions": table.interactions(),
        "grad-cam": GradCAM().attribute(game),
        "difference": FeatureDifference().attribute(game, ["joy"]),
        "tiles": tiles(GradCAM().attribute(game)),
    }


def test_an_explanation_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = explain(removal="noise", draws=3)
    assert set(written.columns) == {"speaker", "age", "known", "note"}
    written.save(tmp_path)
    read = Explanation.load(tmp_path)
    assert same(read, written)
    assert same(read.shapley(), written.shapley())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "explanation.json",
        "explanation.safetensors",
    ]


@pytest.mark.parametrize("name", ["shapley", "interactions", "grad-cam", "difference", "tiles"])
def test_an_attribution_comes_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    written = attributions()[name]
    written.save(tmp_path)
    assert same(Attribution.load(tmp_path), written)


def test_numbers_of_numpy_and_torch_are_written_as_plain_ones(tmp_path: Path) -> None:
    written = replace(
        explain(2), columns={"a": (np.float32(0.5), np.int64(3)), "b": (torch.tensor(2.0), "x")}
    )
    written.save(tmp_path)
    assert Explanation.load(tmp_path).columns == {"a": (0.5, 3), "b": (2.0, "x")}


def test_a_column_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    wrong = replace(explain(2), columns={"path": (Path("x"), None)})
    with pytest.raises(InputError, match="'path'"):
        wrong.save(tmp_path / "run")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("kind", [Explanation, Attribution])
def test_broken_files_are_named(kind: type, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        kind.load(tmp_path)
    (explain(2) if kind is Explanation else attributions()["shapley"]).save(tmp_path)
    for path in tmp_path.iterdir():
        kept = path.read_bytes()
        path.write_bytes(kept[:20])
        with pytest.raises(CheckpointError, match=path.name):
            kind.load(tmp_path)
        path.unlink()
        with pytest.raises(CheckpointError, match=path.name):
            kind.load(tmp_path)
        path.write_bytes(kept)


def test_parts_merge_to_the_whole() -> None:
    model, samples = vector_model(2).eval(), vector_samples(6, missing=True)
    for index, sample in enumerate(samples):
        sample |= {"speaker": f"s{index}", "labels": {"joy": 1}}
    whole = mx.explain(model, samples)
    parts = [mx.explain(model, samples[:1]), mx.explain(model, samples[1:4]),
             mx.explain(model, samples[4:])]  # fmt: skip
    merged = Explanation.merge(parts)
    assert merged.sample_ids == whole.sample_ids
    assert merged.columns == whole.columns
    assert torch.equal(merged.present, whole.present)
    assert same(tuple(merged.targets), tuple(whole.targets))
    torch.testing.assert_close(merged.draws, whole.draws, rtol=1e-5, atol=1e-6)
    ours = Attribution.merge([part.interactions() for part in parts])
    torch.testing.assert_close(ours.totals, whole.interactions().totals, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        ours.pairs["a", "b"], whole.interactions().pairs["a", "b"], rtol=1e-5, atol=1e-6
    )


def test_units_of_different_lengths_merge_padded() -> None:
    model, samples = vector_model(2).eval(), vector_samples(5, missing=True)
    whole = tiles(GradCAM().attribute(model.game(samples)))
    parts = [GradCAM().attribute(model.game(sample)) for sample in samples]
    assert len({part.units["a"].shape[-1] for part in parts}) > 1
    merged = Attribution.merge([tiles(part) for part in parts])
    for name in ("a", "b"):
        torch.testing.assert_close(merged.units[name], whole.units[name], rtol=1e-5, atol=1e-6)
        assert torch.equal(merged.mask[name], whole.mask[name])
        for field in ("start", "end", "low", "high"):
            one, two = (getattr(found.spans[name], field) for found in (merged, whole))
            real = merged.mask[name]
            assert torch.equal(one[real], two[real])
        assert torch.equal(merged.spans[name].mask, whole.spans[name].mask)
        assert merged.spans[name].names == whole.spans[name].names
    assert merged.pairs["a", "b"].shape == (5, 5, 3, 2)
    assert merged.unit_gap().abs().max() < 1e-5


def test_pairs_of_different_sizes_merge_padded() -> None:
    base = attributions()["shapley"]
    one = replace(base, pairs={("a", "b"): torch.ones(5, 5, 2, 3)})
    two = replace(
        base,
        sample_ids=tuple(f"v{i}" for i in range(5)),
        pairs={("a", "b"): torch.full((5, 5, 4, 1), 2.0)},
    )
    pairs = Attribution.merge([one, two]).pairs["a", "b"]
    assert pairs.shape == (10, 5, 4, 3)
    assert pairs[:5].sum() == 5 * 5 * 6
    assert pairs[5:].sum() == 2 * 5 * 5 * 4
    assert (pairs[:5, :, :2, :3] == 1).all()
    assert (pairs[5:, :, :4, :1] == 2).all()


UNLIKE = {
    "labels": {"labels": tuple(Label(label.name, "binary") for label in MIXED)},
    "modalities": {"modalities": ("a", "c")},
    "removal": {"removal": {"a": "zero", "b": "absent"}},
    "seed": {"seed": 1},
    "scale": {"scale": "probability"},
    "attributor": {"attributor": "other"},
    "params": {"params": {"against": "fear"}},
    "level": {"level": "features"},
    "background": {"background": "beef"},
    "versions": {"versions": {"torch": "0"}},
}


@pytest.mark.parametrize("what", UNLIKE)
@pytest.mark.parametrize("kind", [Explanation, Attribution])
def test_unlike_things_do_not_merge(what: str, kind: type) -> None:
    one = explain(3) if kind is Explanation else attributions()["shapley"]
    renamed = replace(one, sample_ids=tuple(f"v{i}" for i in range(len(one.sample_ids))))
    assert len(kind.merge([one, renamed]).sample_ids) == 2 * len(one.sample_ids)
    change = UNLIKE[what]
    direct = what in ("labels", "modalities")
    other = replace(
        renamed, **(change if direct else {"provenance": replace(one.provenance, **change)})
    )
    named = what if direct else "provenance"
    with pytest.raises(InputError, match=f"different {named}"):
        kind.merge([one, other])


def test_every_field_of_the_provenance_is_compared() -> None:
    assert {f.name for f in fields(Provenance)} == set(UNLIKE) - {"labels", "modalities"}


@pytest.mark.parametrize("kind", [Explanation, Attribution])
def test_a_sample_twice_or_nothing_at_all_does_not_merge(kind: type) -> None:
    one = explain(3) if kind is Explanation else attributions()["shapley"]
    with pytest.raises(InputError, match="twice"):
        kind.merge([one, one])
    with pytest.raises(InputError, match="nothing to merge"):
        kind.merge([])


def test_different_numbers_of_draws_do_not_merge() -> None:
    model, samples = vector_model(2).eval(), vector_samples(4)
    one = mx.explain(model, samples[:2], removal="noise", draws=2)
    two = mx.explain(model, samples[2:], removal="noise", draws=3)
    with pytest.raises(InputError, match="draws"):
        Explanation.merge([one, two])


def test_columns_that_only_some_have_are_none_elsewhere() -> None:
    one = explain(2)
    two = replace(one, sample_ids=("x", "y"), columns={"accent": ("north", "south")})
    merged = Explanation.merge([one, two])
    assert merged.columns["accent"] == (None, None, "north", "south")
    assert merged.columns["speaker"] == ("s0", "s1", None, None)


def test_a_table_has_one_row_per_sample_label_and_modality() -> None:
    found = attributions()["difference"]
    frame = found.to_frame()
    assert list(frame.columns) == [
        "id", "label", "modality", "total", "se", "present", "prediction", "reference"
    ]  # fmt: skip
    assert len(frame) == 5 * 1 * 2
    for row in frame.to_dict("records"):
        sample = found.sample_ids.index(row["id"])
        place = found.modalities.index(row["modality"])
        assert row["label"] == "joy"
        assert row["total"] == pytest.approx(found.totals[sample, 0, place].item())
        assert row["present"] == found.present[sample, place].item()
        assert row["prediction"] == pytest.approx(found.prediction[sample, 0].item())
        assert row["reference"] == pytest.approx(found.reference[sample, 0].item())


def test_a_missing_pandas_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        attributions()["shapley"].to_frame()


def test_residual_and_unit_gap_are_what_is_left() -> None:
    found = attributions()["grad-cam"]
    changed = replace(
        found,
        reference=torch.zeros_like(found.prediction),
        totals=found.totals + torch.tensor([0.0, 2.0]),
    )
    torch.testing.assert_close(changed.unit_gap()[..., 0], torch.zeros(5, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(changed.unit_gap()[..., 1], torch.full((5, 5), 2.0))
    torch.testing.assert_close(changed.residual(), changed.prediction - found.totals.sum(-1) - 2.0)
    assert attributions()["shapley"].unit_gap().isnan().all()


@pytest.mark.parametrize("field", ["present", "totals", "se", "prediction", "reference"])
def test_a_result_of_the_wrong_shape_is_refused(field: str) -> None:
    found = attributions()["shapley"]
    with pytest.raises(InputError, match=field):
        replace(found, **{field: getattr(found, field)[:2]})


def test_the_files_are_json_and_safetensors_and_the_same_every_time(tmp_path: Path) -> None:
    found = attributions()["tiles"]
    found.save(tmp_path / "one")
    found.save(tmp_path / "two")
    for name in ("attribution.json", "attribution.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    record = json.loads((tmp_path / "one" / "attribution.json").read_text(encoding="utf-8"))
    assert record["spans"]["a"]["names"][0] == ["참", "잘했다"]
