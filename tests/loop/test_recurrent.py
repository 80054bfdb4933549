"""Recurrent layers: gradients in eval mode, where cuDNN keeps nothing for a backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.support.tiny import SMALL_MEL
from tests.support.toys import MIXED, VectorEncoder, randomize, speech_samples, vector_samples
from torch import Tensor, nn

import modalxai as mx
from modalxai import masking
from modalxai.attribution import (
    FeatureDifference,
    GradCAM,
    IntegratedGradients,
    SpectrogramGradCAM,
)
from modalxai.model import EmotionModel
from modalxai.types import Features, Prediction


class CudnnLike(nn.GRU):
    """Says on a CPU what cuDNN says on a GPU."""

    def forward(self, values: Tensor, *rest: Any) -> Any:
        output, state = super().forward(values, *rest)
        if torch.backends.cudnn.enabled and not self.training and output.requires_grad:
            output.register_hook(_refuse)
        return output, state


def _refuse(_: Tensor) -> None:
    raise RuntimeError("cudnn RNN backward can only be called in training mode")


class RecurrentFusion(nn.Module):
    """All vectors in a row through one recurrent layer."""

    def __init__(self, dims: dict[str, int], found: Any, kind: type[nn.RNNBase] = nn.GRU) -> None:
        super().__init__()
        self.dims, self.labels = dims, found
        self.maps = nn.ModuleDict({name: nn.Linear(dim, 6) for name, dim in dims.items()})
        self.layer = kind(6, 6, batch_first=True)
        self.head = nn.Linear(6, len(found))

    def forward(self, features: dict[str, Features]) -> Prediction:
        parts = [
            self.maps[name](features[name].values) * features[name].mask[..., None]
            for name in self.dims
        ]
        pooled = torch.stack([part.sum(1) for part in parts], dim=1)
        return Prediction(self.head(self.layer(pooled)[0][:, -1]), self.labels)


def model_with(kind: type[nn.RNNBase]) -> EmotionModel:
    torch.manual_seed(0)
    encoders = {name: VectorEncoder(4, 4) for name in "ab"}
    model = EmotionModel(encoders, RecurrentFusion(dict.fromkeys("ab", 4), MIXED, kind))
    randomize(model)
    return model


class Recurrent(nn.Module):
    """mel-cnn with a recurrent layer behind it, still open at its maps."""

    def __init__(self, layer: type[nn.GRU]) -> None:
        super().__init__()
        self.inner, self.dim = mx.encoders.MelCnnEncoder(**SMALL_MEL), 8
        self.layer = layer(8, 8, batch_first=True)
        self.collate, self.maps = self.inner.collate, self.inner.maps

    def forward(self, inputs: Any) -> Features:
        return self._after(self.inner(inputs))

    def from_maps(self, maps: Features, inputs: Any) -> Features:
        return self._after(self.inner.from_maps(maps, inputs))

    def _after(self, found: Features) -> Features:
        values = masking.blank(self.layer(found.values)[0], found.mask)
        return Features(values, found.mask, found.spans)


def heard(layer: type[nn.GRU]) -> EmotionModel:
    """A model whose spectrogram map sends its gradients through the recurrent layer."""
    torch.manual_seed(0)
    text = mx.encoders.ByteTextEncoder(dim=8, layers=1, heads=2)
    fusion = mx.plugins.create("fusion", "shallow", dims={"audio": 8, "text": 8}, labels=MIXED)
    return EmotionModel({"audio": Recurrent(layer), "text": text}, fusion)


METHODS = (GradCAM(), FeatureDifference(), IntegratedGradients())


def attributed(model: EmotionModel, device: str = "cpu") -> list[Tensor]:
    samples = vector_samples(4, missing=True)
    game = model.game(samples, background=samples)
    return [method.attribute(game).totals.to(device) for method in METHODS]


def test_gradients_pass_a_recurrent_fusion_as_they_pass_any_other() -> None:
    model = model_with(CudnnLike).train()
    found, expected = attributed(model), attributed(model_with(nn.GRU))
    assert all(map(torch.equal, found, expected))
    assert model.fusion.layer.training
    assert torch.backends.cudnn.enabled


def test_the_stand_in_would_complain() -> None:
    model = model_with(CudnnLike).eval()
    batch = model.collate(vector_samples(3))
    features = {name: model.encode(batch)[name] for name in "ab"}
    with pytest.raises(RuntimeError, match="training mode"):
        model.fuse(features).scores.sum().backward()


def test_the_spectrogram_s_gradients_pass_a_recurrent_encoder() -> None:
    maps = []
    for layer in (CudnnLike, nn.GRU):
        model = heard(layer).train()
        game = model.game(speech_samples(2))
        maps.append(SpectrogramGradCAM().attribute(game).units["audio"])
    assert torch.equal(*maps)
    assert maps[0].abs().max() > 0


def test_the_users_choice_of_cudnn_is_kept_also_after_an_error(monkeypatch: Any) -> None:
    model = model_with(nn.GRU)
    game = model.game(vector_samples(3), background=vector_samples(3))
    monkeypatch.setattr(model.fusion, "forward", _refuse)
    for chosen in (True, False):
        torch.backends.cudnn.enabled = chosen
        try:
            with pytest.raises(RuntimeError, match="training mode"):
                GradCAM().attribute(game)
            assert torch.backends.cudnn.enabled is chosen
        finally:
            torch.backends.cudnn.enabled = True


def test_nothing_is_set_where_torch_forbids_it(monkeypatch: Any) -> None:
    """As after ``torch.backends.disable_global_flags()``, which nothing takes back."""
    model, samples = model_with(nn.GRU), vector_samples(3)
    expected = model.predict(samples).scores
    settings = torch.backends.flags_frozen.__globals__
    monkeypatch.setitem(settings, "__allow_nonbracketed_mutation_flag", False)
    assert torch.backends.flags_frozen()
    assert torch.equal(model.predict(samples).scores, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_recurrent_layers_are_explained_on_a_gpu(kind: type[nn.RNNBase]) -> None:
    model = model_with(kind)
    expected = attributed(model)
    model = model.to("cuda")
    for one, two in zip(attributed(model), expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    speech = heard(nn.GRU).to("cuda")
    SpectrogramGradCAM().attribute(speech.game(speech_samples(2)))
