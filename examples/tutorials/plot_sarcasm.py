"""
Sarcasm
=======

"참 잘했다": well done, or the opposite. Where the voice turns the words around, the voice alone
tells nothing and the words alone mislead. A single-mask experiment and a percentage both hide the
finding here. This is what to read instead.
"""

# %%
# Praise and blame, sincere and sarcastic
# ---------------------------------------
#
# Praise is joy and blame is anger, unless the tone is sarcastic, which swaps the two. Sarcasm
# is as frequent as all sincere tones together.

import torch

import modalxai as mx
from modalxai.attribution.interaction_types import KINDS
from modalxai.datasets import tonebench

torch.manual_seed(0)
rule = tonebench.sarcasm(epsilon=0.05).crossed()
seen = tonebench.ToneBench(rule, 480, speakers=range(10), soft=True, cache=True, clip_seconds=0.9)
unseen = tonebench.ToneBench(rule, 180, speakers=range(10, 18), cache=True, clip_seconds=0.9)
for index in range(4):
    row = unseen.row(index)
    print(row["text"], "|", row["tone"], "|", row["rule_label"])

# %%
# Train
# -----

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
    labels=mx.labels(*rule.labels),
)
model = mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.1)
settings = mx.training.FitSettings(
    epochs=16, lr=4e-3, batch_size=24, optimizer="adamw", schedule="cosine"
)
step = mx.training.Objective(model, mx.training.EmotionLoss())
history = mx.training.fit(step, seen, model.collate, settings)
explanation = mx.explain(model, unseen, batch_size=64)
best = explanation.scores[-1].argmax(1)
print("accuracy:", (best == explanation.targets.values.argmax(1)).float().mean().item())

# %%
# The single mask counts it twice
# -------------------------------
#
# Take the words away, and nearly all is lost. Take the voice away, and nearly all is lost again. So
# the two losses sum to far more than there is to explain. The residual says so: it is minus the
# interaction.

first = [model.labels[0].name]
ablation = explanation.ablation(labels=first)
explained = ablation.prediction - ablation.reference
print("to explain, mean |nats|:   ", f"{explained.abs().mean():.2f}")
for name, values in zip(ablation.modalities, ablation.totals[:, 0].T, strict=True):
    print(f"loss of {name}, mean |nats|: {values.abs().mean():.2f}")
print("left over, mean |nats|:    ", f"{ablation.residual().abs().mean():.2f}")

# %%
# Exact Shapley values leave nothing over
# ---------------------------------------

shapley = explanation.shapley(labels=first)
for name, values in zip(shapley.modalities, shapley.totals[:, 0].T, strict=True):
    print(f"{name}, mean |nats|: {values.abs().mean():.2f}")
print("left over:", f"{shapley.residual().abs().max():.1e}")

# %%
# The interaction is the finding
# ------------------------------
#
# More to the words, less to the voice: true, and not the point. The point is what the two say only
# together. Here the utterances are counted by kind: in a conflict each of the two alone points
# another way, in synergy both together achieve more than the sum of what each achieves alone.

found = explanation.interaction_types(labels=first).kinds.flatten().tolist()
for place, kind in enumerate(KINDS):
    print(f"{kind}: {found.count(place) / len(found):.0%}")
interaction = explanation.interactions(labels=first).pairs["audio", "text"].flatten()
print("interaction, mean |nats|:", f"{interaction.abs().mean():.2f}")

# %%
# One utterance
# -------------
#
# The four scores are all there is; everything above is arithmetic on them.

sarcastic = next(
    index
    for index in range(len(unseen))
    if unseen.row(index)["tone"] == "sarcastic" and unseen.row(index)["content"] == "praise"
)
print(unseen.row(sarcastic)["text"])
names = [label.name for label in model.labels]
for here, scores in zip(explanation.coalitions, explanation.scores[:, sarcastic], strict=True):
    given = " + ".join(here) or "nothing"
    chances = ", ".join(
        f"{name} {chance:.2f}"
        for name, chance in zip(names, scores.softmax(-1).tolist(), strict=True)
    )
    print(f"{given:>12}: {chances}")

# %%
# The shares, and what they hide
# ------------------------------
#
# Shares alone would not have told that a voice can turn words around. The column of the interaction
# does.

report = mx.Report(explanation, by="true", cluster="speaker")
figure = report.figure()
print(report.table())
