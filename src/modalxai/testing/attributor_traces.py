"""That asking an attributor leaves no trace, and that no sample's answer depends on another's."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from modalxai.testing.attributor_case import AttributorCase
from modalxai.testing.compare import clone, equal, require_close, require_equal, tensors
from modalxai.testing.conformance import NotApplicable, PromiseError, promise, require
from modalxai.testing.parts import generators
from modalxai.types import Attribution


@promise("seed a generator of your own: torch.Generator().manual_seed(audio.seed_for(id, seed))")
def it_draws_nothing_from_global_generators(case: AttributorCase) -> None:
    """Those of torch, numpy and Python stay where they are, and decide nothing."""
    before = generators()
    found = case.ask(case.game()).totals
    require(equal(generators(), before), "a global random generator moved")
    torch.manual_seed(1)
    other = case.ask(case.game()).totals
    torch.set_rng_state(before[0])
    again = case.ask(case.game()).totals
    decided = equal(again, found) and not equal(other, found)
    require(not decided, "another global seed, other numbers")


@promise(
    "keep nothing from one call to the next; make it a frozen dataclass",
    needs=[it_draws_nothing_from_global_generators],
)
def asking_again_gives_the_same(case: AttributorCase) -> None:
    """To the bit, also after another game."""
    part = case.part
    first = part.attribute(case.game(), None)
    other = case.part_of([0]) if case.venue is None else case.kit().game(1)
    part.attribute(other, None)
    again = part.attribute(case.game(), None)
    require_equal(again.totals, first.totals, "the totals of the same game again")
    require_equal(dict(again.units), dict(first.units), "the units of the same game again")


@promise("compute on copies: what the game returns is the game's own")
def the_game_is_left_as_it_was(case: AttributorCase) -> None:
    """Its tensors, and what it says of everything."""
    game = case.game()
    before, score = _content(game), _value(game)
    case.ask(game)
    changed = [name for name, one in _content(game).items() if not equal(one, before.get(name))]
    require(not changed, f"changed in the game: {changed}")
    require_equal(_value(game), score, "the score of everything, asked again")
    left = [one for one in tensors(list(before.values())) if one.grad is not None]
    require(not left, "gradients are left in the game")


@promise("set no attribute in attribute(): @dataclass(frozen=True) refuses it")
def asking_changes_no_setting(case: AttributorCase) -> None:
    """What the attributor holds is what it held."""
    part = case.part
    before = copy.deepcopy(vars(part))
    part.attribute(case.game(), None)
    now = vars(part)
    changed = sorted(
        name for name in before.keys() | now.keys() if not _same(before.get(name), now.get(name))
    )
    require(not changed, f"changed by asking: {changed}")


@promise(
    "hold plain settings: no lambdas, no open files, no model", needs=[asking_again_gives_the_same]
)
def it_is_plain_settings(case: AttributorCase) -> None:
    """Picklable, the same afterwards, and neither a module nor a weight in it."""
    held: list[str] = []

    class Looking(pickle.Pickler):
        def persistent_id(self, value: Any) -> None:
            if isinstance(value, nn.Module | nn.Parameter):
                held.append(type(value).__name__)

    Looking(io.BytesIO()).dump(case.part)
    require(not held, f"it holds {sorted(set(held))[:4]}")
    again = pickle.loads(pickle.dumps(case.part))
    found: Attribution = again.attribute(case.game(), None)
    require_equal(found.totals, case.result.totals, "the totals of an unpickled one")


@promise("never compute over B; a sample's seed comes from its id, not from its place")
def a_sample_alone_is_its_row(case: AttributorCase) -> None:
    """A game of one sample gives what the sample gets among others."""
    for row in range(len(case.result.sample_ids)):
        alone = case.ask(case.part_of([row]))
        _require_rows(case, alone, [row], f"sample {row} alone")


@promise("never use a sample's place", needs=[a_sample_alone_is_its_row])
def the_order_of_the_samples_does_not_matter(case: AttributorCase) -> None:
    """Samples in another order give the same numbers in that order."""
    rows = list(range(len(case.result.sample_ids)))[::-1]
    _require_rows(case, case.ask(case.part_of(rows)), rows, "samples turned round")


@promise("put nothing of the samples into the provenance", needs=[a_sample_alone_is_its_row])
def parts_merge_to_the_whole(case: AttributorCase) -> None:
    """``Attribution.merge`` of two parts of the samples: a corpus is explained in parts."""
    rows = list(range(len(case.result.sample_ids)))
    if len(rows) < 2:
        raise NotApplicable("a game of one sample has no parts")
    parts = [case.ask(case.part_of(some)) for some in (rows[:1], rows[1:])]
    try:
        merged = Attribution.merge(parts)
    except Exception as error:
        raise PromiseError(f"the parts do not merge: {error}") from error
    _require_rows(case, merged, rows, "parts, merged")


@promise("go through game.modalities by name")
def the_order_of_the_modalities_does_not_matter(case: AttributorCase) -> None:
    """The same game, its modalities turned round, gives the same to each."""
    venue = case.kit()
    found, turned = case.ask(venue.game()), case.ask(venue.turned())
    order = [turned.modalities.index(name) for name in found.modalities]
    require_close(turned.totals[..., order], found.totals, "totals", case.tolerance)
    for name, units in found.units.items():
        require_close(turned.units[name], units, f"units of {name!r}", case.tolerance)


def _same(one: Any, other: Any) -> bool:
    """Equal, or alike in every byte: a setting may be an object that knows no equality."""
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        return equal(dict(one.state_dict()), dict(other.state_dict()))
    if equal(one, other):
        return True
    try:
        return pickle.dumps(one) == pickle.dumps(other)
    except Exception:  # whatever an object raises that cannot be pickled
        return False


def _require_rows(case: AttributorCase, found: Attribution, rows: list[int], what: str) -> None:
    """``found`` is about samples ``rows`` of the whole."""
    whole = case.result
    names = tuple(whole.sample_ids[row] for row in rows)
    require(tuple(found.sample_ids) == names, f"{what}: samples {found.sample_ids}, not {names}")
    pairs = [
        ("totals", found.totals, whole.totals[rows]),
        ("prediction", found.prediction, whole.prediction[rows]),
    ]
    for name, units in whole.units.items():
        require(name in found.units, f"{what}: no units of {name!r}")
        for at, row in enumerate(rows):
            here, there = found.mask[name][at], whole.mask[name][row]
            same = int(here.sum()) == int(there.sum())
            require(same, f"{what}: {int(here.sum())} units of {name!r}, not {int(there.sum())}")
            own, other = found.units[name][at][:, here], units[row][:, there]
            pairs.append((f"units of {name!r}", own, other))
    for part, own, other in pairs:
        require_close(own, other, f"{what}, {part}", case.tolerance)


def _content(game: Any) -> dict[str, Any]:
    """A copy of the tensors that a game of the kit holds; of another's, what it shows."""
    if type(game).__module__.startswith("modalxai.testing."):
        return dict(clone(dict(vars(game))))
    return {"present": game.present.clone(), "players": clone(dict(game.players))}


def _value(game: Any) -> Tensor:
    keep = {
        name: torch.ones_like(spans.start, dtype=torch.bool) for name, spans in game.players.items()
    }
    found: Tensor = game.value(keep)
    return found


TRACES = (
    it_draws_nothing_from_global_generators,
    asking_again_gives_the_same,
    asking_changes_no_setting,
    the_game_is_left_as_it_was,
    it_is_plain_settings,
)
INDEPENDENCE = (
    a_sample_alone_is_its_row,
    the_order_of_the_samples_does_not_matter,
    parts_merge_to_the_whole,
    the_order_of_the_modalities_does_not_matter,
)
