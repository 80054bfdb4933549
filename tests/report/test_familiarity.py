"""Do removed encodings lie where real ones do?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import vector_model

from modalxai.errors import InputError
from modalxai.report.familiarity import familiarity


def samples(count: int, shift: float = 0.0, seed: int = 0) -> list[dict]:
    draw = torch.Generator().manual_seed(seed)
    return [
        {"id": f"{seed}/{i}", **{m: torch.randn(3, 4, generator=draw) + shift for m in "ab"}}
        for i in range(count)
    ]


def test_donors_are_usual_and_zeros_may_be_far_out() -> None:
    torch.manual_seed(0)
    model = vector_model(2)
    donors = model.game(samples(80), removal="marginal", background=samples(80, seed=1))
    for one in familiarity(donors):
        assert 35 < one.percentile < 65
        assert one.far < 0.15
    # Vectors around 2 with zeros in their place: nothing real looks like that.
    zeros = model.game(samples(80, shift=2.0), removal={"a": "zero", "b": "marginal"},
                       background=samples(80, shift=2.0, seed=1))  # fmt: skip
    silent, lent = familiarity(zeros)
    assert silent.percentile > 99
    assert silent.far == 1
    assert lent.percentile < 65
    assert "far out in 80 of 80 samples" in silent.sentence()


def test_it_is_the_definition_and_no_sample_counts_for_itself() -> None:
    torch.manual_seed(0)
    model, made = vector_model(2), samples(14)
    made[3]["a"] = None
    found = familiarity(model.game(made, removal="zero"), neighbours=2)[0]
    rows, gone = [], []
    for sample in made:
        if sample["a"] is not None:
            for kept, into in ((1, rows), (0, gone)):
                inputs = model.collate([{**sample, "a": sample["a"] * kept}])["a"]
                features = model.eval().encoders["a"](inputs)
                into.append(features.values[0].mean(0).detach().double().numpy())

    def second(point: np.ndarray, at: int) -> float:
        others = [float(np.linalg.norm(point - r)) for i, r in enumerate(rows) if i != at]
        return sorted(others)[1]

    own = [second(row, at) for at, row in enumerate(rows)]
    far = [second(row, at) for at, row in enumerate(gone)]
    expected = np.mean([np.mean(np.array(own) < one) for one in far])
    assert found.n == 13
    assert found.percentile == pytest.approx(100 * expected, abs=1e-6)
    turned = familiarity(model.game(made[::-1], removal="zero"), neighbours=2)[0]
    assert turned.percentile == pytest.approx(found.percentile, abs=1e-9)


def test_what_cannot_be_compared_says_why() -> None:
    model = vector_model(2)
    found = familiarity(model.game(samples(12), removal="absent"))
    assert all(np.isnan(one.percentile) and one.reason for one in found)
    assert "no vector is left" in found[0].sentence()
    with pytest.raises(InputError, match="too few samples"):
        familiarity(model.game(samples(9), removal="zero"))
    with pytest.raises(InputError, match="neighbours"):
        familiarity(model.game(samples(12), removal="zero"), neighbours=0)
