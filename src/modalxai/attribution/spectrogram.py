"""Which moments and frequencies decide: Grad-CAM on an encoder's time-frequency maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from modalxai import masking
from modalxai.attribution.gradients.head import Head, recordable, recorded
from modalxai.attribution.gradients.integrated import check_nodes, unit_nodes
from modalxai.attribution.scales import Scale
from modalxai.errors import InputError
from modalxai.pieces import in_pieces
from modalxai.protocols import Game, Selectable, Stage, StagedGame
from modalxai.types import Attribution

ROWS = 8
"""Recordings whose maps are held at once."""

Scores = Callable[[Mapping[str, Tensor]], Tensor]
Found = tuple[dict[str, Tensor], Tensor, Tensor | None]
Form = Literal["grad-cam", "integrated"]
FORMS = ("grad-cam", "integrated")


@dataclass(frozen=True)
class SpectrogramGradCAM:
    """Grad-CAM (Selvaraju et al. 2017) on the time-frequency maps A of an encoder.

    ``alpha_k`` is the mean gradient over the real cells of map k, and the unit of a cell (f, t) is
    ``relu(sum_k alpha_k A_kft)``. The maps are made once and gradients run from the score back
    to them: through the fusion and the rest of the encoder, never through what makes the maps.
    Encoders without a frequency axis (wav2vec2 and all others that read raw waves) have no such
    maps.

    Parameters
    ----------
    scale, against
        The score that is differentiated, see `modalxai.attribution.scales.on_scale`.
    form
        ``"grad-cam"``, the published one: where the evidence is. Its sums mean nothing, since they
        depend on where the maps have their zero, which for ``mel-cnn`` is silence.
        ``"integrated"``: integrated gradients from blank cells to the maps,
        ``sum_k (A_kft - blank_k) * sum_q w_q g_kft(blank + x_q (A - blank))``, signed. They sum to
        what the score changes when all cells are blanked, and no constant moves them; what sets
        them apart from silence is often spread wider than the evidence for one label.
    nodes
        Gauss-Legendre nodes of the integral.

    Raises
    ------
    InputError
        An unknown form, or nodes that are no whole number from 1.
    """

    scale: Scale = "clr"
    against: str = "rival"
    form: Form = "grad-cam"
    nodes: int = 16

    def __post_init__(self) -> None:
        check_nodes(self.nodes)
        if self.form not in FORMS:
            raise InputError(
                "unknown form of a spectrogram map",
                expected=f"one of {list(FORMS)}",
                got=repr(self.form),
                mend='"grad-cam" as published, "integrated" for sums that mean something',
            )

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T] over the cells of the modalities that have maps; no others are in it.

        Spans have seconds and hertz. Of the published form there is no reference, and residuals
        are NaN; of the integrated one they are the error of the quadrature.

        Raises
        ------
        InputError
            A game that cuts no encoder open, or no encoder with time-frequency maps.
        """
        count = len(game.sample_ids)

        def piece(start: int, stop: int) -> Attribution:
            if isinstance(game, Selectable) and stop - start < count:
                return self._attribute(game.select(range(start, stop)), labels)
            return self._attribute(game, labels)

        size = ROWS if isinstance(game, Selectable) else count
        return Attribution.merge(in_pieces(count, size, piece))

    def _attribute(self, game: Game, labels: Sequence[str] | None) -> Attribution:
        stages = _stages(game)
        head = Head(game, labels, self.scale, self.against)

        def scores(values: Mapping[str, Tensor]) -> Tensor:
            encoded = {
                name: stage.rest(replace(stage.maps, values=values[name]))
                for name, stage in stages.items()
            }
            return head.scores(head.features | encoded)

        run = self._published if self.form == "grad-cam" else self._integrated
        found, prediction, reference = run(scores, stages)
        params = asdict(self)
        if self.form == "grad-cam":
            params.pop("nodes")
        where = {name: stage.maps for name, stage in stages.items()}
        return head.attribution(
            "spectrogram-grad-cam", params, found, prediction, reference, where=where
        )

    def _published(self, scores: Scores, stages: Mapping[str, Stage]) -> Found:
        def units(name: str, gradient: Tensor) -> Tensor:
            maps = stages[name].maps
            counts = maps.mask.sum(-1).clamp(min=1)[:, None]
            alpha = gradient.masked_fill(~maps.mask[..., None], 0).sum(-2) / counts
            return (alpha[..., None, :] * maps.values.to(alpha.dtype)).sum(-1).relu()

        values = {name: stage.maps.values for name, stage in stages.items()}
        prediction, found = recorded(scores, values, units)
        return found, prediction, None

    def _integrated(self, scores: Scores, stages: Mapping[str, Stage]) -> Found:
        maps = {name: stage.maps for name, stage in stages.items()}
        away = {
            name: masking.blank(maps[name].values - stage.blank, maps[name].mask)
            for name, stage in stages.items()
        }

        def at(share: float) -> dict[str, Tensor]:
            return {name: maps[name].values - (1 - share) * away[name] for name in maps}

        def units(name: str, gradient: Tensor) -> Tensor:
            return (gradient * away[name].to(gradient.dtype)).sum(-1)

        with torch.no_grad():
            prediction, reference = scores(at(1)), scores(at(0))
        total = {name: torch.zeros(()).to(prediction) for name in maps}
        for point, weight in zip(*unit_nodes(self.nodes), strict=True):
            _, found = recorded(scores, at(point), units)
            total = {name: total[name] + weight * found[name] for name in maps}
        return total, prediction, reference


def _stages(game: Game) -> dict[str, Stage]:
    if not isinstance(game, StagedGame):
        raise InputError(
            "a spectrogram map needs the inside of an encoder",
            expected="a game that cuts encoders open, such as model.game(batch)",
            got=type(game).__name__,
            mend="explain a model with the encoder mel-cnn",
        )
    found = {name: game.stage(name) for name in game.modalities}
    stages = {
        name: stage._replace(maps=recordable(stage.maps))
        for name, stage in found.items()
        if stage is not None
    }
    if not stages:
        raise InputError(
            "no encoder has time-frequency maps",
            expected="an encoder such as mel-cnn",
            got=f"encoders of {list(game.modalities)} without a frequency axis",
            mend="use grad-cam or feature-difference, whose units are moments",
        )
    return stages
