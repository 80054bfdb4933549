"""Train an audio + text model in a plain PyTorch loop, then ask what it listens to.

The samples are synthetic speech made on the spot, so there is nothing to download. Put your own in
their place: a list, or any map-style dataset, of dicts that look like this one::

    {"id": "u1", "audio": mx.Audio(waveform, 16_000), "text": "참 잘했다.",
     "labels": {"anger": 1}, "speaker": "s1"}

Run it with ``python examples/train_your_own_loop.py``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import modalxai as mx
from modalxai.datasets import tonebench


def build(labels: tuple[mx.Label, ...]) -> mx.EmotionModel:
    """Compose a model: any encoders, any fusion, by name. ``modalxai plugins list`` prints them."""
    audio = mx.plugins.create(
        "encoders", "mel-cnn", dim=64, channels=64, layers=3, strides=(2, 2, 2)
    )
    text = mx.plugins.create("encoders", "byte-text", dim=64)
    fusion = mx.plugins.create(
        "fusion", "shallow", dims={"audio": audio.dim, "text": text.dim}, labels=labels
    )
    # Modality dropout shows the model what "absent" looks like, which explaining it relies on.
    return mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.15)


def train(model: mx.EmotionModel, samples: Dataset, epochs: int, batch_size: int = 32) -> None:
    """Nothing but PyTorch: change whatever you like."""
    device = model.device
    step = mx.training.Objective(model, mx.training.EmotionLoss())  # wrap this one in DDP
    loader = DataLoader(samples, batch_size, shuffle=True, collate_fn=model.collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=epochs * len(loader)
    )
    model.train()
    for epoch in range(epochs):
        bar = tqdm(loader, desc=f"epoch {epoch + 1}/{epochs}", unit="batch")
        for batch in bar:
            optimizer.zero_grad()
            loss = step(**batch.to(device))["loss"]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def accuracy(model: mx.EmotionModel, samples: Dataset) -> float:
    """Share of samples whose highest score is their label's."""
    names = [label.name for label in model.labels]
    winners = model.predict(samples).scores.argmax(1).tolist()
    hits = [samples[i]["labels"].get(names[winner], 0) == 1 for i, winner in enumerate(winners)]
    return sum(hits) / len(hits)


def main() -> None:
    """Train, test on speakers the model has never heard, explain, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--samples", type=int, default=864, help="for training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    # Some emotions lie in the words, some in the voice, and sarcasm turns the words around. A tenth
    # of the labels is noise, so that no listener can be right much more than nine times in ten.
    rule = tonebench.emotions()
    seen = tonebench.ToneBench(
        rule, options.samples, speakers=range(12), seed=options.seed, cache=True
    )
    unseen = tonebench.ToneBench(
        rule, options.samples // 3, speakers=range(12, 20), seed=options.seed, cache=True
    )

    model = build(mx.labels(*rule.labels)).to(options.device)
    train(model, seen, options.epochs)
    print(f"accuracy on speakers it has never heard: {accuracy(model, unseen):.2f}\n")

    # Every combination of audio and text, each encoded once; then only arithmetic.
    explanation = mx.explain(model, unseen)
    print(mx.Report(explanation, truth="labels", by="predicted", cluster="speaker").table())


if __name__ == "__main__":
    main()
