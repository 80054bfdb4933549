"""The kit names what is wrong: each broken part fails the check that fits, and no other."""

from __future__ import annotations

from typing import Any

import broken_encoders as encoders
import broken_fusions as fusions
import broken_inputs as inputs
import pytest
import torch

import modalxai as mx
from modalxai import testing
from modalxai.testing import Conformance

ENCODERS: dict[Any, set[str]] = {
    encoders.MeanOverPaddedTime: {"more padding changes nothing"},
    encoders.NormOverTheBatch: {"a row alone is its row of a batch"},
    encoders.LongestFirst: {"the order of the rows does not matter"},
    encoders.ForgetsRowsItHasSeen: {"a batch of rows can be taken apart"},
    encoders.WrongWidth: {"features fit"},
    encoders.MixesPrecisions: {"bfloat16 autocast agrees"},
    inputs.CollatesLists: {"collate gives a row for every value"},
    inputs.LooksForBlanks: {"a blank unit changes its own row"},
    inputs.RemovesInPlace: {"removing leaves what it was given"},
    inputs.NamesInAList: {"removals and kinds are named"},
    encoders.BatchNormInEval: {"a forward leaves the modes"},
    encoders.NeverInEval: {"eval reaches every module"},
    encoders.WritesToItsInput: {"the inputs are not modified"},
    encoders.Counts: {"nothing is kept between forwards"},
    encoders.InvertedMask: {"the mask says what is there"},
    encoders.FloatMask: {"the mask is bool"},
    encoders.NaNForMissing: {"everything is finite"},
    encoders.NaNGradients: {"gradients are finite"},
    encoders.LeavesPadding: {"padding is zero"},
    encoders.DropoutInEval: {"eval is deterministic"},
    encoders.DrawsInEval: {"a forward draws nothing"},
    encoders.SpansOutside: {"spans lie in the input"},
    encoders.ForgetsASetting: {"it comes back from a folder"},
    encoders.HiddenWeights: {"its state dict is all of it", "it comes back from a folder"},
    encoders.DrawsWhileLoading: {"loading draws nothing"},
    encoders.SavesAPickle: {"a folder holds no pickle"},
    encoders.SharesWithItsCopy: {"it can be copied"},
    encoders.Float32Only: {"float64 agrees"},
    encoders.EdgesSeePadding: {"padding gets no gradient"},
    inputs.CollatesTheBatch: {"a collated row is what it is alone"},
    inputs.CollateWritesToRaws: {"collate leaves its raw values"},
    inputs.CollateWithWeights: {"collate is weightless"},
    inputs.CollateWithALambda: {"collate is picklable"},
    inputs.RemovesEverything: {"keeping everything changes nothing"},
    inputs.RemovesNothing: {"every removal removes"},
    inputs.RemovesFromTheMaskOnly: {"data and mask change together"},
    inputs.LeaksWhatItRemoves: {"what is removed has no influence"},
    inputs.RemovesInAllRows: {"only what is named is removed"},
    inputs.KnowsItsOwnUnitsOnly: {"any spans will do"},
    inputs.NoiseOfTheBatch: {"a removal alone is its row of a batch"},
    inputs.NoiseOfTheGlobalGenerator: {"a seed decides everything"},
    inputs.TakesAnyRemoval: {"what is not offered is refused"},
    inputs.OverlappingUnits: {"units lie apart in the input"},
    inputs.UncoveredUnits: {"units cover the input"},
    inputs.OtherStages: {"forward is tail of stem"},
    inputs.TailWritesToTheStem: {"the tail leaves the stem"},
    inputs.NarrowBlank: {"the stem gives features"},
}
FUSIONS: dict[Any, set[str]] = {
    fusions.PoolsPadding: {"more padding changes nothing"},
    fusions.MultipliesByTheMask: {"what the mask hides is invisible"},
    fusions.NormalisesOverRows: {"a row alone is its row of a batch"},
    fusions.NaNWithoutModalities: {"any modalities may be missing"},
    fusions.OrderOfTheDict: {"the order of the modalities does not matter"},
    fusions.OtherJoin: {"forward is join of project"},
    fusions.DeafToOne: {"every modality is read"},
    fusions.UnusedWeights: {"every weight gets a gradient"},
    fusions.TakesAnything: {"what does not fit is refused"},
    fusions.AbsentIsZero: {"an absent modality is its missing vector"},
    fusions.ForgetsTheOrder: {"it comes back from a folder"},
    fusions.ProjectsColumns: {"projections have a row per sample"},
    fusions.JoinsByTheFirstRow: {"projections of several batches join"},
    fusions.OtherLabels: {"scores fit the labels"},
    fusions.DropoutOfAFusionInEval: {"eval is deterministic"},
}
ON_CUDA = {"cuda agrees", "removal works on cuda"}


def _failed(report: Conformance) -> set[str]:
    return {check.name for check in report.failures}


def _check(kind: Any) -> Conformance:
    torch.manual_seed(0)
    return testing.check_encoder(kind(), encoders.rows())


def test_the_right_parts_pass_and_nothing_is_left_unchecked() -> None:
    for report in (_check(encoders.Right), testing.check_fusion(fusions.RightFusion())):
        report.raise_for_failures()
        skipped = {check.name for check in report.checks if check.outcome == "skipped"}
        assert skipped <= ON_CUDA


@pytest.mark.parametrize("kind", ENCODERS, ids=lambda kind: kind.__name__)
def test_a_broken_encoder_is_caught_by_name(kind: Any) -> None:
    report = _check(kind)
    assert _failed(report) == ENCODERS[kind], str(report)
    assert all(check.why and check.mend for check in report.failures)


@pytest.mark.parametrize("kind", FUSIONS, ids=lambda kind: kind.__name__)
def test_a_broken_fusion_is_caught_by_name(kind: Any) -> None:
    torch.manual_seed(0)
    report = testing.check_fusion(kind())
    assert _failed(report) == FUSIONS[kind], str(report)


UNREGISTERED = "no plugin offers the class, so nobody could rebuild the model"
FILES = ("it comes back from a folder", "loading draws nothing", "a folder holds no pickle")


@pytest.mark.parametrize(
    ("encoder", "fusion", "failed"),
    [
        (encoders.Right, fusions.RightFusion, set()),
        (encoders.MeanOverPaddedTime, fusions.RightFusion, {"more padding changes nothing"}),
        (encoders.NormOverTheBatch, fusions.RightFusion, {"a row alone is its row of a batch"}),
        (encoders.EdgesSeePadding, fusions.RightFusion, {"padding gets no gradient"}),
        (encoders.Counts, fusions.RightFusion, {"nothing is kept between forwards"}),
        (encoders.WritesToItsInput, fusions.RightFusion, {"the inputs are not modified"}),
        (encoders.LeavesPadding, fusions.RightFusion, {"masks say what is there"}),
        (encoders.Right, fusions.NaNWithoutModalities, {"any modalities may be missing"}),
        (encoders.Right, fusions.OtherLabels, {"scores fit the labels"}),
    ],
)
def test_a_broken_pair_is_caught_by_name(encoder: Any, fusion: Any, failed: set[str]) -> None:
    torch.manual_seed(0)
    parts = {"text": encoder(), "audio": encoders.Right(dim=5)}
    model = mx.EmotionModel(parts, fusion({name: part.dim for name, part in parts.items()}))
    raws = encoders.rows()
    samples = [{"text": raw, "audio": other} for raw, other in zip(raws, raws[::-1], strict=True)]
    report = testing.check_pair(model, samples, expected=dict.fromkeys(FILES, UNREGISTERED))
    assert _failed(report) == failed, str(report)


def test_every_check_can_fail() -> None:
    caught = set().union(*ENCODERS.values(), *FUSIONS.values())
    names = {check.name for check in (*testing.encoder_checks(), *testing.fusion_checks())}
    assert names - caught == ON_CUDA
