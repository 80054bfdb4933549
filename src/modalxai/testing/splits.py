"""What a `modalxai.protocols.Split` fusion promises."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai import masking
from modalxai.protocols import Split
from modalxai.testing.compare import mapped, require_close, require_equal, tensors
from modalxai.testing.conformance import NotApplicable, after, promise, require
from modalxai.testing.fusion_case import Batch, FusionCase, placed
from modalxai.types import Features


def _projected(case: FusionCase, batch: Batch) -> dict[str, Any]:
    if not isinstance(case.part, Split):
        raise NotApplicable("the fusion does not project and join")
    with torch.no_grad():
        return {name: case.part.project(name, batch[name]) for name in case.dims}


def _joined(case: FusionCase, projected: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return case.result(case.part.join(projected))


@promise("let forward call them: return self.join({name: self.project(name, features[name])})")
def forward_is_join_of_project(case: FusionCase) -> None:
    """To the bit."""
    found = _joined(case, _projected(case, case.inputs()))
    require_equal(found, case.scores, "join(project(features)) beside forward")


@promise("return tensors, or a pytree of them, whose first axis is B")
def projections_have_a_row_per_sample(case: FusionCase) -> None:
    """So that rows can be kept and gathered; what is of length T is 0 on padding."""
    for name in case.dims:
        for batch in (case.everything(), case.inputs()):
            one, count = _projected(case, batch)[name], len(batch[name].mask)
            require(bool(tensors(one)), f"project({name!r}) returned no tensor")
            for leaf in tensors(one):
                rows = len(leaf) if leaf.dim() else None
                require(rows == count, f"{name!r}: {rows} rows of {count}")
        if isinstance(one, Features):
            hidden = bool(one.values[~one.mask].eq(0).all())
            require(hidden, f"{name!r}: a projection that is not 0 where its mask is False")


@promise(
    "let padding of a projection mean nothing to join, and rows nothing to each other",
    needs=[projections_have_a_row_per_sample],
)
def projections_of_several_batches_join(case: FusionCase) -> None:
    """Rows gathered from projections of different padding: coalitions are made so."""
    count = len(case.present)
    parts = [_projected(case, case.features(0, padding)) for padding in (0, 3)]
    # Row by row from the first and from the second.
    index = torch.tensor([row + count * (row % 2) for row in range(count)])
    gathered = {}
    for name in case.dims:
        flat = [pytree.tree_flatten(part[name]) for part in parts]
        columns = zip(*(leaves for leaves, _ in flat), strict=True)
        both = pytree.tree_unflatten([masking.concatenate(c) for c in columns], flat[0][1])
        gathered[name] = mapped(both, lambda leaf: leaf[index])
    require_close(_joined(case, gathered), case.scores, "gathered projections", case.tolerance)


@promise("keep missing[name], [D], and put it in the place of an absent modality's vectors")
def an_absent_modality_is_its_missing_vector(case: FusionCase) -> None:
    """A row of False scores as one real vector would that equals ``missing``, however padded."""
    batch = case.inputs()
    projected = _projected(case, batch)
    rows = len(case.present)
    for name, width in case.dims.items():
        vector = case.part.missing[name].detach()
        require(list(vector.shape) == [width], f"missing[{name!r}] is {list(vector.shape)}")
        stand_in = placed(vector.expand(rows, 1, width).clone(), torch.ones(rows, 1).bool())
        expected = _joined(case, projected | _projected(case, batch | {name: stand_in}))
        for length in (1, 4):
            gone = torch.zeros(rows, length, dtype=torch.bool)
            absent = placed(torch.zeros(rows, length, width), gone)
            found = case.result(case.outputs(batch | {name: absent}))
            require_close(found, expected, f"{name!r} absent, {length} long", case.tolerance)


SPLITS = (
    forward_is_join_of_project,
    *after(
        [forward_is_join_of_project],
        [
            projections_have_a_row_per_sample,
            projections_of_several_batches_join,
            an_absent_modality_is_its_missing_vector,
        ],
    ),
)
