"""Training: a step through this library beside the same modules written out by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modalxai.benchmark.speed import counting
from modalxai.benchmark.speed.models import EMOTIONS, RATE, speech_config
from modalxai.encoders import ByteTextEncoder, MelCnnEncoder, Wav2Vec2Encoder
from modalxai.fusion import ShallowFusion
from modalxai.model import EmotionModel
from modalxai.training import (
    CachedEncoder,
    ConsistencyCollate,
    ConsistencyObjective,
    EmotionLoss,
    Objective,
)
from modalxai.types import Audio, Batch, Features

SAMPLES = 8
HAND = "by hand"


@dataclass(frozen=True)
class Step:
    """One way to compute a loss.

    Parameters
    ----------
    model
        Whose weights it changes.
    loss
        The loss of its batch, [].
    around
        Autocast, or nothing.
    """

    model: torch.nn.Module
    loss: Callable[[], Tensor]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext

    def runner(self) -> Callable[[], None]:
        """A whole step: forward, backward, AdamW."""
        learns = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(learns, 1e-4)

        def run() -> None:
            optimizer.zero_grad()
            with self.around():
                loss = self.loss()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return run


def fresh(dropout: float = 0.0) -> EmotionModel:
    """mel-cnn and byte-text, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders: dict[str, Any] = {"audio": MelCnnEncoder(), "text": ByteTextEncoder()}
        dims = {name: encoder.dim for name, encoder in encoders.items()}
        return EmotionModel(encoders, ShallowFusion(dims, EMOTIONS), dropout).train()


def batch_of(model: EmotionModel) -> Batch:
    """Eight clips of one to two seconds, and what was recognised beside what was said."""
    draw = torch.Generator().manual_seed(0)
    return ConsistencyCollate(model.collate)(
        [
            {
                "id": index,
                "audio": Audio(0.1 * torch.randn(RATE + 2_000 * index, generator=draw), RATE),
                "text": "what a lovely day " * (1 + index % 3),
                "recognised": "what a lonely day " * (1 + index % 3),
                "labels": EMOTIONS[index % len(EMOTIONS)].name,
            }
            for index in range(SAMPLES)
        ]
    )


def by_hand(model: EmotionModel, batch: Batch) -> Callable[[], Tensor]:
    """Encoders, fusion and cross-entropy, called one after the other."""
    audio, text, fusion = model.encoders["audio"], model.encoders["text"], model.fusion
    targets = batch.targets.values

    def loss() -> Tensor:
        scores = fusion({"audio": audio(batch["audio"]), "text": text(batch["text"])}).scores
        return F.cross_entropy(scores.float(), targets)

    return loss


def through_the_model(model: EmotionModel, batch: Batch) -> Callable[[], Tensor]:
    """The same loss of ``model(batch)``."""
    targets = batch.targets.values
    return lambda: F.cross_entropy(model(batch).scores.float(), targets)


def consistent_by_hand(model: EmotionModel, batch: Batch, *, twice: bool) -> Callable[[], Tensor]:
    """Cross-entropy, and the divergence of the recognised words' scores, written out.

    Parameters
    ----------
    model, batch
        As for `by_hand`.
    twice
        Two passes through the whole model, which is how one writes it first; otherwise the audio
        is encoded once.
    """
    audio, text, fusion = model.encoders["audio"], model.encoders["text"], model.fusion
    targets = batch.targets.values

    def loss() -> Tensor:
        heard: Features = audio(batch["audio"])
        gold = fusion({"audio": heard, "text": text(batch["text"])}).scores
        again: Features = audio(batch["audio"]) if twice else heard
        other = fusion({"audio": again, "text": text(batch["recognised"])}).scores
        apart = F.kl_div(
            other.log_softmax(-1), gold.log_softmax(-1), reduction="batchmean", log_target=True
        )
        return F.cross_entropy(gold, targets) + apart

    return loss


def objective(step: Objective, batch: Batch) -> Callable[[], Tensor]:
    """The loss of one of our objectives."""
    return lambda: step(**batch)["loss"]


def measure(pairs: int) -> list[dict[str, Any]]:
    """A row for each way of training, over the hand-written step of the same kind.

    Parameters
    ----------
    pairs
        How often each is timed beside what it is compared with.
    """
    rows = []
    model = fresh()
    batch = batch_of(model)
    plain = Step(model, by_hand(model, batch))
    loss = EmotionLoss(EMOTIONS)
    kinds: list[tuple[str, str, Step, Step]] = [
        ("EmotionModel", HAND, Step(model, through_the_model(model, batch)), plain),
        (
            "EmotionModel, Objective, EmotionLoss",
            HAND,
            Step(model, objective(Objective(model, loss), batch)),
            plain,
        ),
    ]
    dropped = fresh(0.1)
    kinds.append(
        ("modality dropout", HAND, Step(dropped, through_the_model(dropped, batch)), plain)
    )
    once = Step(model, consistent_by_hand(model, batch, twice=False))
    twice = Step(model, consistent_by_hand(model, batch, twice=True))
    ours = Step(model, objective(ConsistencyObjective(model, loss), batch))
    kinds += [
        ("consistency loss", f"{HAND}, audio encoded once", ours, once),
        ("consistency loss", f"{HAND}, two whole passes", ours, twice),
    ]

    def half() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16)

    kinds.append(
        (
            "bfloat16 autocast",
            f"{HAND}, bfloat16 autocast",
            Step(model, through_the_model(model, batch), half),
            Step(model, by_hand(model, batch), half),
        )
    )
    with counting.one_thread():
        for name, against, one, other in kinds:
            rows.append(_compared(name, against, one, other, pairs))
        rows.append(_cached(max(1, pairs // 4)))
    return rows


def _compared(name: str, against: str, one: Step, other: Step, pairs: int) -> dict[str, Any]:
    ours, theirs = one.runner(), other.runner()
    for _ in range(3):
        ours(), theirs()
    ratio = counting.paired(ours, theirs, pairs)
    return {
        "what": name,
        "against": against,
        "time_ratio": ratio.middle,
        "time_low": ratio.low,
        "time_high": ratio.high,
        "milliseconds": 1000 * ratio.seconds,
        "pairs": pairs,
        "peak_mib": _peak(one, ours),
        "peak_mib_against": _peak(other, theirs),
    }


def _peak(step: Step, run: Callable[[], None]) -> float:
    """MiB of one step that finds no gradients of an earlier one, whose end would count as less."""
    step.model.zero_grad(set_to_none=True)
    return counting.peak_bytes(run) / 2**20


def measure_compiled(pairs: int) -> list[dict[str, Any]]:
    """The row of ``torch.compile``, which takes a minute to begin with; it may have no compiler."""
    model = fresh()
    batch = batch_of(model)
    compiled: Any = torch.compile(model)
    hand: Any = torch.compile(by_hand(model, batch))
    targets = batch.targets.values
    ours = Step(model, lambda: F.cross_entropy(compiled(batch).scores, targets))
    try:
        with counting.one_thread():
            return [
                _compared("torch.compile", f"{HAND}, torch.compile", ours, Step(model, hand), pairs)
            ]
    except Exception as error:  # whatever a compiler says, the other rows stand
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        return [{"what": "torch.compile", "against": HAND, "note": reason}]


CACHED_CLIPS, CACHED_BATCH = 16, 4


@contextmanager
def _kept(encoder: Wav2Vec2Encoder) -> Iterator[CachedEncoder]:
    with tempfile.TemporaryDirectory() as folder:
        yield CachedEncoder(encoder, folder)


def _cached(pairs: int) -> dict[str, Any]:
    """An epoch of features of a frozen encoder, looked up and encoded again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Wav2Vec2Encoder(speech_config("small"), trainable="none").eval()
    draw = torch.Generator().manual_seed(0)
    lengths = torch.linspace(2, 4, CACHED_CLIPS) * RATE
    clips = [Audio(0.1 * torch.randn(int(n), generator=draw), RATE) for n in lengths]
    batches = [
        encoder.collate(clips[start : start + CACHED_BATCH])
        for start in range(0, CACHED_CLIPS, CACHED_BATCH)
    ]

    def epoch(reader: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                for one in batches:
                    reader(one)

        return run

    with _kept(encoder) as cached:
        epoch(cached)()
        with counting.Rows({"audio": encoder}) as rows:
            epoch(cached)()
        ratio = counting.paired(epoch(cached), epoch(encoder), pairs)
        return {
            "what": "feature cache, a later epoch (encoder of the small size)",
            "against": "encoding again",
            "time_ratio": ratio.middle,
            "time_low": ratio.low,
            "time_high": ratio.high,
            "milliseconds": 1000 * ratio.seconds,
            "pairs": pairs,
            "encoder_rows": rows.rows["audio"],
            "peak_mib": counting.peak_bytes(epoch(cached)) / 2**20,
            "peak_mib_against": counting.peak_bytes(epoch(encoder)) / 2**20,
        }
