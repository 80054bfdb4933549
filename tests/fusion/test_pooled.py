import pytest
import torch

import modalxai as mx
from modalxai import testing
from modalxai.fusion import LateFusion, ShallowFusion

LABELS = (
    mx.labels("anger", "joy", "sad")
    + mx.labels("tired", kind="binary")
    + mx.labels("valence", kind="dimensional")
)
DIMS = {"text": 3, "audio": 5}  # not in the order of the alphabet
FUSIONS = [
    lambda **more: ShallowFusion(DIMS, LABELS, **more),
    lambda **more: ShallowFusion(DIMS, LABELS, hidden=0, **more),
    lambda **more: LateFusion(DIMS, LABELS, **more),
    lambda **more: LateFusion(DIMS, LABELS, combine="learned", **more),
    lambda **more: LateFusion(DIMS, LABELS, combine={"audio": 0.7, "text": 0.3}, **more),
]
each_fusion = pytest.mark.parametrize(
    "make", FUSIONS, ids=["shallow", "linear", "late", "learned", "fixed"]
)
each_pool = pytest.mark.parametrize("pool", ["mean", "first", {"audio": "mean", "text": "first"}])


def _features(lengths, dim, seed=0, padding=0):
    generator = torch.Generator().manual_seed(seed)
    longest = max(1, *lengths) + padding
    values = torch.randn(len(lengths), longest, dim, generator=generator)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    edge = torch.zeros(len(lengths), longest)
    return mx.Features(values * mask[..., None], mask, mx.Spans(edge, edge + 1, "seconds"))


def _all(padding=0):
    return {
        "audio": _features([4, 2, 0], 5, padding=padding),
        "text": _features([1, 3, 2], 3, 1, padding),
    }


def _randomised(fusion):
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    return fusion.eval()


@each_fusion
@each_pool
def test_it_conforms(make, pool, conforms):
    conforms(testing.check_fusion(make(pool=pool)), 28)


def test_shallow_is_a_perceptron_on_the_concatenation():
    fusion, features = _randomised(ShallowFusion(DIMS, LABELS)), _all()
    pooled = torch.cat([fusion.pooled(name, features[name]) for name in DIMS], dim=-1)
    weight = torch.cat([fusion.maps[name].weight for name in DIMS], dim=-1)
    hidden = torch.nn.functional.gelu(pooled @ weight.T + fusion.bias)
    torch.testing.assert_close(fusion(features).scores, fusion.head(hidden))


def test_late_sums_weighted_log_probabilities_and_values():
    fusion, features = (
        _randomised(LateFusion(DIMS, LABELS, combine={"audio": 0.7, "text": 0.3})),
        _all(),
    )
    expected = torch.zeros(3, 5)
    for name, weight in {"audio": 0.7, "text": 0.3}.items():
        own = fusion.heads[name](fusion.pooled(name, features[name]))
        expected += weight * torch.cat([own[:, :3].log_softmax(-1), own[:, 3:]], dim=-1)
    torch.testing.assert_close(fusion(features).scores, expected)


def test_learned_weights_sum_to_one_and_learn():
    fusion = LateFusion(DIMS, LABELS, combine="learned")
    torch.testing.assert_close(fusion.weights.sum(), torch.tensor(1.0))
    fusion(_all()).scores[:, 4].sum().backward()
    assert fusion.preference.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: ShallowFusion({}, LABELS),
        lambda: ShallowFusion(DIMS, LABELS, pool="max"),
        lambda: ShallowFusion(DIMS, LABELS, pool={"audio": "mean"}),
        lambda: ShallowFusion(DIMS, ()),
        lambda: LateFusion(DIMS, LABELS, combine="median"),
        lambda: LateFusion(DIMS, LABELS, combine={"audio": 1.0}),
        lambda: ShallowFusion(DIMS, LABELS)({"audio": _features([1], 5)}),
        lambda: ShallowFusion(DIMS, LABELS)(
            {"audio": _features([1], 4), "text": _features([1], 3)}
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_mend(make):
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        make()
