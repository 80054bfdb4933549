import pytest
import torch

import modalxai as mx
from modalxai.fusion import LateFusion, ShallowFusion

LABELS = (
    mx.labels("anger", "joy", "sad")
    + mx.labels("tired", kind="binary")
    + mx.labels("valence", kind="dimensional")
)
DIMS = {"audio": 5, "text": 3}
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
def test_forward_is_join_of_project(make, pool):
    fusion, features = _randomised(make(pool=pool)), _all()
    projected = {name: fusion.project(name, features[name]) for name in DIMS}
    assert torch.equal(fusion(features).scores, fusion.join(projected).scores)


@each_fusion
@each_pool
def test_a_row_depends_on_its_own_vectors_alone(make, pool):
    fusion, features = _randomised(make(pool=pool)), _all()
    together = fusion(features).scores
    for row in range(3):
        alone = {
            name: mx.Features(
                one.values[row : row + 1, : max(1, int(one.mask[row].sum()))],
                one.mask[row : row + 1, : max(1, int(one.mask[row].sum()))],
                one.spans,
            )
            for name, one in features.items()
        }
        torch.testing.assert_close(fusion(alone).scores[0], together[row], rtol=1e-5, atol=1e-6)


@each_fusion
def test_garbage_in_the_padding_is_invisible_and_gets_no_gradient(make):
    fusion, features = _randomised(make()), _all(padding=2)
    dirty = {}
    for name, one in features.items():
        values = one.values.masked_fill(~one.mask[..., None], 7.0).requires_grad_()
        dirty[name] = mx.Features(values, one.mask, one.spans)
    scores = fusion(dirty).scores
    torch.testing.assert_close(scores, fusion(features).scores)
    scores.sum().backward()
    for one in dirty.values():
        assert one.values.grad[~one.mask].eq(0).all()


@each_fusion
def test_rows_of_nothing_are_finite_with_finite_gradients(make):
    fusion = _randomised(make())
    nothing = {"audio": _features([0, 0], 5), "text": _features([0, 0], 3)}
    scores = fusion(nothing).scores
    scores.sum().backward()
    assert torch.isfinite(scores).all()
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)


@each_fusion
def test_an_absent_modality_is_its_missing_vector(make):
    fusion, features = _randomised(make()), _all()
    stand_in = dict(features)
    vector = fusion.missing["audio"].detach().expand(3, 1, 5).clone()
    ones = torch.ones(3, 1, dtype=torch.bool)
    edge = torch.zeros(3, 1)
    stand_in["audio"] = mx.Features(vector, ones, mx.Spans(edge, edge + 1, "seconds"))
    absent = features | {"audio": mx.Features(vector * 0, ~ones, mx.Spans(edge, edge, "seconds"))}
    torch.testing.assert_close(fusion(stand_in).scores, fusion(absent).scores)


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


@each_fusion
@each_pool
def test_a_saved_fusion_comes_back_exactly_and_spares_the_generator(make, pool, tmp_path):
    fusion = _randomised(make(pool=pool))
    fusion.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    again = type(fusion).from_pretrained(tmp_path).eval()
    assert torch.equal(before, torch.get_rng_state())
    assert again.labels == LABELS
    assert torch.equal(again(_all()).scores, fusion(_all()).scores)


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
