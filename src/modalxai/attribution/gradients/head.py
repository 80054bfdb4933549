"""What lies behind the encoders: their outputs in, the explained scores out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai import masking
from modalxai.attribution.gradients.pullback import Reduce, pull_back
from modalxai.attribution.scales import on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.protocols import FactoredGame, Game
from modalxai.types import Attribution, Features, Provenance, select


class Head:
    """The fusion of a game as a function of the encoders' outputs.

    Parameters
    ----------
    game
        A game with encoders and a fusion.
    labels
        The L explained labels; every label for ``None``.
    scale, against
        What is differentiated, see `modalxai.attribution.scales.on_scale`.

    Attributes
    ----------
    features
        By modality what its encoder gave, [B, T, D], without gradients.

    Raises
    ------
    InputError
        A black box, or an unknown label.
    """

    def __init__(self, game: Game, labels: Sequence[str] | None, scale: str, against: str) -> None:
        if not isinstance(game, FactoredGame):
            raise InputError(
                "gradients need the encoders' outputs",
                expected="a game with encode and fuse, such as model.game(batch)",
                got=type(game).__name__,
                mend="use modality-shapley or modality-ablation on a black box",
            )
        self.game = game
        self.scale = scale
        self._against = against
        self._chosen = select(game.labels, labels)
        self._rivals: Tensor | None = None
        self.features = {name: recordable(game.encode(name)) for name in game.modalities}

    def scores(self, features: Mapping[str, Features]) -> Tensor:
        """The chosen labels on the scale, [N, L]; gradients flow if the caller records them.

        The first call is made with nothing changed: it decides each label's rival. Later ones may
        hold the B rows several times over.

        Raises
        ------
        InputError
            Scores that are not finite.
        """
        raw = self.game.fuse(features).scores
        if self._rivals is None:
            self._rivals = rivals_of(raw.detach(), self.game.labels, self._against)
        return self.on_scale(torch.unflatten(raw, 0, (-1, len(self._rivals)))).flatten(0, 1)

    def on_scale(self, raw: Tensor) -> Tensor:
        """Raw scores [..., B, K] to the chosen labels on the scale, [..., B, L]."""
        return on_scale(raw, self.game.labels, self.scale, self._rivals)[..., self._chosen]

    def units(
        self, values: Mapping[str, Tensor], reduce: Reduce
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores at these encodings, and what ``reduce`` makes of their gradients.

        Parameters
        ----------
        values
            By modality [N, T, D], the B rows once or several times over.
        reduce
            See `modalxai.attribution.gradients.pullback.pull_back`.

        Returns
        -------
        tuple
            Scores [N, L], and by modality [B, L, ...].
        """
        return recorded(self._scores_at, values, reduce, self._balanced)

    @property
    def _balanced(self) -> bool:
        """Whether the chosen labels' scores sum to a constant."""
        alike = all(label.kind == "categorical" for label in self.game.labels)
        every = sorted(self._chosen) == list(range(len(self.game.labels)))
        return alike and every and self.scale in ("clr", "probability")

    def _scores_at(self, values: Mapping[str, Tensor]) -> Tensor:
        return self.scores(
            {name: placed(self.features[name], value) for name, value in values.items()}
        )

    def differences(self) -> dict[str, Tensor]:
        """How far each vector lies from the game's reference, h - h0 [B, T, D], 0 on padding."""
        return {
            name: masking.blank(features.values - self.game.reference(name), features.mask)
            for name, features in self.features.items()
        }

    def attribution(
        self,
        name: str,
        params: Mapping[str, object],
        units: Mapping[str, Tensor],
        prediction: Tensor,
        reference: Tensor | None = None,
        where: Mapping[str, Features] | None = None,
        drawn: bool = False,
    ) -> Attribution:
        """The result, its totals the sums of its units.

        Parameters
        ----------
        name, params
            The method and its settings, scale and rival included.
        units
            By modality [B, L, T]; a modality that is not there is not in the result.
        prediction, reference
            [B, L]; NaN for ``None``.
        where
            By modality what the units lie on: the encoders' outputs for ``None``.
        drawn
            Whether the units are random, with errors that nobody knows.
        """
        game, places = self.game, where or self.features
        kept = {key: value for key, value in params.items() if key != "scale"}
        if self.scale != "contrast":
            kept.pop("against")
        chosen = [key for key in game.modalities if key in units]
        clean = {key: units[key].masked_fill(~places[key].mask[:, None], 0) for key in chosen}
        totals = torch.stack([clean[key].sum(-1) for key in chosen], dim=-1)
        return Attribution(
            sample_ids=game.sample_ids,
            labels=tuple(game.labels[column] for column in self._chosen),
            modalities=tuple(chosen),
            present=game.present[:, [game.modalities.index(key) for key in chosen]],
            totals=totals,
            units=clean,
            pairs={},
            se=torch.full_like(totals, float("nan") if drawn else 0),
            mask={key: places[key].mask for key in chosen},
            spans={key: places[key].spans for key in chosen},
            prediction=prediction,
            reference=torch.full_like(prediction, float("nan")) if reference is None else reference,
            provenance=Provenance(
                attributor=name,
                params=kept,
                scale=self.scale,
                level=game.level,
                **game.settings,
            ),
        )


def recorded(
    function: Callable[[Mapping[str, Tensor]], Tensor],
    values: Mapping[str, Tensor],
    reduce: Reduce,
    balanced: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores [N, L] of a function at ``values``, and by name its reduced gradients [B, L, ...].

    ``balanced`` is that of `modalxai.attribution.gradients.pullback.pull_back`.
    """
    # Inside the caller's inference_mode nothing would be recorded, and every gradient be 0.
    with torch.inference_mode(False):
        leaves = {name: _copied(value).requires_grad_() for name, value in values.items()}
        with torch.enable_grad():
            # Views, because torch's module tracker (its FLOP counter) refuses leaves.
            scores = function({name: leaf.view_as(leaf) for name, leaf in leaves.items()})
        with torch.no_grad():
            return scores.detach(), pull_back(scores, leaves, reduce, balanced)


def placed(features: Features, values: Tensor) -> Features:
    """Other values [N, T, D] where the B rows of ``features`` lie, once or several times over."""
    copies = len(values) // max(1, len(features.mask))
    if copies == 1:
        return replace(features, values=values)
    places = (features.mask, features.spans)
    mask, spans = pytree.tree_map(lambda one: one.repeat(copies, 1), places)
    return Features(values, mask, spans)


def recordable(features: Features) -> Features:
    """The same without gradients, fit for recording some."""
    with torch.inference_mode(False):
        copied: Features = pytree.tree_map(_copied, features)
        return copied


def _copied(tensor: Tensor) -> Tensor:
    """A tensor made in inference_mode cannot be saved for a backward pass; its copy can."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()
