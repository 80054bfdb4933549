"""The speed table counts what is there: FLOPs, rows, bytes; and what it promises in counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modalxai.attribution import UnitShapley
from modalxai.benchmark.speed import corpus, counting, growth, models, rows
from modalxai.benchmark.speed.modality import Asked, Cell
from modalxai.benchmark.speed.models import REPLACED, Shape, make, samples, spoken


def on_no_device(kind: type, config: object, inputs: torch.Tensor) -> int:
    """What torch's counter counts in the model of transformers."""
    with torch.device("meta"):
        model = kind(config).eval()
    with torch.no_grad():
        return counting.flops(lambda: model(inputs))


def test_a_row_of_the_published_sizes_costs_what_the_counter_counts() -> None:
    from transformers import DistilBertModel, Wav2Vec2Model

    for length in (16_000, 23_457):
        clip = torch.zeros(1, length, device="meta")
        counted = on_no_device(Wav2Vec2Model, models.speech_config("base"), clip)
        assert rows.speech_flops(length) == counted
    tokens = torch.zeros(1, 24, dtype=torch.long, device="meta")
    counted = on_no_device(DistilBertModel, models.text_config("base"), tokens)
    assert rows.text_flops(24) == counted
    assert rows.speech_flops(80_000) == pytest.approx(69.4e9, rel=0.05)
    assert counted == pytest.approx(2.04e9, rel=0.01)


def test_a_row_costs_what_it_costs_in_our_encoders() -> None:
    model = make(Shape("small"))
    batch = model.collate(samples(1, 1.0))

    def encode() -> None:
        with torch.no_grad():
            model.encode(batch)

    tokens = int(batch["text"]["attention_mask"].sum())
    assert counting.flops(encode) == sum(rows.row_costs(1.0, tokens, "small").values())


def test_the_peak_is_of_what_is_alive_at_once() -> None:
    def run() -> None:
        first = torch.zeros(1_000_000)  # 4 MB
        second = first + 1  # 8
        del first
        third = second + 1  # 8 again
        del second, third
        torch.zeros(500_000)

    found = counting.peak_bytes(run)
    assert 8_000_000 <= found < 8_100_000
    kept = torch.zeros(1000)
    assert counting.peak_bytes(lambda: kept.add_(1)) < 10_000


def test_rows_and_calls_are_those_of_the_hooks_lifetime() -> None:
    model = make(Shape("tiny"))
    batch = model.collate(samples(3, 0.2))
    with counting.Rows(model.encoders) as found, torch.no_grad():
        model(batch), model(batch)
    with torch.no_grad():
        model(batch)
    assert found.rows == {"audio": 6, "text": 6}
    assert found.calls == {"audio": 2, "text": 2}
    assert not any(encoder._forward_pre_hooks for encoder in model.encoders.values())


def test_neighbours_in_time_are_compared() -> None:
    said: list[str] = []
    clock = iter([2.0, 1.0, 1.0, 4.0, 3.0, 1.0])

    def timer(call: object) -> float:
        said.append(call())  # type: ignore[operator]
        return next(clock)

    found = counting.paired(lambda: "a", lambda: "b", 3, timer)
    assert said == ["a", "b", "b", "a", "a", "b"]
    assert (found.low, found.middle, found.high) == (2.0, 3.0, 4.0)
    assert found.seconds == 1.0


def test_one_thread_is_put_back() -> None:
    before, seen = torch.get_num_threads(), []
    with pytest.raises(ZeroDivisionError), counting.one_thread():
        seen.append(torch.get_num_threads()), 1 / 0
    assert (seen, torch.get_num_threads()) == ([1], before)


def test_counting_leaves_the_fast_path_as_it_was() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    assert counting.flops(lambda: layer(torch.zeros(1, 3, 8))) > 0
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fusion", "table", "with_cam"), [("pooled", 1.05, 1.05), ("transformer", 1.25, 1.8)]
)
def test_explaining_costs_what_predicting_costs(
    fusion: models.FusionName, table: float, with_cam: float
) -> None:
    """wav2vec2-base + DistilBERT, all labels; the two-layer fusion transformer is 256 wide."""
    asked = Asked(Cell(Shape("base", fusion), seconds=1.0))
    predicted = counting.flops(asked.predict)
    assert 1 <= counting.flops(asked.table) / predicted <= table
    assert counting.flops(asked.table_and_cam) / predicted <= with_cam


@pytest.mark.full
def test_a_fusion_as_wide_as_its_encoders_runs_once_for_the_table_and_for_grad_cam() -> None:
    asked = Asked(Cell(Shape("base", "wide transformer")))
    predicted, table = counting.flops(asked.predict), counting.flops(asked.table)
    assert 1 <= table / predicted <= 1.25
    both = counting.flops(asked.table_and_cam)
    assert both / predicted <= 1.8
    # Encoded once and joined whole once, as a prediction is.
    assert both == table + counting.flops(asked.cam) - predicted


def test_ten_words_and_ten_segments_are_exact_in_2048_rows() -> None:
    model = make(Shape("tiny", segment=0.1))
    sample = spoken(10, 1.0)
    game = model.game([sample], removal={m: REPLACED[m] for m in model.modalities})
    with counting.Rows(model.encoders) as found:
        explained = UnitShapley(growth.UNITS).attribute(game)
    assert {name: int(mask.sum()) for name, mask in explained.mask.items()} == {
        "audio": 10,
        "text": 10,
    }
    assert all(bool((se == 0).all()) for se in explained.unit_se.values())
    assert explained.labels == models.EMOTIONS
    assert sum(found.rows.values()) <= 2048


def test_silences_of_one_frame_count_are_encoded_once_for_a_corpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1.3 x at a thousand clips: there are 300 lengths between 2 and 8 s, at 50 frames a second."""
    monkeypatch.setattr(corpus, "SHORTEST", 0.2)
    monkeypatch.setattr(corpus, "LONGEST", 0.4)  # 10 lengths
    found = corpus.measure(40)
    assert (found["audio_rows_predicting"], found["text_rows_predicting"]) == (40, 40)
    assert 45 < found["audio_rows"] <= 51
    assert 45 < found["text_rows"] <= 55  # texts of 2 to 16 words have 15 lengths
    assert found["flops_ratio"] < corpus.measure(2)["flops_ratio"] <= 2.0


@pytest.mark.full
def test_a_thousand_clips_share_their_references() -> None:
    assert corpus.measure(1000)["flops_ratio"] <= 1.3


def test_fitted_exponents() -> None:
    assert growth.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert growth.doubling([2, 3, 5], [4, 8, 32]) == pytest.approx(1)
