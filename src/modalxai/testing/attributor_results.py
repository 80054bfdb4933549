"""What the result of an attributor promises: its labels, its zeros, and how it came about."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from itertools import product

import torch

from modalxai.errors import ModalxaiError
from modalxai.testing.attributor_case import AttributorCase
from modalxai.testing.compare import equal, require_close
from modalxai.testing.conformance import PromiseError, promise, require
from modalxai.types import Attribution, Provenance

UNKNOWN = "a label that no model has"


@promise("return Attribution(sample_ids=game.sample_ids, present=game.present, ...)")
def it_returns_an_attribution(case: AttributorCase) -> None:
    """Of the game's samples and labels, over modalities of the game, in its order."""
    game, found = case.game(), case.ask(case.game())
    require(isinstance(found, Attribution), f"it returned {type(found).__name__}")
    same = tuple(found.sample_ids) == tuple(game.sample_ids)
    require(same, f"samples {found.sample_ids}, not {game.sample_ids}")
    require(tuple(found.labels) == tuple(game.labels), f"labels {found.labels}")
    order = [name for name in game.modalities if name in found.modalities]
    fits = order == list(found.modalities) and bool(order)
    require(fits, f"modalities {found.modalities} of {game.modalities}")
    at = [game.modalities.index(name) for name in found.modalities]
    require(equal(found.present.cpu(), game.present[:, at].cpu()), "present is not the game's")
    for name in (*found.units, *found.unit_se, *(one for pair in found.pairs for one in pair)):
        require(name in game.modalities, f"units of {name!r}, which is no modality")


@promise("divide by nothing that may be 0; a reference alone may be NaN, and errors not known")
def numbers_are_finite(case: AttributorCase) -> None:
    """Totals, units, pairs and the prediction; standard errors are not below 0."""
    found = case.result
    parts = {
        "totals": found.totals,
        "the prediction": found.prediction,
        **{f"units of {name!r}": one for name, one in found.units.items()},
        **{f"pairs {pair}": one for pair, one in found.pairs.items()},
    }
    for what, one in parts.items():
        require(bool(one.isfinite().all()), f"{what}: NaN or infinite")
    for name, one in {"se": found.se, **found.unit_se}.items():
        require(not bool((one < 0).any()), f"a standard error of {name!r} is below 0")


@promise("use modalxai.types.select(game.labels, labels)")
def labels_are_those_asked_for(case: AttributorCase) -> None:
    """Some labels, in any order, give what all of them give in those columns."""
    every = [label.name for label in case.game().labels]
    names = [every[-1], every[0]]
    found = case.ask(case.game(), names)
    require([one.name for one in found.labels] == names, f"labels {found.labels}, not {names}")
    columns = [every.index(name) for name in names]
    require_close(found.totals, case.result.totals[:, columns], "totals", case.tolerance)
    require_close(found.prediction, case.result.prediction[:, columns], "prediction", 1e-4)
    for name, units in found.units.items():
        own = case.result.units[name][:, columns]
        require_close(units, own, f"units of {name!r}", case.tolerance)


@promise("raise InputError, as modalxai.types.select does")
def unknown_labels_are_refused(case: AttributorCase) -> None:
    """With an error that says what the model has."""
    try:
        case.ask(case.game(), [UNKNOWN])
    except ModalxaiError:
        return
    except Exception as error:
        raise PromiseError(f"raises a bare {type(error).__name__}") from error
    raise PromiseError("an unknown label is taken")


@promise("multiply by game.present: a modality that a sample lacks is no player")
def what_is_missing_gets_nothing(case: AttributorCase) -> None:
    """Exactly 0, in totals and units, where a sample lacks the modality."""
    found = case.result
    for place, name in enumerate(found.modalities):
        gone = ~found.present[:, place]
        parts = [found.totals[gone][..., place]]
        parts += [found.units[name][gone]] if name in found.units else []
        worst = max((float(one.abs().max()) for one in parts if one.numel()), default=0.0)
        require(worst == 0, f"{worst:.2g} for {name!r} where a sample has none")


@promise("masked_fill units with 0 where the mask is False; the mask is bool")
def padding_gets_nothing(case: AttributorCase) -> None:
    """Exactly 0 where there is no unit."""
    for name, units in case.result.units.items():
        mask = case.result.mask[name]
        require(mask.dtype == torch.bool, f"a mask of {mask.dtype} for {name!r}")
        left = int((units.ne(0) & ~mask[:, None]).sum())
        require(left == 0, f"{left} numbers at the padding of {name!r}")
        lost = int((mask & ~case.result.spans[name].mask).sum())
        require(lost == 0, f"{lost} units of {name!r} without an extent")


@promise("prediction is game.value of everything, averaged over draws, on the scale you declare")
def the_prediction_is_the_score_of_everything(case: AttributorCase) -> None:
    """On the scale that the provenance names."""
    everything = dict.fromkeys(case.game().modalities, True)
    score = case.score(everything, case.result)
    require_close(case.result.prediction.to(score), score, "prediction", 1e-4)


@promise("reference is game.value of nothing, on your scale; NaN where the method has none")
def the_reference_is_a_score_of_the_game(case: AttributorCase) -> None:
    """Of nothing or of some modalities, the same ones in every sample; else it would be made up."""
    found = case.result.reference
    if bool(found.isnan().all()):
        return
    require(not bool(found.isnan().any()), "NaN in some rows and not in others")
    names = case.game().modalities
    for there in product((False, True), repeat=len(names)):
        score = case.score(dict(zip(names, there, strict=True)), case.result)
        gap = float((found.to(score) - score).abs().max())
        if gap <= 1e-4 * max(1.0, float(score.abs().max())):
            return
    nothing = case.score(dict.fromkeys(names, False), case.result)
    require_close(found.to(nothing), nothing, "beside the score of nothing", 1e-4)


@promise("make Provenance(attributor, params, scale, level=game.level, **game.settings)")
def it_says_how_it_came_about(case: AttributorCase) -> None:
    """Name, settings as json values, scale, and what the game says of itself."""
    game, found = case.game(), case.result.provenance
    named = all(isinstance(one, str) and one for one in (found.attributor, found.scale))
    require(named, f"attributor {found.attributor!r}, scale {found.scale!r}")
    try:
        again = json.loads(json.dumps(dict(found.params)))
    except (TypeError, ValueError) as error:
        raise PromiseError(f"params that are no json values: {error}") from error
    require(again == dict(found.params), "params that json changes: tuples, or numbers as keys")
    own = {"level": game.level, **game.settings}
    said = {name: getattr(found, name) for name in own}
    wrong = [name for name in own if not equal(_plain(own[name]), _plain(said[name]))]
    require(not wrong, f"not what the game says: {wrong}")


@promise("return the fields of Attribution alone, tensors as tensors")
def the_result_comes_back_from_a_folder(case: AttributorCase) -> None:
    """``Attribution.load`` of what ``save`` wrote is the same to the bit."""
    with tempfile.TemporaryDirectory() as folder:
        case.result.save(folder)
        again = Attribution.load(folder)
    for one in fields(Attribution):
        if one.name == "spans":
            continue
        mine, read = getattr(case.result, one.name), getattr(again, one.name)
        require(equal(_plain(mine), _plain(read)), f"{one.name} is not what was saved")


def _plain(value: object) -> object:
    """Mappings as dicts, sequences as lists: what equality must not depend on."""
    if isinstance(value, Provenance):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_plain(one) for one in value]
    return value


RESULTS = (
    labels_are_those_asked_for,
    unknown_labels_are_refused,
    what_is_missing_gets_nothing,
    padding_gets_nothing,
    the_prediction_is_the_score_of_everything,
    the_reference_is_a_score_of_the_game,
    it_says_how_it_came_about,
    the_result_comes_back_from_a_folder,
)
