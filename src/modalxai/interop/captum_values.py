"""Captum: its perturbation methods on our players, and its results as ours."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modalxai.errors import InputError
from modalxai.interop.flat import FlatGame
from modalxai.interop.home import bring_home
from modalxai.types import Attribution


def from_captum(values: Tensor, flat: FlatGame, attributor: str, *, exact: bool) -> Attribution:
    """What a method of Captum found about a `FlatGame`.

    A `FlatGame` is a forward function of masks::

        flat = mx.interop.FlatGame(game)
        values = captum.attr.ShapleyValues(flat).attribute(
            flat.on, baselines=flat.off, additional_forward_args=flat.rows
        )
        mx.interop.from_captum(values, flat, "shapley-values", exact=True)

    ``ShapleyValues``, ``ShapleyValueSampling`` and ``FeatureAblation`` score all labels at once;
    ``KernelShap`` and ``Lime`` need a flat game of one label. Methods that follow gradients find
    none.

    Parameters
    ----------
    values
        [B, U], [B, L, U] or, as ``FeatureAblation`` has it, [B * L, U].
    flat
        What was asked.
    attributor
        Name of the method, for the provenance: ``"captum/"`` and it.
    exact
        Whether the method is; the standard errors of others are NaN.

    Raises
    ------
    InputError
        Values of another shape.
    """
    shape = (len(flat.sample_ids), len(flat.labels), len(flat.columns))
    known: tuple[tuple[Any, ...], ...] = (shape, (shape[0] * shape[1], shape[2]))
    if tuple(values.shape) not in known:
        raise InputError(
            "values that Captum did not find with this FlatGame",
            expected=f"{list(shape)} or {list(known[1])}",
            got=str(list(values.shape)),
            mend="attribute flat.on, with baselines=flat.off",
        )
    found = values.detach().reshape(shape).movedim(1, -1)
    return bring_home(flat, found, f"captum/{attributor}", exact=exact)
