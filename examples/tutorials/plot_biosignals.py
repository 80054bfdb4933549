"""
Biosignals
==========

A third modality: the skin conductance of a wristband, beside the voice and the words. Everything
stays exact with three modalities, and with five: eight or thirty-two combinations are scored, while
each encoder runs once.
"""

# %%
# Raw signals
# -----------
#
# In the synthetic corpus, the skin answers where somebody is afraid. Twenty seconds are
# recorded around each utterance.

import numpy as np
import torch
from matplotlib.figure import Figure

import modalxai as mx
from modalxai.biosignals import Biosignal
from modalxai.datasets import tonebench
from modalxai.datasets.tonebench.bodies import body

torch.manual_seed(0)
rule = body()
seen = tonebench.ToneBench(rule, 480, speakers=range(10), soft=True, clip_seconds=0.9)
unseen = tonebench.ToneBench(rule, 180, speakers=range(10, 18), clip_seconds=0.9)

figure = Figure(figsize=(7, 2.6), layout="constrained")
axes = figure.subplots()
for state, colour in (("calm", "#0072B2"), ("bump", "#D55E00")):
    one = next(s for s in (seen[index] for index in range(99)) if s["eda_state"] == state)
    series = one["biosignals"]["eda"]
    time = np.arange(series.values.shape[1]) / series.rate
    axes.plot(time, series.values[0], color=colour, label=state)
axes.set(xlabel="seconds", ylabel="skin conductance, µS")
axes.legend(frameon=False)

# %%
# Resting values, per person
# --------------------------
#
# People differ more in their resting level than an emotion moves it. So each signal is compared
# with the same person at rest. That is also what stands for a signal that is removed: a flat
# line would mean a detached electrode, and the model would rightly be alarmed by it.
#
# Here the samples become ``{"audio", "text", "eda", ...}``, the signal in steps of a second.


def prepared(samples):
    """Samples with a modality ``eda``; its baseline is the person's mean."""
    rows = [samples[index] for index in range(len(samples))]
    signals = [row.pop("biosignals")["eda"].values.reshape(1, -1, 4).mean(-1) for row in rows]
    people = np.array([row["speaker"] for row in rows])
    for row, signal in zip(rows, signals, strict=True):
        own = [s for s, who in zip(signals, people, strict=True) if who == row["speaker"]]
        level = np.mean([s.mean() for s in own])
        row["eda"] = Biosignal(signal - level, rate=1.0, baseline=np.zeros(1))
    return rows


train, test = prepared(seen), prepared(unseen)

# %%
# Three encoders, one fusion
# --------------------------
#
# A sample that lacks a signal holds ``None`` there. It is then no player: its share is exactly
# 0, and means skip it.

spread = float(np.std([sample["eda"].values for sample in train]))
encoders = {
    "audio": mx.plugins.create(
        "encoders",
        "mel-cnn",
        dim=32,
        channels=32,
        strides=(2, 2, 1, 1),
        hop=0.02,
        attention_layers=0,
    ),
    "text": mx.plugins.create("encoders", "byte-text", dim=32, layers=1),
    "eda": mx.plugins.create(
        "encoders", "biosignal", channels=1, sample_rate=1.0, window=20.0, spread=(spread,)
    ),
}
fusion = mx.plugins.create(
    "fusion",
    "shallow",
    dims={name: encoder.dim for name, encoder in encoders.items()},
    labels=mx.labels(*rule.labels),
)
model = mx.EmotionModel(encoders, fusion=fusion, modality_dropout=0.25)
settings = mx.training.FitSettings(
    epochs=12, lr=4e-3, batch_size=32, optimizer="adamw", schedule="cosine"
)
step = mx.training.Objective(model, mx.training.EmotionLoss())
history = mx.training.fit(step, train, model.collate, settings)
print("loss of the last epoch:", f"{history.losses[-1]:.3f}")

# %%
# Ask it
# ------

test[0]["eda"] = None  # a sensor that was off
explanation = mx.explain(model, test)
print(explanation.coalitions)
evidence = explanation.shapley()
print("the sample without a sensor:", evidence.totals[0, 0].tolist())
print("completeness:", f"{evidence.residual().abs().max():.1e}")

# %%
# Shares of three
# ---------------

planted = {label: dict(truth.share) for label, truth in tonebench.gold(rule).items()}
report = mx.Report(explanation, cluster="speaker", gold=planted)
figure_of_shares = report.figure()
print(report.table())

# %%
# Interactions
# ------------
#
# Does a pair tell together what neither tells alone? Below zero the two repeat each other.

pairs = explanation.interactions().pairs
for (first, second), values in pairs.items():
    print(f"{first} with {second}: {values.mean((0, 2, 3)).tolist()} nats, by label")
