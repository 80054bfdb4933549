"""`EmotionModel`: encoders and a fusion, composed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from modalxai import hub, masking, plugins, storage
from modalxai.batching import Data, batches, in_halves, one_batch
from modalxai.collate import SampleCollate
from modalxai.encoders.trainable import settle
from modalxai.errors import CheckpointError, InputError, PluginError
from modalxai.protocols import Encoder, Fusion
from modalxai.trace import no_trace
from modalxai.types import RESERVED, Batch, Features, Inputs, Labels, Prediction

if TYPE_CHECKING:
    from modalxai.fusion.late import Combine
    from modalxai.games import Background, Draws, ModelGame
    from modalxai.training.transfer import Loaded

FORMAT = 1


class EmotionModel(nn.Module, hub.HubMixin):
    """``fuse(encode(batch))``: one encoder per modality, one fusion.

    Parameters
    ----------
    encoders
        By modality; the order is the model's order.
    fusion
        Made with the encoders' names and widths.
    modality_dropout
        Probability, in [0, 1), with which each modality of each sample is left out while training.
        It makes "absent" something the model has seen; 0 turns it off.

    Raises
    ------
    InputError
        No encoder, a name that cannot be a modality, or a fusion for other names or widths.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder[Any]],
        fusion: Fusion,
        modality_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name in encoders:
            if (
                not re.fullmatch(r"[A-Za-z]\w*", name)
                or name in RESERVED
                or hasattr(nn.ModuleDict, name)
            ):
                raise InputError(
                    f"{name!r} cannot be the name of a modality",
                    expected=f"letters, digits and _, and none of {RESERVED}",
                    got=repr(name),
                    mend="rename it, for example 'audio' or 'text'",
                )
        widths = {name: encoder.dim for name, encoder in encoders.items()}
        if not encoders or dict(fusion.dims) != widths:
            raise InputError(
                "a fusion that does not fit the encoders",
                expected=f"dims={widths}",
                got=f"dims={dict(fusion.dims)}",
                mend="make the fusion with dims={name: encoder.dim for each encoder}",
            )
        number = isinstance(modality_dropout, int | float)
        if not number or not 0 <= modality_dropout < 1:
            raise InputError(
                "modality_dropout out of range",
                expected="a probability in [0, 1)",
                got=repr(modality_dropout),
                mend="0.1 is a good start",
            )
        self.encoders = nn.ModuleDict({k: cast(nn.Module, v) for k, v in encoders.items()})
        self.fusion = fusion
        self.modality_dropout = modality_dropout

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``, except that parts whose weights are all frozen stay in eval."""
        super().train(mode)
        if mode:
            settle(self)
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.encoders)

    @property
    def labels(self) -> Labels:
        """What the columns of the scores mean."""
        return tuple(self.fusion.labels)

    @property
    def device(self) -> torch.device:
        """Where the first weight lies."""
        weight = next(self.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    @property
    def collate(self) -> SampleCollate:
        """Samples to a batch: picklable, without weights, for ``DataLoader(collate_fn=...)``."""
        return SampleCollate(
            {name: self.encoder(name).collate for name in self.modalities}, self.labels
        )

    def encoder(self, modality: str) -> Encoder[Any]:
        """The encoder of one modality, typed as what it is."""
        return cast("Encoder[Any]", self.encoders[modality])

    def encode_one(self, modality: str, inputs: Inputs) -> Features:
        """One modality's features, values [B, T, D].

        Raises
        ------
        InputError
            The encoder returned features whose shapes do not fit each other.
        """
        features = self.encoder(modality)(inputs)
        values, mask, width = features.values, features.mask, self.fusion.dims[modality]
        if values.dim() != 3 or values.shape[-1] != width or mask.shape != values.shape[:2]:
            raise InputError(
                f"the encoder of {modality!r} returned misshapen features",
                expected=f"values [B, T, {width}] and a mask [B, T]",
                got=f"values {list(values.shape)}, mask {list(mask.shape)}",
                mend="mend the encoder",
            )
        if mask.dtype != torch.bool:
            raise InputError(
                f"the encoder of {modality!r} returned a mask that is none",
                expected="bool, True where a vector is real",
                got=str(mask.dtype),
                mend="mend the encoder",
            )
        return features

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Features]:
        """Every modality's features.

        Raises
        ------
        InputError
            A modality whose input is not in the batch.
        """
        if absent := [name for name in self.modalities if name not in batch]:
            raise InputError(
                f"a batch without {absent}",
                expected=f"inputs for all of {list(self.modalities)}; a missing value is masked",
                got=f"keys {list(batch)}",
                mend="make batches with model.collate",
            )
        return {name: self.encode_one(name, batch[name]) for name in self.modalities}

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """Scores [B, K]; while training, each modality of each sample may be left out."""
        if self.training and self.modality_dropout:
            features = {name: self._drop(one) for name, one in features.items()}
        return self.fusion(features)

    def _drop(self, features: Features) -> Features:
        shape = (features.mask.shape[0], 1)
        kept = torch.rand(shape, device=features.mask.device) >= self.modality_dropout
        mask = features.mask & kept
        return replace(features, values=masking.blank(features.values, mask), mask=mask)

    def forward(self, batch: Mapping[str, Any]) -> Prediction:
        """Scores [B, K] of a batch from `collate`."""
        return self.fuse(self.encode(batch))

    def predict(self, samples: Data, batch_size: int = 16) -> Prediction:
        """Scores of one sample or many, in eval mode, without gradients, leaving no trace.

        Parameters
        ----------
        samples
            A sample, samples (a list or a Dataset), a batch, or a loader of batches.
        batch_size
            Samples encoded at once; it does not change the result.

        Raises
        ------
        InputError
            No sample, or one that cannot be used; it is named.
        """
        with no_trace(self):
            made = batches(self.collate, samples, batch_size)
            scores = [part for batch in made for part in in_halves(batch, self._scores)]
        if not scores:
            raise InputError(
                "nothing to predict",
                expected="one sample or more",
                got="none",
                mend="check the data",
            )
        return Prediction(torch.cat(scores), self.labels)

    def _scores(self, batch: Batch) -> Tensor:
        scores: Tensor = self(batch.to(self.device)).scores
        return scores

    def game(
        self,
        data: Data,
        *,
        removal: str | Mapping[str, str] | None = None,
        level: str = "input",
        background: Data | Background | None = None,
        draws: Draws = 1,
        seed: int = 0,
        max_bytes: int | None = None,
    ) -> ModelGame:
        """What would this model score if only some modalities, words or moments were left?

        See `modalxai.games.ModelGame`. Samples rather than a batch are needed where players lie
        inside the raw values.
        """
        from modalxai.games import ModelGame

        batch, samples = one_batch(self.collate, data)
        raws = None
        if samples is not None:
            raws = {name: [sample.get(name) for sample in samples] for name in self.modalities}
        return ModelGame.make(
            self,
            batch,
            removal=removal,
            level=level,
            background=background,
            raws=raws,
            draws=draws,
            seed=seed,
            max_bytes=max_bytes,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and one subfolder per part, weights as safetensors.

        Raises
        ------
        PluginError
            A part whose class no plugin offers, so that nobody could rebuild it.
        """
        folder = Path(folder)
        storage.require_folder(folder)
        parts: dict[str, Any] = {f"encoders/{name}": self.encoder(name) for name in self.modalities}
        parts["fusion"] = self.fusion
        # A wrapper (a feature cache) is no part of the model, and saves what it wraps.
        found = {
            place: plugins.origin(getattr(part, "wrapped", part)) for place, part in parts.items()
        }
        for place, part in parts.items():
            part.save_pretrained(folder / place)
        record = {
            "format": FORMAT,
            "modalities": list(self.modalities),
            "modality_dropout": self.modality_dropout,
            "parts": {
                place: {"plugin": plugin.name, "package": plugin.package, "version": plugin.version}
                for place, plugin in found.items()
            },
            "versions": storage.versions(),
        }
        storage.write_json(folder / "config.json", record)

    def load_encoder(self, modality: str, folder: str | Path) -> Loaded:
        """Transfer: one encoder's weights from another model, a regressor for example.

        Parameters
        ----------
        modality
            Whose encoder it is, here and in the saved model.
        folder
            What `save_pretrained` of a model or of an encoder wrote.

        Returns
        -------
        Loaded
            What was loaded, from where.

        Raises
        ------
        InputError
            No modality of this model.
        CheckpointError
            Nothing there, or another architecture; each difference is named, and nothing loaded.
        """
        from modalxai.training.transfer import load_encoder

        if modality not in self.encoders:
            raise InputError(
                f"an encoder for the unknown modality {modality!r}",
                expected=f"one of {list(self.modalities)}",
                got=repr(modality),
                mend="use the model's names",
            )
        return load_encoder(modality, self.encoders[modality], folder)

    @classmethod
    def combine(
        cls,
        folders: Mapping[str, str | Path],
        combine: Combine | Mapping[str, float] = "mean",
        modality_dropout: float | None = None,
    ) -> Self:
        """Late fusion of models that were trained alone.

        Parameters
        ----------
        folders
            By modality a saved model with that modality alone and the fusion "late".
        combine
            How their log-probabilities are combined, see `modalxai.fusion.LateFusion`.
        modality_dropout
            See the class; the least of the models' own for ``None``, since "absent" is only what
            each of them has seen.

        Raises
        ------
        CheckpointError
            A folder that is no model of that modality alone, labels that do not agree, or a model
            with another fusion than "late".
        """
        from modalxai.training.transfer import late_fusion

        models = {name: cls.from_pretrained(folder) for name, folder in folders.items()}
        fusion = late_fusion({name: model.fusion for name, model in models.items()}, combine)
        if modality_dropout is None:
            modality_dropout = min(model.modality_dropout for model in models.values())
        encoders = {name: model.encoder(name) for name, model in models.items()}
        return cls(encoders, fusion, modality_dropout)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, revision: str | None = None) -> Self:
        """Rebuild a model that `save_pretrained` wrote; each part by the plugin that made it.

        Parameters
        ----------
        folder
            A folder, or ``"owner/name"`` on the Hugging Face Hub where there is no such folder;
            see `modalxai.hub.fetch`. A ``Path`` is always a folder.
        revision
            Of a model on the hub: a commit, tag or branch.

        Raises
        ------
        CheckpointError
            A file is missing or broken, or the hub has no such model or cannot be reached.
        PluginError
            A plugin that is not installed, named with its package and version.
        """
        if hub.is_name(folder) and not Path(folder).exists():
            folder = hub.fetch(str(folder), revision=revision)
        folder = Path(folder)
        record = storage.read_json(folder / "config.json")
        try:
            version, names = record["format"], [str(name) for name in record["modalities"]]
            dropout, parts = float(record["modality_dropout"]), record["parts"]
            asked = {name: _Maker(**parts[f"encoders/{name}"]) for name in names}
            fusion = _Maker(**parts["fusion"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder / 'config.json'} is no model's config",
                expected="what EmotionModel.save_pretrained wrote",
                got=f"no usable {error}",
                mend="give the folder of a whole model, not of one of its parts",
            ) from error
        if version != FORMAT or not all(re.fullmatch(r"[A-Za-z]\w*", name) for name in names):
            raise CheckpointError(
                f"{folder / 'config.json'} is not of this format",
                expected=f"format {FORMAT}, plain names of modalities",
                got=f"format {version}, modalities {names}",
                mend="load it with the version of modalxai that wrote it",
            )
        # Every plugin is found before the first one is imported.
        makers = {name: _maker("encoders", part) for name, part in asked.items()}
        fuser = _maker("fusion", fusion)
        encoders = {
            name: plugins.create("encoders", maker, checkpoint=folder / "encoders" / name)
            for name, maker in makers.items()
        }
        return cls(encoders, plugins.create("fusion", fuser, checkpoint=folder / "fusion"), dropout)


class _Maker(NamedTuple):
    """Who made a part."""

    plugin: str
    package: str
    version: str


def _maker(group: str, part: _Maker) -> str:
    name, package, version = part
    if name in plugins.available(group) and plugins.inspect(group, name).package == package:
        return name
    found = (
        f"{name!r} from {plugins.inspect(group, name).package}"
        if name in plugins.available(group)
        else f"installed {group}: {plugins.available(group)}"
    )
    raise PluginError(
        f"the model was made with plugin {name!r} of package {package} {version}",
        expected=f"{package} installed, offering {name!r} among {group}",
        got=found,
        mend=f"pip install {package}=={version}"
        if version
        else f"register its class first: mx.plugins.register({group!r}, {name!r}, ...)",
    )
