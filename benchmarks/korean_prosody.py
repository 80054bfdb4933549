"""Does a model of real Korean speech listen to the pitch? Flattened, against its own placebo.

In the ``plain`` half of the corpus the same sentences are spoken in four emotions, so that only the
voice can tell. A small model learns them; then each recording is taken apart by WORLD and put
together again as it was (the placebo), with its pitch flattened, with its pitch level brought to
the speaker's mean, and so on. How far each moves the scores (clr, Euclidean over the labels), and
how much further than the placebo does, as a mean over recordings with 95 % intervals by clusters:
sentence in a voice, and speaker.

    python benchmarks/korean_prosody.py --data ../shared/data/korean_emotional_speech
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from modalxai.attribution import Prosody
from modalxai.attribution.prosody import ProsodyEffects
from modalxai.statistics import cluster_interval, means
from modalxai.voice import ProsodyDivision, Reference, measure

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "korean_content_or_tone.py"
Samples = list[dict[str, Any]]


def example() -> ModuleType:
    """The example that builds and trains such models."""
    spec = importlib.util.spec_from_file_location("korean_content_or_tone", EXAMPLE)
    if spec is None or spec.loader is None:
        raise SystemExit(f"no {EXAMPLE}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def neutral(samples: Samples) -> Reference:
    """The usual pitch and rate of one speaker: what "level" and "rate" are brought to."""
    found = [measure(one["audio"]) for one in samples]
    pitch = float(np.exp(np.mean([np.log(one.pitch_mean) for one in found])))
    return Reference(pitch=pitch, rate=float(np.mean([one.rate for one in found])))


def show(name: str, further: np.ndarray, clusters: dict[str, list[Any]]) -> None:
    """A line of the table: how much further than the placebo, [N]."""
    cells = []
    for names in clusters.values():
        terms = np.stack([further, np.ones_like(further)], axis=1)
        found = cluster_interval(terms, means(1), names)
        cells.append(f"{found.low[0]:6.2f} to {found.high[0]:5.2f} ({found.clusters})")
    print(f"{name:14s} {further.mean():8.2f}   " + "   ".join(cells))


def main() -> None:
    """Train, edit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--sentences", type=int, default=3, help="of five that are edited")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    start, tools = time.process_time(), example()
    corpus = tools.read(options.data)
    samples: Samples = list(corpus.where(part="plain"))
    model = tools.build(corpus.labels)
    tools.train(model, samples, options.epochs, "plain")
    seen = tools.accuracy(model, samples)
    print(f"accuracy on its {len(samples)} training recordings: {seen:.0%}")
    if seen < tools.LEARNT:
        raise SystemExit("the model has not learnt: there is nothing to explain")

    texts = sorted({one["text"] for one in samples})[: options.sentences]
    found: list[ProsodyEffects] = []
    asked: Samples = []
    for speaker in sorted({one["speaker"] for one in samples}):
        own = [one for one in samples if one["speaker"] == speaker]
        chosen = [one for one in own if one["text"] in texts]
        reference = neutral(chosen)
        print(f"{speaker}: {reference.pitch:.0f} Hz, {reference.rate:.1f} syllables a second")
        prosody = Prosody(division=ProsodyDivision(reference=reference))
        found.append(prosody.effects(model.game(chosen, removal="absent"), doses=()))
        asked += chosen

    placebo = torch.cat([one.placebo for one in found])  # [N, L]
    effect = torch.cat([one.effect for one in found])  # [N, L, P], beyond the placebo's
    moved = (effect + placebo[..., None]).norm(dim=1).numpy()  # recording against edit
    base = placebo.norm(dim=1).numpy()
    clusters = {
        "sentence in a voice": [f"{one['speaker']}/{one['text']}" for one in asked],
        "speaker": [one["speaker"] for one in asked],
    }
    print(f"\n{len(base)} recordings; the placebo moves the scores by {base.mean():.2f} nats")
    print("further than the placebo, in nats; 95 % intervals (clusters):")
    print(f"{'removed':14s} {'mean':>8s}   " + "   ".join(f"{name:>20s}" for name in clusters))
    for place, player in enumerate(found[0].players):
        show(player, moved[:, place] - base, clusters)
    print(f"\n{time.process_time() - start:.0f} s of one thread")


if __name__ == "__main__":
    main()
