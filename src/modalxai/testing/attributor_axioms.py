"""What the numbers of an attributor mean: invariances of all, axioms of those that claim them."""

from __future__ import annotations

import torch

from modalxai.testing.attributor_case import AttributorCase
from modalxai.testing.compare import require_close
from modalxai.testing.conformance import NotApplicable, promise, require


@promise(
    "use on_scale(scores, labels, 'clr') before any difference; raw logits are not identifiable"
)
def a_shift_of_all_logits_changes_nothing(case: AttributorCase) -> None:
    """What changes no probability changes no attribution, on every scale but the raw one."""
    scale = case.result.provenance.scale
    if scale == "raw":
        raise NotApplicable("on the raw scale by its own choice")
    venue = case.kit()
    found, shifted = case.ask(venue.game()), case.ask(venue.shifted())
    require_close(shifted.totals, found.totals, f"totals on {scale!r}", case.tolerance)
    for name, units in found.units.items():
        require_close(shifted.units[name], units, f"units of {name!r}", case.tolerance)


@promise("cast scores to float32 before differences: on_scale does")
def half_precision_is_widened(case: AttributorCase) -> None:
    """Scores in bfloat16 give what the same numbers give in float64."""
    half, whole = case.kit().half()
    found, expected = case.ask(half), case.ask(whole)
    wide = found.totals.dtype in (torch.float32, torch.float64)
    require(wide, f"totals of {found.totals.dtype}")
    require_close(found.totals, expected.totals, "totals of bfloat16 scores", case.tolerance)


@promise("claim it only where totals sum to prediction - reference, and units to totals")
def efficiency_holds_as_claimed(case: AttributorCase) -> None:
    """Nothing of the prediction is left over, and nothing of a total; 1e-5 of the largest."""
    _require_claim(case, "efficiency")
    found = case.result
    size = max(1.0, float(found.prediction.abs().max()))
    rest = float(found.residual().abs().max())
    require(
        rest <= case.tolerance * size,
        f"totals leave {rest:.2g} of predictions up to {size:.2g}; NaN is no reference",
    )
    gap = found.unit_gap()
    gap = gap[~gap.isnan()]
    most = float(gap.abs().max()) if gap.numel() else 0.0
    require(most <= case.tolerance * size, f"units leave {most:.2g} of their totals")


@promise("claim it only where a modality that changes no score gets 0")
def null_player_holds_as_claimed(case: AttributorCase) -> None:
    """What changes nothing gets nothing."""
    _require_claim(case, "null player")
    game, name = case.kit().dummy()
    found = case.ask(game)
    if name not in found.modalities:
        raise NotApplicable(f"its result has no {name!r}")
    got = float(found.totals[..., found.modalities.index(name)].abs().max())
    size = float(found.totals.abs().max())
    require(got <= case.tolerance * max(size, 1e-6), f"{got:.2g} for {name!r}, which does nothing")


@promise("claim it only where modalities that may be exchanged get the same")
def symmetry_holds_as_claimed(case: AttributorCase) -> None:
    """Two modalities that do the same get the same."""
    _require_claim(case, "symmetry")
    game, twins = case.kit().twins()
    found = case.ask(game)
    if not set(twins) <= set(found.modalities):
        raise NotApplicable(f"its result has not both of {twins}")
    one, other = (found.totals[..., found.modalities.index(name)] for name in twins)
    require_close(one, other, f"{twins[0]!r} beside its twin", case.tolerance)


@promise("claim it only where the sum of two games gets the sum of what they get")
def linearity_holds_as_claimed(case: AttributorCase) -> None:
    """On labels that every scale leaves as they are."""
    _require_claim(case, "linearity")
    first, second, together = (case.ask(game).totals for game in case.kit().sums())
    require_close(together, first + second, "the totals of a sum of games", case.tolerance)


def _require_claim(case: AttributorCase, axiom: str) -> None:
    if axiom not in case.axioms:
        raise NotApplicable(f"it does not claim {axiom}: axioms = {sorted(case.axioms)}")


MEANING = (a_shift_of_all_logits_changes_nothing, half_precision_is_widened)
CLAIMS = (
    efficiency_holds_as_claimed,
    null_player_holds_as_claimed,
    symmetry_holds_as_claimed,
    linearity_holds_as_claimed,
)
