"""The kit's own reports, and that it leaves no trace."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from unittest import SkipTest

import broken_encoders as encoders
import broken_fusions as fusions
import broken_inputs as inputs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import counting

from modalxai import ModalxaiError, fusion, testing
from modalxai.encoders import ByteTextEncoder
from modalxai.errors import InputError
from modalxai.testing import Check, Conformance, ConformanceError, examples, strategies
from modalxai.testing.compare import equal
from modalxai.types import Features

REPORT = Conformance(
    "MyEncoder",
    (
        Check("it stands", "passed"),
        Check("it walks", "failed", "it fell", "give it legs"),
        Check("it flies", "skipped", "no wings"),
        Check("it swims", "expected failure", "it is a stone (it sank)"),
    ),
)


def test_a_report_counts_and_says_what_was_found() -> None:
    assert len(REPORT) == 3
    assert not REPORT.passed
    assert not REPORT
    assert [check.name for check in REPORT.failures] == ["it walks"]
    assert str(REPORT).splitlines()[0] == (
        "MyEncoder: 3 checks made (1 passed, 1 failed, 1 expected failure, 1 skipped)"
    )
    assert "why: it fell" in str(REPORT)
    assert "mend: give it legs" in str(REPORT)


def test_failures_are_raised_by_name() -> None:
    with pytest.raises(ConformanceError, match="breaks 1 of 3 promises") as caught:
        REPORT.raise_for_failures()
    assert isinstance(caught.value, ModalxaiError)
    assert isinstance(caught.value, AssertionError)
    assert "it walks: it fell" in str(caught.value)
    assert "it walks: give it legs" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(AttributeError):
        REPORT.subject = "another"  # type: ignore[misc]


def test_a_report_without_checks_has_not_passed() -> None:
    nothing = Conformance("x", (Check("it flies", "skipped", "no wings"),))
    assert len(nothing) == 0
    assert not nothing
    with pytest.raises(ConformanceError, match="breaks 0 of 0"):
        nothing.raise_for_failures()


def test_an_expected_failure_passes_and_an_unexpected_success_fails() -> None:
    name, reason = "a forward draws nothing", "its noise is what it is for"
    report = testing.check_encoder(encoders.DrawsInEval(), encoders.rows(), expected={name: reason})
    report.raise_for_failures()
    assert report.count("expected failure") == 1
    (check,) = [check for check in report.checks if check.name == name]
    assert check.why.startswith(reason)
    assert "moved a global random generator" in check.why
    report = testing.check_encoder(encoders.Right(), encoders.rows(), expected={name: reason})
    (check,) = report.failures
    assert check.name == name
    assert "holds" in check.why
    assert reason in check.why


@pytest.mark.parametrize("expected", [{"it flies": "it has wings"}, {"padding is zero": " "}])
def test_expected_failures_need_a_name_and_a_reason(expected: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expected failures"):
        testing.check_encoder(encoders.Right(), encoders.rows(), expected=expected)


def test_raw_values_are_needed_where_no_example_fits() -> None:
    with pytest.raises(InputError, match="no example fits"):
        testing.check_encoder(encoders.Right())
    with pytest.raises(InputError, match="too few raw values"):
        testing.check_encoder(encoders.Right(), encoders.rows()[:1])
    with pytest.raises(InputError, match="nothing that the kit can check"):
        testing.check_fusion(3)


@pytest.mark.parametrize("check", testing.fusion_checks(), ids=str)
def test_each_check_by_itself(check: testing.NamedCheck) -> None:
    check(fusion.ShallowFusion)


def test_a_check_by_itself_raises_and_skips() -> None:
    checks = {check.name: check for check in testing.encoder_checks()}
    checks["padding is zero"](encoders.Right(), encoders.rows())
    with pytest.raises(ConformanceError, match="padding is zero"):
        checks["padding is zero"](encoders.LeavesPadding(), encoders.rows())
    with pytest.raises(SkipTest, match="of one length"):
        checks["more padding changes nothing"](encoders.Right(), encoders.rows()[:1] * 2)


def test_nothing_of_the_users_is_changed() -> None:
    raws = encoders.rows()
    for part, check in (
        (inputs.CollateWritesToRaws().train(), lambda p: testing.check_encoder(p, raws)),
        (encoders.BatchNormInEval().train(), lambda p: testing.check_encoder(p, raws)),
        (encoders.WritesToItsInput().train(), lambda p: testing.check_encoder(p, raws)),
        (fusions.UnusedWeights().train(), testing.check_fusion),
    ):
        given, before = copy.deepcopy(raws), copy.deepcopy(part.state_dict())
        torch.manual_seed(3)
        np.random.seed(3)
        state, array = torch.get_rng_state(), np.random.get_state()
        check(part)
        assert torch.equal(torch.get_rng_state(), state)
        assert equal(np.random.get_state(), array)
        assert equal(raws, given)
        assert equal(dict(part.state_dict()), dict(before))
        assert part.training
        assert all(weight.grad is None for weight in part.parameters())
        assert not any(module._forward_hooks for module in part.modules())


def test_the_report_is_the_same_every_time() -> None:
    part = encoders.DropoutInEval()
    first, second = (testing.check_encoder(part, encoders.rows()) for _ in range(2))
    assert first == second


def test_neither_pytest_nor_hypothesis_is_imported() -> None:
    code = (
        "import sys, modalxai.testing as t; assert 'torch' not in sys.modules; "
        "t.check_encoder, t.check_fusion, t.check_pair, t.TableGame; "
        "assert not {'pytest', 'hypothesis', 'transformers'} & set(sys.modules); "
        "t.strategies; assert 'hypothesis' in sys.modules; print(dir(t))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "check_encoder" in done.stdout


def test_the_summary_adds_up_what_the_tests_recorded() -> None:
    class Report:
        def __init__(self, when: str, *made: int) -> None:
            self.when = when
            self.user_properties = [(counting.MADE, value) for value in made] + [("other", 9)]

    stats = {"passed": [Report("setup", 5), Report("call", 30, 4)], "failed": [Report("call", 2)]}
    assert counting.summary(stats) == "conformance: 36 checks made, of 3 parts"
    assert counting.summary({"passed": [Report("call")], "": [object()]}) is None


FUSION = fusion.FusionTransformer(
    {"b": 3, "a": 5}, testing.conflict().labels, width=4, heads=2
).eval()
TEXT = ByteTextEncoder(dim=8, layers=1, heads=2).eval()


@settings(deadline=None, max_examples=40)
@given(strategies.features({"b": 3, "a": 5}))
@torch.no_grad()
def test_any_features_score_alone_as_in_a_batch(batch: dict[str, Features]) -> None:
    count = len(batch["a"].mask)
    assert batch["b"].values[~batch["b"].mask].eq(0).all()
    scores = FUSION(batch).scores
    assert scores.isfinite().all()
    for row in range(count):
        alone = testing.fusions.rows_of(batch, [row])
        torch.testing.assert_close(FUSION(alone).scores[0], scores[row], rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(strategies.batches(strategies.texts()))
@torch.no_grad()
def test_any_texts_encode_alone_as_in_a_batch(raws: list[str | None]) -> None:
    together = TEXT(TEXT.collate(raws))
    for row, raw in enumerate(raws):
        own = TEXT(TEXT.collate([raw]))
        found = together.values[row][together.mask[row]]
        torch.testing.assert_close(found, own.values[0][own.mask[0]], rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_strategies_give_what_they_say(data: st.DataObject) -> None:
    found = data.draw(strategies.lengths(rows=3, longest=5, shortest=1))
    assert 1 <= len(found) <= 3
    assert 1 <= min(found) <= max(found) <= 5
    mask = data.draw(strategies.masks(holes=False))
    assert mask.dtype == torch.bool
    assert (mask.int().diff(dim=1) <= 0).all()  # real first, then padding
    clip = data.draw(strategies.recordings())
    assert 800 <= len(clip.waveform) <= 6400
    assert None not in data.draw(strategies.batches(strategies.texts(), missing=False))


def test_examples_differ_in_length_and_can_be_altered() -> None:
    for raws in (examples.recordings(), examples.texts(), examples.signals(), examples.vectors()):
        assert len(raws) == 3
        assert all(not equal(examples.altered(raw), raw) for raw in raws)
    assert examples.altered("참 잘했다.") == "참 다했잘."
    assert examples.extent(examples.recordings()[1], "seconds") == pytest.approx(0.7)
    assert examples.extent("abc", "characters") == 3
    assert examples.extent("abc", "seconds") is None
    assert examples.altered(3) is None
