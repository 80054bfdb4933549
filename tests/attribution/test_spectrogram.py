"""Spectrogram Grad-CAM: the formula, the place in seconds and hertz, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import (
    MIXED,
    VectorEncoder,
    randomize,
    speech_model,
    speech_samples,
    vector_model,
    vector_samples,
)

from modalxai import masking
from modalxai.attribution import GradCAM, SpectrogramGradCAM, SpectrogramImage
from modalxai.attribution.gradients import pullback
from modalxai.encoders import ByteTextEncoder, MelCnnEncoder
from modalxai.errors import InputError
from modalxai.fusion import LateFusion, ShallowFusion
from modalxai.model import EmotionModel
from modalxai.protocols import Mapped, Staged, StagedGame
from modalxai.testing import or_
from modalxai.types import Attribution, Audio, Features, Spans, labels

RATE = 16_000
SMALL: dict[str, Any] = {"dim": 8, "mels": 12, "channels": 6, "layers": 2, "heads": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "time": {"strides": (2, 2)},
    "time, no deltas": {"strides": (1, 3), "deltas": False, "attention_layers": 0},
    "one layer": {"layers": 1, "strides": (3,), "kernel": 3},
    "mel": {"axis": "mel", "strides": (1, 2)},
    "mel, no deltas": {"axis": "mel", "strides": (2, 2), "deltas": False},
}
EVERY = pytest.mark.parametrize("variant", VARIANTS)
FORMS = pytest.mark.parametrize("form", ["grad-cam", "integrated"])


def encoder(variant: str = "time", **settings: Any) -> MelCnnEncoder:
    made = MelCnnEncoder(**SMALL | VARIANTS[variant] | settings).eval()
    with torch.no_grad():
        for convolution in made.convolutions:
            convolution.norm.bias.normal_()
    return made


def tones(*hertz: float, seconds: float = 0.6, gain: float = 0.2) -> Audio:
    time = torch.arange(int(seconds * RATE)) / RATE
    return Audio(gain * sum(torch.sin(2 * math.pi * one * time) for one in hertz), RATE)


def clips() -> list[Audio | None]:
    draw = torch.Generator().manual_seed(2)
    lengths = (6007, 9600, 4000)
    noise = [Audio(torch.randn(n, generator=draw) * 0.1, RATE) for n in lengths]
    return [noise[0], None, noise[1], tones(1000, 3000), noise[2]]


# The maps of the encoder.


@EVERY
def test_the_rest_of_the_encoder_follows_from_its_maps(variant: str) -> None:
    made = encoder(variant)
    assert isinstance(made, Mapped)
    inputs = made.collate(clips())
    with torch.no_grad():
        maps, whole = made.maps(inputs), made(inputs)
        again = made.from_maps(maps, inputs)
    torch.testing.assert_close(again.values, whole.values, rtol=1e-4, atol=1e-5)
    assert torch.equal(again.mask, whole.mask)
    assert torch.equal(again.spans.start, whole.spans.start)
    assert (maps.values[~maps.mask] == 0).all()
    assert torch.equal(maps.mask, maps.spans.mask)
    assert not maps.mask[1].any()


@EVERY
def test_silence_is_zero_and_a_quiet_band_too(variant: str) -> None:
    made = encoder(variant)
    inputs = made.collate([Audio(torch.zeros(5000), RATE), tones(500)])
    with torch.no_grad():
        maps = made.maps(inputs)
    size = maps.values.abs().amax(-1)
    assert size[0].max() < 1e-4
    loudest = int(size[1].argmax())
    assert maps.spans.low[1, loudest] < 700
    assert maps.spans.high[1, loudest] > 350


@pytest.mark.parametrize("variant", ["time", "time, no deltas", "one layer"])
def test_the_maps_of_a_band_are_what_the_convolution_gives_it_alone(variant: str) -> None:
    """Slow: the convolution of a spectrogram in which all other bands are silent."""
    made = encoder(variant)
    inputs = made.collate(clips())
    bands = SMALL["mels"]
    with torch.no_grad():
        values, counts = made.spectrogram(inputs)
        real = masking.from_lengths(counts, values.shape[1])
        silent = torch.zeros_like(values)
        silent[..., :bands] = -2
        silent = masking.blank(silent, real)
        convolution = made.convolutions[0].convolution
        maps = made.maps(inputs)
        found = maps.values.unflatten(1, (-1, bands))
        for band in (0, 5, bands - 1):
            alone = silent.clone()
            alone[..., band::bands] = values[..., band::bands]
            with_it, without = (
                convolution(one.transpose(1, 2)).transpose(1, 2) for one in (alone, silent)
            )
            kept = maps.mask[:, ::bands]
            torch.testing.assert_close(
                found[:, :, band][kept], (with_it - without)[kept], rtol=1e-4, atol=1e-5
            )


@EVERY
def test_cells_tile_time_and_frequency(variant: str) -> None:
    made = encoder(variant)
    with torch.no_grad():
        maps = made.maps(made.collate(clips()))
    for row, clip in enumerate(clips()):
        if clip is None:
            continue
        real = maps.mask[row]
        low, high = maps.spans.low[row][real], maps.spans.high[row][real]
        count = int((maps.spans.start[row][real] == maps.spans.start[row, 0]).sum())
        assert (high > low).all()
        torch.testing.assert_close(high[: count - 1], low[1:count])
        assert low.min() >= 50 - 1e-3
        assert high.max() <= 8000 + 1e-2
        assert maps.spans.end[row][real].max() <= len(clip.waveform) / RATE + 1e-6


@EVERY
@pytest.mark.parametrize("hertz", [300.0, 1200.0, 3700.0])
def test_a_tone_burst_is_loudest_in_the_cell_of_its_time_and_hertz(
    variant: str, hertz: float
) -> None:
    made = encoder(variant, mels=40, fmax=8000.0)
    wave = torch.zeros(RATE)
    time = torch.arange(800) / RATE
    wave[8000:8800] = torch.sin(2 * math.pi * hertz * time) * torch.hann_window(800)
    inputs = made.collate([Audio(wave, RATE)])
    with torch.no_grad():
        spans = made.maps(inputs).spans
        values, _ = made.spectrogram(inputs)
    # A tone is loudest in the spectrogram's own band and frame; the cells must say where that is.
    frame, band = divmod(int(values[0, :, :40].argmax()), 40)
    step = int((spans.start[0] == spans.start[0, 0]).sum())
    centre = (frame * 160 + 256) / RATE
    inside = (spans.start[0] <= centre) & (centre < spans.end[0])
    inside &= (spans.low[0] <= hertz) & (hertz < spans.high[0])
    assert int(inside.sum()) == 1
    at = int(inside.nonzero())
    assert abs(at % step * (40 / step) - band) <= 40 / step
    assert abs((spans.start[0, at] + spans.end[0, at]).item() / 2 - 0.525) < 0.03


# The formula.


def speech(variant: str = "time", fusion: type = ShallowFusion) -> EmotionModel:
    audio, text = encoder(variant), ByteTextEncoder(dim=8, layers=1, heads=2)
    dims = {"audio": 8, "text": 8}
    model = EmotionModel({"audio": audio, "text": text}, fusion(dims, MIXED), 0.1)
    randomize(model.fusion)
    return model.eval()


def raws() -> list[dict]:
    texts = ["so far", "no", "well, well", None, "what a day"]
    return [
        {"id": f"u{row}", "audio": clip, "text": text}
        for row, (clip, text) in enumerate(zip(clips(), texts, strict=True))
    ]


@pytest.mark.parametrize("variant", ["time", "time, no deltas", "one layer"])
def test_units_are_the_slow_formula(variant: str) -> None:
    """Gradients by a hook on the ordinary forward pass, one sample and label at a time."""
    model = speech(variant)
    found = SpectrogramGradCAM(scale="raw").attribute(model.game(raws()))
    made, bands = model.encoders["audio"], SMALL["mels"]
    kept: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = made.convolutions[0].convolution.register_forward_hook(hook)
    for row, sample in enumerate(raws()):
        batch = model.collate([sample])
        with torch.no_grad():
            maps = made.maps(batch["audio"])
        kept.clear()
        for column in range(len(MIXED)):
            kept.clear()
            model(batch).scores[0, column].backward()
            cells = [at for at in range(maps.values.shape[1]) if maps.mask[0, at]]
            frames = len(cells) // bands
            gradient = kept[0].grad[0] if kept else None  # [K, T]
            for at in cells[:: max(1, len(cells) // 7)]:
                # A band's map adds to the channel: its gradient is the channel's, at every band.
                alpha = gradient[:, :frames].sum(1) * bands / len(cells)
                expected = max(0.0, (alpha * maps.values[0, at]).sum().item())
                got = found.units["audio"][row, column, at].item()
                assert got == pytest.approx(expected, rel=1e-3, abs=1e-6)
    handle.remove()


def test_nothing_but_the_maps_is_in_the_result() -> None:
    model = speech()
    found = SpectrogramGradCAM().attribute(model.game(raws()))
    assert found.modalities == ("audio",)
    assert set(found.units) == {"audio"}
    assert found.present[:, 0].tolist() == [True, False, True, True, True]
    assert found.reference.isnan().all()
    assert (found.units["audio"] >= 0).all()
    torch.testing.assert_close(found.prediction, GradCAM().attribute(model.game(raws())).prediction)
    assert found.provenance.attributor == "spectrogram-grad-cam"
    assert found.provenance.params == {"form": "grad-cam"}
    blank = ~found.mask["audio"][:, None].expand(found.units["audio"].shape)
    assert (found.units["audio"][blank] == 0).all()
    assert (found.units["audio"][1] == 0).all()


@EVERY
def test_the_integrated_form_sums_to_what_silence_changes(variant: str) -> None:
    model = speech(variant, LateFusion)
    game = model.game(raws())
    found = SpectrogramGradCAM(form="integrated", nodes=32).attribute(game)
    assert found.provenance.params == {"form": "integrated", "nodes": 32}
    gap = (found.prediction - found.reference).abs()
    assert gap.max() > 0.01
    assert found.residual().abs().max() < 0.02 * gap.max()
    rougher = SpectrogramGradCAM(form="integrated", nodes=2).attribute(game)
    assert rougher.residual().abs().mean() > found.residual().abs().mean()
    # The reference is the score of silent clips as long as these.
    silent = [
        {**sample, "audio": clip and Audio(torch.zeros_like(clip.waveform), RATE)}
        for sample, clip in zip(raws(), clips(), strict=True)
    ]
    expected = GradCAM().attribute(model.game(silent)).prediction
    torch.testing.assert_close(found.reference, expected, rtol=1e-3, atol=1e-4)


@FORMS
@EVERY
def test_a_row_of_a_batch_is_what_the_clip_gives_alone(variant: str, form: str) -> None:
    model, method = speech(variant), SpectrogramGradCAM(form=form, nodes=4)
    together = method.attribute(model.game(raws()))
    order = [3, 0, 4, 2, 1]
    turned = method.attribute(model.game([raws()[row] for row in order]))
    scale = together.units["audio"].abs().max()
    for place, row in enumerate(order):
        alone = method.attribute(model.game(raws()[row]))
        length = alone.units["audio"].shape[-1]
        for one, at in ((together, row), (turned, place)):
            real = one.units["audio"][at, :, :length]
            assert (alone.units["audio"][0] - real).abs().max() <= 2e-5 * scale
            assert (one.units["audio"][at, :, length:] == 0).all()
            torch.testing.assert_close(
                one.spans["audio"].high[at, :length], alone.spans["audio"].high[0]
            )


@FORMS
def test_pieces_of_samples_and_labels_change_nothing(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modalxai.attribution import spectrogram

    method, game = SpectrogramGradCAM(form=form, nodes=3), speech().game(raws())
    expected = method.attribute(game)
    monkeypatch.setattr(spectrogram, "ROWS", 2)
    monkeypatch.setattr(pullback, "CPU_BYTES", 1)
    found = method.attribute(game)
    assert found.sample_ids == expected.sample_ids
    torch.testing.assert_close(found.totals, expected.totals, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.units["audio"], expected.units["audio"], rtol=1e-4, atol=1e-5)


# The place.

EMOTIONS = labels("anger", "joy", "calm")
LISTENS = {"anger": (2000.0, 4000.0), "joy": (400.0, 900.0)}
AT = 1.0


def listener() -> EmotionModel:
    """Anger is energy between 2 and 4 kHz, joy between 400 and 900 Hz, and nothing else counts.

    Channels 0 and 1 sum the bands of one emotion each. Two large constants, of opposite signs,
    leave layer norms nothing but a scale to give, and a bias keeps the rest where GELU is linear.
    """
    made = MelCnnEncoder(
        dim=4, mels=40, layers=1, strides=(2,), kernel=3, attention_layers=0, deltas=False
    )
    with torch.no_grad():
        convolution, norm = made.convolutions[0].convolution, made.convolutions[0].norm
        convolution.weight.zero_(), convolution.bias.zero_()
        maps = made.maps(made.collate([tones(1000)])).spans
        centre = (maps.low[0, :40] + maps.high[0, :40]) / 2
        for channel, (low, high) in enumerate(LISTENS.values()):
            inside = (centre > low) & (centre < high)
            convolution.weight[channel, inside] = 1 / (3 * inside.sum())
        convolution.bias.copy_(torch.tensor([0.0, 0.0, 30.0, -30.0]))
        norm.bias.fill_(8.0)
        fusion = ShallowFusion({"audio": 4}, EMOTIONS, hidden=0)
        fusion.maps["audio"].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0] * 4]))
        fusion.maps["audio"].weight.mul_(50)
    return EmotionModel({"audio": made}, fusion, 0.1).eval()


def burst(low: float, high: float, at: float, gain: float, seconds: float = 2.5) -> Tensor:
    """Half a second of seven tones of one band in silence, faded in and out: a click is in all."""
    wave, time = torch.zeros(int(seconds * RATE)), torch.arange(RATE // 2) / RATE
    fade = (time.minimum(time.flip(0)) / 0.03).clamp(max=1)
    fade = torch.sin(fade * math.pi / 2).square()
    for hertz in torch.linspace(low * 1.1, high * 0.9, 7).tolist():
        tone = fade * torch.sin(2 * math.pi * hertz * time)
        wave[int(at * RATE) : int(at * RATE) + len(time)] += tone
    return gain / 7 * wave


def scene() -> Audio:
    """The half second that decides, and a louder one elsewhere that nobody listens to."""
    draw = torch.Generator().manual_seed(0)
    noise = 1e-4 * torch.randn(int(2.5 * RATE), generator=draw)
    return Audio(noise + burst(2000, 4000, AT, 0.1) + burst(5000, 7500, 1.9, 0.5), RATE)


def within(
    found: Attribution, row: int, seconds: tuple[float, float], hertz: tuple[float, float]
) -> Tensor:
    """Cells whose centre lies in a rectangle, bool [T]."""
    spans = found.spans["audio"]
    time, pitch = (spans.start + spans.end)[row] / 2, (spans.low + spans.high)[row] / 2
    inside = (time > seconds[0]) & (time < seconds[1]) & (pitch > hertz[0]) & (pitch < hertz[1])
    return inside & found.mask["audio"][row]


def area_under_curve(hits: Tensor, rest: Tensor) -> float:
    """How often a cell of the first beats one of the second; a tie is half a win."""
    return float(((hits[:, None] > rest).float() + (hits[:, None] == rest).float() / 2).mean())


@pytest.fixture(scope="module")
def heard() -> Attribution:
    game = listener().game({"id": "u", "audio": scene()})
    found = SpectrogramGradCAM().attribute(game)
    assert found.prediction[0, 0] > found.prediction[0, 1]
    return found


def test_the_peak_lies_where_it_was_decided(heard: Attribution) -> None:
    spans, units = heard.spans["audio"], heard.units["audio"][0, 0]
    at = int(units.argmax())
    cell = (spans.end - spans.start)[0, at]
    assert AT - cell <= spans.start[0, at]
    assert spans.end[0, at] <= AT + 0.5 + cell
    assert spans.high[0, at] > 2000
    assert spans.low[0, at] < 4000
    inside = within(heard, 0, (AT, AT + 0.5), LISTENS["anger"])
    assert area_under_curve(units[inside], units[~inside & heard.mask["audio"][0]]) > 0.97
    # The louder burst is what the maps alone would show.
    loud = (spans.start[0] > 1.9) & (spans.low[0] > 4000)
    assert units[loud].sum() < 0.01 * units.sum()


def test_the_edges_are_right_to_within_a_cell(heard: Attribution) -> None:
    spans, units = heard.spans["audio"], heard.units["audio"][0, 0]
    strong = units > units.max() / 2
    width = (spans.end - spans.start)[0].max().item()
    assert spans.start[0][strong].min().item() == pytest.approx(AT, abs=width + 0.016)
    assert spans.end[0][strong].max().item() == pytest.approx(AT + 0.5, abs=width + 0.016)
    band = (spans.high - spans.low)[0][strong].max().item()
    assert spans.low[0][strong].min().item() == pytest.approx(2200, abs=2 * band)
    assert spans.high[0][strong].max().item() == pytest.approx(3600, abs=2 * band)


def test_the_other_label_hears_nothing_there(heard: Attribution) -> None:
    assert heard.totals[0, 1, 0] < 0.05 * heard.totals[0, 0, 0]


def test_a_shift_of_the_clip_shifts_the_map() -> None:
    """By a whole number of cells: science 3, property 19, away from the edges."""
    model, step, bands = listener(), 320, 40
    wave = scene().waveform
    units = []
    for shift in (0, 10):
        padded = torch.cat([torch.zeros(shift * step), wave, torch.zeros((20 - shift) * step)])
        game = model.game({"id": "u", "audio": Audio(padded, RATE)})
        units.append(SpectrogramGradCAM().attribute(game).units["audio"][0, 0])
    first, second = units[0], units[1][10 * bands :]
    inner = slice(5 * bands, 100 * bands)
    assert (first[inner] - second[inner]).abs().max() < 1e-3 * first.max()


@pytest.mark.slow
def test_a_model_that_has_learnt_is_read_right() -> None:
    """Half a second of one band decides, in noise, beside a louder one that says nothing."""
    draw = torch.Generator().manual_seed(1)

    def made(index: int) -> dict:
        emotion = ("anger", "joy")[index % 2]
        at = 1.5 * float(torch.rand(1, generator=draw))
        other = (at + 0.7 + 0.2 * float(torch.rand(1, generator=draw))) % 1.5
        noise = 0.01 * torch.randn(2 * RATE, generator=draw)
        wave = noise + burst(*LISTENS[emotion], at, 0.15, 2) + burst(5000, 7000, other, 0.4, 2)
        return {"id": str(index), "audio": Audio(wave, RATE), "emotion": emotion, "at": at}

    audio = MelCnnEncoder(
        dim=16, mels=32, channels=16, layers=2, strides=(2, 2), attention_layers=0, dropout=0.0
    )
    model = EmotionModel({"audio": audio}, ShallowFusion({"audio": 16}, EMOTIONS, hidden=0), 0.1)
    samples, names = [made(index) for index in range(96)], [label.name for label in EMOTIONS]
    batch = model.collate([{"id": s["id"], "audio": s["audio"]} for s in samples])
    targets = torch.tensor([names.index(sample["emotion"]) for sample in samples])
    values, counts = audio.spectrogram(batch["audio"])
    steps = torch.optim.Adam(model.parameters(), 1e-2)
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(250):
            rows = torch.randperm(96)[:16]
            patch.setattr(audio, "spectrogram", lambda _, at=rows: (values[at], counts[at]))
            inputs = {key: value[rows] for key, value in batch["audio"].items()}
            loss = nn.functional.cross_entropy(model({"audio": inputs}).scores, targets[rows])
            steps.zero_grad(), loss.backward(), steps.step()
    fresh = [made(index) for index in range(96, 116)]
    game = model.game([{"id": s["id"], "audio": s["audio"]} for s in fresh])
    found = SpectrogramGradCAM().attribute(game)
    assert all(
        names[int(row.argmax())] == sample["emotion"]
        for row, sample in zip(found.prediction, fresh, strict=True)
    )
    hits, areas, mass, part = [], [], [], []
    for row, sample in enumerate(fresh):
        units = found.units["audio"][row, names.index(sample["emotion"])]
        inside = within(found, row, (sample["at"], sample["at"] + 0.5), LISTENS[sample["emotion"]])
        rest = ~inside & found.mask["audio"][row]
        hits.append(bool(inside[units.argmax()]))
        areas.append(area_under_curve(units[inside], units[rest]))
        mass.append(float(units[inside].sum() / units.sum()))
        part.append(float(inside.sum() / (inside | rest).sum()))
    peak, area, share, fair = (sum(one) / len(one) for one in (hits, areas, mass, part))
    print(f"\npeak inside {peak:.2f}, AUC {area:.3f}, {share:.2f} of the map in {fair:.2f} of it")
    assert peak >= 0.9
    assert area > 0.9
    assert share > 3 * fair


# The picture.


def test_a_picture_of_cells_is_the_units(heard: Attribution) -> None:
    image = SpectrogramImage.of(heard, "anger")
    spans = heard.spans["audio"]
    assert image.values.shape == (40, int(heard.mask["audio"].sum()) // 40)
    assert image.hertz.shape == (41,)
    torch.testing.assert_close(image.values.T.flatten(), heard.units["audio"][0, 0])
    torch.testing.assert_close(image.hertz[1:].float(), spans.high[0, :40])
    torch.testing.assert_close(image.seconds[:-1].float(), spans.start[0, ::40])


def test_area_keeps_sums_and_display_keeps_heights(heard: Attribution) -> None:
    cells = SpectrogramImage.of(heard, "anger")
    area = SpectrogramImage.of(heard, "anger", resampling="area", size=(32, 50))
    torch.testing.assert_close(area.values.sum(), cells.values.sum())
    display = SpectrogramImage.of(heard, "anger", resampling="display", size=(256, 500))
    assert display.values.max() <= cells.values.max() + 1e-6
    assert display.values.max() > 0.9 * cells.values.max()
    for image in (area, display):
        row, column = divmod(int(image.values.argmax()), image.values.shape[1])
        assert 2000 < image.hertz[row] < 4000
        assert AT - 0.05 < image.seconds[column] < AT + 0.5
        assert image.values.shape == (len(image.hertz) - 1, len(image.seconds) - 1)
        torch.testing.assert_close(
            image.hertz.diff(), image.hertz.diff()[:1].expand(len(image.hertz) - 1)
        )


def image_of(values: Tensor, hertz: list[float], seconds: list[float]) -> SpectrogramImage:
    return SpectrogramImage(values, torch.tensor(hertz).double(), torch.tensor(seconds).double())


def test_area_shares_a_cell_out_over_the_pixels_it_covers() -> None:
    image = image_of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), [0, 100, 400], [0, 1, 2])
    found = image.resampled((4, 1), area=True)
    # Rows of 100 Hz: the lower cell fills one of them, the higher one three.
    torch.testing.assert_close(found.values[:, 0], torch.tensor([3.0, 7 / 3, 7 / 3, 7 / 3]))
    assert found.hertz.tolist() == [0, 100, 200, 300, 400]


def test_display_interpolates_between_centres_without_a_shift() -> None:
    ramp = image_of(torch.arange(8.0)[None], [0, 1], list(range(9)))
    same = ramp.resampled((1, 8), area=False)
    torch.testing.assert_close(same.values, ramp.values)
    twice = ramp.resampled((1, 16), area=False)
    # Pixel centres at .25, .75, ...; cell centres at .5, 1.5, ...; beyond the last, its value.
    expected = torch.cat([torch.zeros(1), torch.arange(0.25, 7, 0.5), torch.tensor([7.0])])
    torch.testing.assert_close(twice.values[0], expected)
    torch.testing.assert_close(
        twice.values,
        torch.nn.functional.interpolate(
            ramp.values[None], scale_factor=2, mode="linear", align_corners=False
        )[0],
    )


def test_pictures_of_what_is_not_there_are_refused(heard: Attribution) -> None:
    for given, message in (
        ({"label": "fear"}, "unknown label"),
        ({"label": "joy", "sample": "nobody"}, "unknown sample"),
        ({"label": "joy", "sample": 4}, "unknown sample"),
        ({"label": "joy", "modality": "text"}, "unknown modality"),
        ({"label": "joy", "resampling": "cubic"}, "unknown resampling"),
    ):
        with pytest.raises(InputError, match=message):
            SpectrogramImage.of(heard, **given)
    other = GradCAM().attribute(listener().game({"id": "u", "audio": scene()}))
    with pytest.raises(InputError, match="unknown modality with hertz"):
        SpectrogramImage.of(other, "joy")
    missing = SpectrogramGradCAM().attribute(speech().game(raws()))
    with pytest.raises(InputError, match="no grid"):
        SpectrogramImage.of(missing, "anger", sample="u1")


def test_a_saved_map_is_the_same_map(heard: Attribution, tmp_path: Path) -> None:
    heard.save(tmp_path)
    again = SpectrogramImage.of(Attribution.load(tmp_path), "anger")
    assert torch.equal(again.values, SpectrogramImage.of(heard, "anger").values)


# What it takes.


def test_no_gradient_enters_what_makes_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = speech()
    made, first, seen = model.encoders["audio"], [], []
    made.convolutions[0].convolution.weight.register_hook(lambda _: first.append(1))
    real = made.spectrogram

    def counted(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        seen.append(torch.is_grad_enabled())
        return real(inputs)

    monkeypatch.setattr(made, "spectrogram", counted)
    game = model.game(raws())
    GradCAM().attribute(game)
    assert seen == [False]  # the prediction's
    SpectrogramGradCAM().attribute(game)
    assert seen == [False, False]  # the maps'; no more for a label, and none recorded
    SpectrogramGradCAM(form="integrated", nodes=4).attribute(game)
    assert seen == [False] * 3
    assert not first
    assert all(p.grad is None for p in model.parameters())
    assert not game.stage("audio").maps.values.requires_grad


@FORMS
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_modes_do_not_matter(mode: type, form: str) -> None:
    model, method = speech().train(), SpectrogramGradCAM(form=form, nodes=3)
    expected = method.attribute(model.game(raws()))
    with mode():
        found = method.attribute(model.game(raws()))
    assert torch.equal(found.units["audio"], expected.units["audio"])
    assert not found.units["audio"].requires_grad
    assert model.training
    assert model.encoders["audio"].training


class Tiled(nn.Module):
    """A staged encoder of somebody's own: its stem's units are cells of time and frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = VectorEncoder(4, 3)
        self.dim, self.collate = 5, self.inner.collate
        self.last = nn.Linear(3, 5)
        self.blank = nn.Parameter(torch.randn(3))

    def stem(self, inputs: dict[str, Tensor]) -> Features:
        found = self.inner(inputs)
        low = torch.arange(found.mask.shape[1]).float().expand(found.mask.shape) % 2 * 100
        spans = Spans(found.spans.start, found.spans.end, "seconds", low, low + 100)
        return replace(found, spans=spans)

    def tail(self, stem: Features) -> Features:
        values = masking.blank(self.last(stem.values).tanh(), stem.mask)
        return Features(values, stem.mask, self.plain(stem.spans))

    @staticmethod
    def plain(spans: Spans) -> Spans:
        return Spans(spans.start, spans.end, "seconds")

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        return self.tail(self.stem(inputs))


def test_any_staged_encoder_with_hertz_will_do() -> None:
    model = EmotionModel(
        {"a": Tiled(), "b": VectorEncoder(4, 4)}, ShallowFusion({"a": 5, "b": 4}, MIXED), 0.1
    ).eval()
    assert isinstance(model.encoders["a"], Staged)
    game = model.game(vector_samples(4))
    assert isinstance(game, StagedGame)
    stage = game.stage("a")
    assert game.stage("b") is None
    found = SpectrogramGradCAM(scale="raw").attribute(game)
    assert found.modalities == ("a",)
    leaf = stage.maps.values.clone().requires_grad_()
    others = {"b": game.encode("b")}
    scores = game.fuse(others | {"a": stage.rest(replace(stage.maps, values=leaf))}).scores
    (gradient,) = torch.autograd.grad(scores[:, 2].sum(), leaf)
    mask = stage.maps.mask
    alpha = masking.mean(gradient, mask)
    expected = (alpha[:, None] * leaf).sum(-1).relu() * mask
    torch.testing.assert_close(found.units["a"][:, 2], expected.detach())
    integrated = SpectrogramGradCAM(form="integrated", nodes=24).attribute(game)
    assert integrated.residual().abs().max() < 1e-3
    blank = replace(stage.maps, values=torch.where(mask[..., None], model.encoders["a"].blank, 0))
    empty = game.fuse(others | {"a": stage.rest(blank)}).scores
    raw = SpectrogramGradCAM(scale="raw", form="integrated").attribute(game)
    torch.testing.assert_close(raw.reference, empty.detach())


def test_what_has_no_frequency_axis_is_refused() -> None:
    with pytest.raises(InputError, match="no encoder has time-frequency maps"):
        SpectrogramGradCAM().attribute(vector_model(2).eval().game(vector_samples(2)))
    with pytest.raises(InputError, match="inside of an encoder"):
        SpectrogramGradCAM().attribute(or_())
    with pytest.raises(InputError, match="unknown form"):
        SpectrogramGradCAM(form="hires")
    with pytest.raises(InputError, match="nodes"):
        SpectrogramGradCAM(nodes=0)


def test_a_cached_encoder_is_cut_open_too(tmp_path: Path) -> None:
    from modalxai.training import CachedEncoder

    torch.manual_seed(0)
    model = speech_model()
    expected = SpectrogramGradCAM().attribute(model.eval().game(speech_samples(2)))
    audio = model.encoders["audio"].requires_grad_(False)
    cached = EmotionModel(
        {"audio": CachedEncoder(audio, tmp_path), "text": model.encoders["text"]},
        model.fusion,
        0.1,
    ).eval()
    found = SpectrogramGradCAM().attribute(cached.game(speech_samples(2)))
    torch.testing.assert_close(found.totals, expected.totals)
