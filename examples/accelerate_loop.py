"""Train with Accelerate: one process or many, any precision, the same loop.

``python examples/accelerate_loop.py``, or ``accelerate launch examples/accelerate_loop.py`` where
there are several devices.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.datasets import tonebench


def main() -> None:
    """Train on synthetic speech, save, explain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=432, help="for training")
    parser.add_argument("--out", default="accelerate_model", help="folder for the model")
    options = parser.parse_args()
    accelerator = Accelerator()
    torch.manual_seed(0)

    rule = tonebench.emotions()
    seen = tonebench.ToneBench(rule, options.samples, speakers=range(8), cache=True)
    unseen = tonebench.ToneBench(rule, options.samples // 3, speakers=range(8, 12), cache=True)
    audio = mx.plugins.create("encoders", "mel-cnn", dim=32, channels=32, layers=2, strides=(2, 2))
    text = mx.plugins.create("encoders", "byte-text", dim=32)
    dims = {"audio": audio.dim, "text": text.dim}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=mx.labels(*rule.labels))
    model = mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=0.15)

    # Objective is model and loss in one module, so that what Accelerate wraps it in sees it all.
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    loader = DataLoader(seen, 32, shuffle=True, collate_fn=model.collate)
    optimizer = torch.optim.AdamW(step.parameters(), lr=2e-3)
    step, optimizer, loader = accelerator.prepare(step, optimizer, loader)
    step.train()
    for epoch in range(options.epochs):
        for batch in loader:
            loss = step(**batch)["loss"]
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        accelerator.print(f"epoch {epoch + 1}/{options.epochs}: loss {loss.item():.3f}")

    if accelerator.is_main_process:
        model = accelerator.unwrap_model(step).model
        model.save_pretrained(options.out)
        print(mx.Report(mx.explain(model, unseen), cluster="speaker").table())


if __name__ == "__main__":
    main()
