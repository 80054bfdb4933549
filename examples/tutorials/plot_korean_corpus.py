"""
A Korean corpus
===============

Recordings in a folder, transcripts in a csv file: that is a corpus. We read it, split it by
speaker, train, and ask which Korean words and which moments of the voice decided.
"""

# %%
# Files, as yours would be
# ------------------------
#
# We write Korean utterances of synthetic speakers into a folder, with one line each in a csv
# file whose columns have names of their own.

import csv
import tempfile
from pathlib import Path

import soundfile
import torch

import modalxai as mx
from modalxai.datasets import ManifestCorpus, tonebench

torch.manual_seed(0)
KOREAN = {"anger": "분노", "joy": "기쁨", "sadness": "슬픔", "surprise": "놀람"}
rule = tonebench.emotions()
spoken = tonebench.ToneBench(rule, 600, speakers=range(12), language="ko", clip_seconds=0.9)
folder = Path(tempfile.mkdtemp())
with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
    lines = csv.writer(file)
    lines.writerow(["파일", "전사", "감정", "화자"])
    for row in (spoken[index] for index in range(len(spoken))):
        emotion = next(iter(row["labels"]))
        if emotion in KOREAN:
            name = f"{row['id']}.wav"
            soundfile.write(folder / name, row["audio"].waveform, row["audio"].sample_rate)
            lines.writerow([name, row["text"], KOREAN[emotion], row["speaker"]])
print((folder / "manifest.csv").read_text(encoding="utf-8")[:200])

# %%
# Read it
# -------
#
# Every line is checked when the corpus is opened; recordings are read when a sample is. A file
# in cp949 is read with ``encoding="cp949"``.

corpus = ManifestCorpus(
    folder / "manifest.csv", id=None, audio="파일", text="전사", label="감정", speaker="화자"
)
print(corpus.labels, len(corpus))
print(corpus.report)

# %%
# Whole speakers to parts
# -----------------------
#
# A random split would let the model recognise voices. This one keeps speakers apart, and its
# report would say so if it did not.

parts = mx.datasets.split(corpus, {"train": 3, "test": 1}, by="speaker")
train, test = list(parts.part(corpus, "train")), list(parts.part(corpus, "test"))
print(len(train), "to train with,", len(test), "to test with")

# %%
# Train
# -----
#
# ``byte-text`` reads UTF-8 and needs no download. With a network, ``klue``, ``kobert`` or
# ``hanbert`` take its place, and ``wav2vec2`` that of ``mel-cnn``:
# ``mx.plugins.create("encoders", "klue", checkpoint="klue/bert-base", trainable=2)``.

# Small and quick. Leave the settings out for a model that is worth its name.
audio = mx.plugins.create(
    "encoders",
    "mel-cnn",
    dim=48,
    channels=48,
    layers=3,
    strides=(2, 2, 2),
    hop=0.02,
    mels=40,
    attention_layers=0,
)
text = mx.plugins.create("encoders", "byte-text", dim=32, layers=1, dropout=0.0)
fusion = mx.plugins.create(
    "fusion",
    "shallow",
    dims={"audio": audio.dim, "text": text.dim},
    labels=mx.labels(*corpus.labels),
)
model = mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.2)
settings = mx.training.FitSettings(
    epochs=14, lr=4e-3, batch_size=24, optimizer="adamw", schedule="cosine"
)
step = mx.training.Objective(model, mx.training.EmotionLoss())
history = mx.training.fit(step, train, model.collate, settings)
print("loss of the last epoch:", f"{history.losses[-1]:.3f}")

# %%
# How good is it?
# ---------------
#
# Scores stand beside what needs no understanding: a constant, each modality alone, each one
# shuffled.

card = mx.metrics.score_card(
    model.predict(test),
    model.collate(test).targets,
    baselines=mx.metrics.baselines(model.predict, test, ("audio", "text")),
    clusters=[sample["speaker"] for sample in test],
    leak=parts.leak,
)
print(card)

# %%
# What it listens to
# ------------------

explanation = mx.explain(model, test)
report = mx.Report(explanation, by="true", cluster="speaker")
figure = report.figure()

# %%
# Which words
# -----------
#
# A player is a word as Korean writes it, between two spaces. For morphemes, or a word list of
# your own, give `Spans` instead of the name.

utterance = next(one for one in test if "슬픔" in one["labels"])
game = model.game([utterance], removal={"audio": "silence", "text": "mask"})
found = mx.attribution.Owen(players={"text": "word", "audio": "segment"}).attribute(
    game, labels=["슬픔"]
)
words = found.spans["text"].names[0]
for word, value in zip(words, found.units["text"][0, 0].tolist(), strict=False):
    print(f"{word}: {value:+.2f} nats for 슬픔")
