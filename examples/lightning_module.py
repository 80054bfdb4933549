"""Train with Lightning: a module of a dozen lines around the model.

``python examples/lightning_module.py`` (needs ``pip install lightning``).
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.datasets import tonebench


class Training(lightning.LightningModule):
    """Model and loss; Lightning does the rest."""

    def __init__(self, model: mx.EmotionModel, lr: float = 2e-3) -> None:
        super().__init__()
        self.step, self.lr = mx.training.Objective(model, mx.training.EmotionLoss()), lr

    def training_step(self, batch: mx.Batch, index: int) -> Any:
        """The loss of a batch."""
        loss = self.step(**batch)["loss"]
        self.log("loss", loss, prog_bar=True, batch_size=len(batch.ids))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def main() -> None:
    """Train on synthetic speech, explain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=432, help="for training")
    options = parser.parse_args()
    torch.manual_seed(0)
    rule = tonebench.emotions()
    seen = tonebench.ToneBench(rule, options.samples, speakers=range(8), cache=True)
    unseen = tonebench.ToneBench(rule, options.samples // 3, speakers=range(8, 12), cache=True)
    audio = mx.plugins.create("encoders", "mel-cnn", dim=32, channels=32, layers=2, strides=(2, 2))
    text = mx.plugins.create("encoders", "byte-text", dim=32)
    dims = {"audio": audio.dim, "text": text.dim}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=mx.labels(*rule.labels))
    model = mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=0.15)
    loader = DataLoader(seen, 32, shuffle=True, collate_fn=model.collate)
    trainer = lightning.Trainer(max_epochs=options.epochs, logger=False, enable_checkpointing=False)
    trainer.fit(Training(model), loader)
    print(mx.Report(mx.explain(model, unseen), cluster="speaker").table())


if __name__ == "__main__":
    main()
