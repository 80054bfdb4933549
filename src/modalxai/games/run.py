"""`explain`: the table of all coalitions for a sample, samples, a batch or a loader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from modalxai import sharding
from modalxai.attribution import Explanation
from modalxai.batching import Data, batches, in_halves
from modalxai.errors import InputError
from modalxai.games.background import Background
from modalxai.games.bank import References
from modalxai.games.donors import Draws
from modalxai.games.encodings import check_bytes
from modalxai.games.factored import ModelGame
from modalxai.games.removal import needs_donors
from modalxai.model import EmotionModel
from modalxai.trace import Fingerprint, no_trace
from modalxai.types import Batch


def explain(
    model: nn.Module,
    data: Data,
    *,
    removal: str | Mapping[str, str] | None = None,
    level: str = "input",
    background: Data | Background | None = None,
    draws: Draws = 1,
    batch_size: int = 16,
    seed: int = 0,
    max_bytes: int | None = None,
    progress: bool = False,
) -> Explanation:
    """Score every coalition of modalities, each modality encoded once per sample.

    Parameters
    ----------
    model
        An `EmotionModel`, also inside DistributedDataParallel or ``torch.compile``.
    data
        A sample, samples (a list or a Dataset), a batch, or a loader of batches.
    removal
        What "off" means: one name for all modalities or one for each. "absent" (as the model has
        seen in training) where unnamed, if it was trained with modality dropout. Also "mean" (of
        the background), and what the encoders offer: "mask", "empty", "silence", "noise", ...
        Removed inputs that an encoder cannot tell apart are encoded once for the whole corpus.
        "marginal" lends each sample the features of ``draws`` others, all modalities from one;
        "marginal-independent" each modality from another.
    level
        ``"input"`` or ``"features"``; for whole modalities it decides which removals there are.
    background
        Other samples of the corpus, for "mean" and the marginal removals.
    draws
        How often a random removal is drawn, and how many donors a sample has; ``"all"`` takes
        every donor there is, and is exact for this background.
    batch_size
        Samples encoded at once, where ``data`` is not batched yet; it does not change the result.
    seed
        Of everything drawn.
    max_bytes
        About how much memory encoded rows take, see `modalxai.games.ModelGame`. It does not change
        the result; nor does a device that is too small, where halves of a batch are explained.
    progress
        Show a progress bar.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError
        No samples, a sample twice, or a model that is no EmotionModel.
    RemovalError
        A removal that is not offered, or none named for a model trained without modality dropout.
    """
    explainer = BatchExplainer(
        model,
        removal=removal,
        level=level,
        background=background,
        draws=draws,
        batch_size=batch_size,
        seed=seed,
        max_bytes=max_bytes,
    )
    source = batches(explainer.model.collate, data, batch_size)
    if progress:
        from tqdm import tqdm

        source = tqdm(source, desc="explain", unit="batch")
    with no_trace(explainer.model):  # a loader draws from torch's generator, too
        parts = [explainer(batch) for batch in source]
    if not parts:
        raise InputError(
            "nothing to explain", expected="one sample or more", got="none", mend="check the data"
        )
    return merged(parts)


class BatchExplainer:
    """One model and one set of settings, asked batch after batch; what batches share is kept.

    Parameters are those of `explain`. It belongs to one state of the weights.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        removal: str | Mapping[str, str] | None = None,
        level: str = "input",
        background: Data | Background | None = None,
        draws: Draws = 1,
        batch_size: int = 16,
        seed: int = 0,
        max_bytes: int | None = None,
    ) -> None:
        check_bytes(max_bytes)
        self.model = unwrap(model)
        self._known = None
        if background is not None:
            donors = needs_donors(removal)
            self._known = Background.of(self.model, background, batch_size, donors)
        self._removal, self._level, self._draws, self._seed = removal, level, draws, seed
        self._max_bytes = max_bytes
        self._fingerprint = Fingerprint(self.model)
        self.forget()

    @property
    def background_digest(self) -> str | None:
        """Of the samples that means and donors come from; ``None`` without them."""
        return None if self._known is None else self._known.digest

    def forget(self) -> None:
        """Encode what is wholly removed anew from here on, as if no batch had come before."""
        self._references = References()

    def __call__(self, batch: Batch) -> Explanation:
        """The table of one batch; to be called within `no_trace`.

        Of its halves, where CUDA has too little memory for all of it.
        """
        parts = in_halves(batch, self._explain)
        return parts[0] if len(parts) == 1 else merged(parts)

    def _explain(self, batch: Batch) -> Explanation:
        game = ModelGame.make(
            self.model,
            batch,
            removal=self._removal,
            level=self._level,
            background=self._known,
            draws=self._draws,
            seed=self._seed,
            references=self._references,
            fingerprint=self._fingerprint,
            max_bytes=self._max_bytes,
        )
        targets = batch.to(self.model.device).targets if "targets" in batch else None
        return Explanation.of(game, targets, batch.columns)


def merged(parts: list[Explanation]) -> Explanation:
    """One table of the batches of one run.

    All donors beside noise are a sample, also where a batch has nothing to put noise into.
    """
    if not all(part.enumerated for part in parts):
        parts = [_sampled(part) if part.enumerated else part for part in parts]
    return Explanation.merge(parts)


def _sampled(part: Explanation) -> Explanation:
    params = {**part.provenance.params, "draws": part.draws.shape[0]}
    return replace(part, provenance=replace(part.provenance, params=params))


def unwrap(model: Any) -> EmotionModel:
    """The EmotionModel inside DistributedDataParallel, ``torch.compile`` or an Objective.

    What FSDP2 holds gathered for a module around it is shared out again: from within the model
    nobody could.
    """
    if isinstance(model, nn.Module):
        sharding.reshard(sharding.modules_of(model))
    inner = model
    while not isinstance(inner, EmotionModel):
        if type(inner).__name__ == "FullyShardedDataParallel":
            raise InputError(
                "explain cannot gather what FullyShardedDataParallel has sharded",
                expected="a model sharded by torch.distributed.fsdp.fully_shard",
                got="the older FullyShardedDataParallel",
                mend="explain wrapped.module within its summon_full_params(wrapped)",
            )
        # torch.compile, DistributedDataParallel and DataParallel, training.Objective
        names = ("_orig_mod", "module", "model")
        deeper = next((getattr(inner, name) for name in names if hasattr(inner, name)), None)
        if deeper is None:
            raise InputError(
                "explain needs an EmotionModel",
                expected="an EmotionModel, or a wrapper of one",
                got=type(model).__name__,
                mend="compose it: mx.EmotionModel(encoders, fusion=...)",
            )
        inner = deeper
    return inner
