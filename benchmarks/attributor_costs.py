"""What every attributor costs: encoder rows, FLOPs and memory over those of one prediction.

wav2vec2-base and DistilBERT sizes, random weights, 7 labels, one utterance: the first clip of a
folder with a manifest.csv (columns path, transcript), or a synthetic one. The spectrogram map has
a mel-cnn in the place of wav2vec2. Each attributor runs in a process of its own, so that the peak
of its memory is its own.

Run: python benchmarks/attributor_costs.py [FOLDER]
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import modalxai as mx
from modalxai.types import Audio

EMOTIONS = mx.labels("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
PLAYERS: dict[str, dict[str, Any]] = {
    "owen": {"players": {"text": "word", "audio": "segment"}},
    "unit-shapley": {"players": {"text": "word", "audio": "segment"}},
}
SEGMENT = 0.5
MOST_SECONDS, MOST_WORDS = 2.0, 6
"""What is explained of a longer clip: the exact unit games double with each player."""


def sample(folder: str) -> dict[str, Any]:
    if folder:
        with (Path(folder) / "manifest.csv").open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
        from modalxai import audio

        clip = audio.prepare(str(Path(folder) / row["path"]), 16_000)[: int(16_000 * MOST_SECONDS)]
        text = " ".join(row["transcript"].split()[:MOST_WORDS])
        return {"id": "u", "audio": Audio(clip, 16_000), "text": text}
    from modalxai.datasets.tonebench import phones
    from modalxai.datasets.tonebench.synthesis import SAMPLE_RATE, speak
    from modalxai.datasets.tonebench.voices import Speaker, Tone

    text = "오늘 기분이 참 좋다"
    words = [phones.sounds(phones.spell(word)) for word in text.split()]
    generator = np.random.default_rng(0)
    made = speak(words, Tone(slope=6, swing=2.5), Speaker.numbered(0), generator, 2.5)
    return {"id": "u", "audio": Audio(made.waveform, SAMPLE_RATE), "text": text}


def model_for(name: str) -> mx.EmotionModel:
    torch.manual_seed(0)
    audio = (
        mx.plugins.create("encoders", "mel-cnn")
        if name == "spectrogram-grad-cam"
        else mx.encoders.Wav2Vec2Encoder(segment_seconds=SEGMENT)
    )
    encoders = {"audio": audio, "text": mx.encoders.DistilBertEncoder()}
    dims = {modality: encoder.dim for modality, encoder in encoders.items()}
    return mx.EmotionModel(encoders, mx.fusion.ShallowFusion(dims, EMOTIONS)).eval()


def measure(name: str, folder: str) -> dict[str, float]:
    """One attributor, in this process."""
    model, given = model_for(name), sample(folder)
    counted = dict.fromkeys(model.modalities, 0)

    def counter(modality: str) -> Any:
        def count(_: object, args: tuple[dict[str, torch.Tensor], ...]) -> None:
            counted[modality] += len(next(iter(args[0].values())))

        return count

    torch.backends.mha.set_fastpath_enabled(False)  # its operators are not counted
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as flops:
            model.predict(given)
        one, before = flops.get_total_flops(), _peak()
        for modality in model.modalities:
            model.encoders[modality].register_forward_pre_hook(counter(modality))
        attributor = mx.plugins.create("attribution", name, **PLAYERS.get(name, {}))
        removal = {"audio": "silence", "text": "mask"}
        start = time.perf_counter()
        with FlopCounterMode(display=False) as flops:
            found = attributor.attribute(model.game([given], removal=removal))
        seconds = time.perf_counter() - start
    players = {m: int(mask.sum()) for m, mask in found.mask.items()}
    return {
        "players": " + ".join(map(str, players.values())) or "2 modalities",
        **{f"{modality} rows": rows for modality, rows in counted.items()},
        "flops": flops.get_total_flops() / one,
        "memory": (_peak() - before) / 1024,
        "seconds": seconds,
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(arguments[1], arguments[2])))
        return 0
    folder = arguments[0] if arguments else ""
    print(f"{'attributor':24}{'players':>14}{'audio':>7}{'text':>6}{'FLOPs':>9}{'MiB':>7}{'s':>8}")
    for name in mx.plugins.available("attribution"):
        command = [sys.executable, __file__, "--one", name, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name:24}{done.stderr.strip().splitlines()[-1]}")
            return 1
        cost = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:24}{cost['players']:>14}{cost['audio rows']:>7}{cost['text rows']:>6}"
            f"{cost['flops']:>8.2f}x{cost['memory']:>7.0f}{cost['seconds']:>8.1f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
