"""Datasets keep what their readers rely on; each broken one fails the check that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import broken_datasets as broken
import numpy as np
import pytest
import soundfile
from tests.support import corpora
from tests.support.counting import Conforms
from toys import speech_model, speech_samples

from modalxai import testing
from modalxai.datasets import (
    MELD,
    AIHubMultimodalVideo,
    KEMDy19,
    KEMDy20,
    ManifestCorpus,
    tonebench,
)
from modalxai.datasets.columns import WithColumn
from modalxai.errors import InputError

BROKEN: dict[Any, set[str]] = {
    broken.Empty: {"there are samples"},
    broken.Pairs: {"samples are mappings"},
    broken.KeyOfABatch: {"samples are mappings"},
    broken.NeverEnds: {"the end is an index error"},
    broken.EndsInAKeyError: {"the end is an index error"},
    broken.NumbersAsIds: {"ids are strings that differ"},
    broken.OneIdTwice: {"ids are strings that differ"},
    broken.AugmentsGlobally: {"reading draws nothing"},
    broken.ShufflesWithPython: {"reading draws nothing"},
    broken.CountsReadings: {"reading again gives the same"},
    broken.HandsOutItsCache: {"a sample is its readers"},
    broken.HandsOutItsLabels: {"a sample is its readers"},
    broken.HoldsAnOpenFile: {"loader workers can have it"},
    broken.NoRate: {"recordings can be heard"},
    broken.WholeNumbers: {"recordings can be heard"},
    broken.WholeNumbersAsFloats: {"recordings can be heard"},
    broken.NaNInTheSound: {"recordings can be heard"},
    broken.UnlistedLabel: {"labels are names and numbers"},
    broken.LabelNumbers: {"labels are names and numbers"},
    broken.NaNLabel: {"labels are names and numbers"},
    broken.NothingToEncode: {"no sample is empty"},
    broken.OtherColumns: {"columns are the samples"},
    broken.UnusableSound: {"they collate"},
}
LEAST = 11


@pytest.fixture(scope="module")
def collate() -> Any:
    found = speech_model().collate

    def without_labels(samples: Any) -> Any:
        return found([{**sample, "labels": None} for sample in samples])

    return without_labels


def test_a_right_one_passes_every_check(collate: Any, conforms: Conforms) -> None:
    report = testing.check_dataset(broken.Right(), collate)
    conforms(report, len(testing.dataset_checks()))


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_dataset_is_caught_by_name(kind: Any, collate: Any) -> None:
    report = testing.check_dataset(kind(), collate)
    found = {check.name for check in report.failures}
    # What a model cannot read may follow from what is wrong by itself.
    assert found - {"they collate"} == BROKEN[kind] - {"they collate"}, str(report)
    assert found >= BROKEN[kind], str(report)
    assert all(check.why and check.mend for check in report.failures)


def test_every_check_can_fail() -> None:
    names = {check.name for check in testing.dataset_checks()}
    assert names == set().union(*BROKEN.values())


@pytest.mark.parametrize("family", [tonebench.xor, tonebench.emotions])
@pytest.mark.parametrize("cache", [False, True])
def test_tonebench_conforms(family: Any, cache: bool, conforms: Conforms, collate: Any) -> None:
    corpus = tonebench.ToneBench(family(), 40, clip_seconds=0.5, cache=cache)
    conforms(testing.check_dataset(corpus, collate, most=3), LEAST)


def test_a_list_of_samples_conforms(conforms: Conforms, collate: Any) -> None:
    samples = speech_samples()
    report = testing.check_dataset(
        samples, collate, expected={"a sample is its readers": "a list hands out what it holds"}
    )
    conforms(report, LEAST - 2)
    assert samples[0]["id"] == "u0"


def test_a_manifest_and_what_wraps_it_conform(
    tmp_path: Path, conforms: Conforms, collate: Any
) -> None:
    draw = np.random.default_rng(0)
    lines = ["id,audio,text,label,speaker"]
    for row in range(4):
        soundfile.write(tmp_path / f"{row}.wav", 0.1 * draw.standard_normal(1600), 16_000)
        lines.append(f"u{row},{row}.wav,단어 {row},{'anger' if row % 2 else 'joy'},s{row % 2}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    corpus = ManifestCorpus(tmp_path / "list.csv")
    conforms(testing.check_dataset(corpus, collate), LEAST + 1)
    heard = WithColumn(corpus, "recognised", ["하나", None, "", "둘"])
    conforms(testing.check_dataset(heard, collate), LEAST)


def _meld(folder: Path) -> Any:
    rows = [corpora.meld_row(3, turn) for turn in range(3)]
    return MELD(corpora.meld(folder, {"dev": rows}), "dev", audio=False)


def _kemdy19(folder: Path) -> Any:
    row = corpora.kemdy19_row
    woman, man = (f"Sess02_impro01_{who}" for who in ("F001", "M001"))
    rows = [row(woman, "happy", start=0), row(man, "sad", start=2)]
    return KEMDy19(corpora.kemdy19(folder, {(2, "F"): rows, (2, "M"): rows}))


def _kemdy20(folder: Path) -> Any:
    row, names = corpora.kemdy20_row, [f"Sess01_script01_User001F_{at:03}" for at in range(1, 4)]
    rows = [row(name, ("happy", "sad")[at % 2], start=at) for at, name in enumerate(names)]
    return KEMDy20(corpora.kemdy20(folder, {1: rows}))


def _aihub(folder: Path) -> Any:
    people = [
        corpora.entry("1", f"말 {at}", 25 * at, 25 * at + 20, text="happy") for at in range(3)
    ]
    clip = corpora.aihub_clip(1, {at: [one] for at, one in enumerate(people)})
    corpora.write_clip(folder / "라벨데이터/clip_1.json", clip)
    corpora.outline_mp4(folder / "원천데이터/0001.MP4")
    return AIHubMultimodalVideo(folder, audio=False)


@pytest.mark.parametrize("make", [_meld, _kemdy19, _kemdy20, _aihub])
def test_a_published_corpus_conforms(
    make: Any, tmp_path: Path, conforms: Conforms, collate: Any
) -> None:
    conforms(testing.check_dataset(make(tmp_path), collate), LEAST)


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(InputError, match="nothing that the kit can check"):
        testing.check_dataset(iter([]))


@pytest.mark.parametrize("check", testing.dataset_checks(), ids=str)
def test_each_check_by_itself(check: Any, collate: Any) -> None:
    check(broken.Right(), collate)
