"""Train with the transformers Trainer: its schedules, checkpoints and logging, your model.

``python examples/transformers_trainer.py``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse

import torch
from transformers import Trainer, TrainingArguments

import modalxai as mx
from modalxai.datasets import tonebench


def main() -> None:
    """Train on synthetic speech, evaluate, save, explain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=432, help="for training")
    parser.add_argument("--out", default="trainer_run", help="folder for checkpoints and model")
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

    arguments = TrainingArguments(
        output_dir=options.out,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=32,
        learning_rate=2e-3,
        label_names=["targets"],  # what evaluation needs to call a loss a loss
        remove_unused_columns=False,  # or the Trainer takes modalities for unused columns
        save_strategy="no",
        report_to="none",
    )
    trainer = Trainer(
        mx.training.Objective(model, mx.training.EmotionLoss()),  # returns {"loss", "scores"}
        arguments,
        train_dataset=seen,
        eval_dataset=unseen,
        data_collator=model.collate,
    )
    trainer.train()
    print(f"loss on speakers it has never heard: {trainer.evaluate()['eval_loss']:.3f}")
    model.save_pretrained(f"{options.out}/model")
    print(mx.Report(mx.explain(model, unseen), cluster="speaker").table())


if __name__ == "__main__":
    main()
