"""A split that leaks is told wherever its samples are reported."""

from __future__ import annotations

from dataclasses import asdict

import torch

import modalxai as mx
from modalxai.attribution import Explanation
from modalxai.datasets import random_split, split

LABELS = mx.labels("anger", "joy")


def _samples(count: int) -> list[dict[str, object]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "id": f"u{row}",
            "audio": mx.Audio(0.1 * torch.randn(3_200, generator=generator), 16_000),
            "text": "참 잘했다",
            "labels": {LABELS[row % 2].name: 1},
            "speaker": f"s{row % 6}",
        }
        for row in range(count)
    ]


def _model() -> mx.EmotionModel:
    torch.manual_seed(0)
    audio = mx.plugins.create("encoders", "mel-cnn", dim=8, channels=8, heads=2, dropout=0.0)
    text = mx.plugins.create("encoders", "byte-text")
    dims = {"audio": audio.dim, "text": text.dim}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=LABELS)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=0.1)


def test_what_a_split_leaks_travels_from_the_split_to_table_page_and_rows(tmp_path):
    samples, model = _samples(18), _model()
    leaking = random_split(samples, {"train": 1, "test": 1}, leak="papers")
    test = leaking.part(samples, "test")
    explanation = mx.explain(model, test, batch_size=4)
    explanation.save(tmp_path / "run")
    half = len(test) // 2
    first, rest = (
        mx.explain(model, [test[i] for i in rows]) for rows in (range(half), range(half, len(test)))
    )
    for one in (
        explanation,
        Explanation.load(tmp_path / "run"),
        Explanation.merge([first, rest]),
    ):
        report = mx.Report(one, repeats=50)
        assert report.leaks == (leaking.leak,)
        clauses = leaking.leak.split(". ")
        assert clauses[0] == "random split, as in the papers"
        assert any("speakers are in more than one part" in clause for clause in clauses)
        for page in (report.table(), report.html()):
            assert all(clause in page for clause in clauses)
            assert "split may leak" in page
        assert all("split may leak" in asdict(row)["flags"] for row in report.shares())
    # In the page it is said once, not beside every utterance.
    assert report.html().count(clauses[0]) == 1


def test_a_clean_split_says_nothing():
    samples, model = _samples(18), _model()
    clean = split(samples, {"train": 1, "test": 1})
    report = mx.Report(mx.explain(model, clean.part(samples, "test")), repeats=50)
    assert report.leaks == ()
    assert "leak" not in report.table()
    assert "leak" not in report.html()
    assert not any("leak" in flag for row in report.shares() for flag in row.flags)
