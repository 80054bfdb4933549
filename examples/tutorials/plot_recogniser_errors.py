"""
A recogniser's errors
=====================

In use, nobody types the words: a recogniser hears them, and mishears some. How much does a model
lose by that, what does it listen to then, and what does training against it bring?
"""

# %%
# A corpus, and what a recogniser would have heard
# ------------------------------------------------
#
# A `SimulatedTranscriber` makes errors at a rate of your choice. With a recogniser of your own,
# the next lines stay the same: ``mx.plugins.create("transcribers", "transformers",
# checkpoint=...)``.

import torch
from matplotlib.figure import Figure

import modalxai as mx
from modalxai.datasets import tonebench

torch.manual_seed(0)
rule = tonebench.additive(0.5, 3)
seen = tonebench.ToneBench(rule, 420, speakers=range(10), soft=True, clip_seconds=0.9)
unseen = tonebench.ToneBench(rule, 150, speakers=range(10, 18), clip_seconds=0.9)
train, test = ([corpus[index] for index in range(len(corpus))] for corpus in (seen, unseen))

RATES = (0.0, 0.15, 0.3, 0.5)


def heard(samples, rate):
    """The samples with what a recogniser of this character error rate hears."""
    recogniser = mx.plugins.create("transcribers", "simulated", cer=rate)
    return mx.datasets.transcribe_corpus(recogniser, samples)


bad = heard(train, 0.3)
print("said: ", train[0]["text"])
print("heard:", bad[0]["recognised"])
print(bad.cer())

# %%
# Two ways to train
# -----------------
#
# The plain model reads what was said. The consistent one reads both texts of each utterance,
# and is asked to say the same of both: cross-entropy on the true text, plus the divergence
# between the two.


def model_of():
    """A small model, always from the same random weights."""
    torch.manual_seed(1)
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
        "fusion", "shallow", dims={"audio": 48, "text": 32}, labels=mx.labels(*rule.labels)
    )
    return mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.2)


settings = mx.training.FitSettings(
    epochs=9, lr=4e-3, batch_size=24, optimizer="adamw", schedule="cosine"
)
plain = model_of()
mx.training.fit(
    mx.training.Objective(plain, mx.training.EmotionLoss()), train, plain.collate, settings
)
consistent = model_of()
mx.training.fit(
    mx.training.ConsistencyObjective(consistent, mx.training.EmotionLoss(), weight=1.0),
    bad,
    mx.training.ConsistencyCollate(consistent.collate),
    settings,
)

# %%
# Score and explain at every error rate
# -------------------------------------
#
# The explanation is of the model as it is used: with the recognised text in place of the true
# one.


def used(samples, rate):
    """The samples as a system in use would have them."""
    return [{**one, "text": one["recognised"]} for one in heard(samples, rate)]


found = {"plain": [], "consistent": []}
for name, model in (("plain", plain), ("consistent", consistent)):
    for rate in RATES:
        explanation = mx.explain(model, used(test, rate), batch_size=64)
        right = explanation.scores[-1].argmax(1) == explanation.targets.values.argmax(1)
        voice, words = explanation.shapley().totals.abs().mean((0, 1)).tolist()
        found[name].append((right.float().mean().item(), words / (voice + words)))
        print(f"{name}, error rate {rate:.2f}: accuracy {found[name][-1][0]:.2f}, ", end="")
        print(f"voice {voice:.2f} nats, words {words:.2f} nats")

# %%
# What it shows
# -------------
#
# Accuracy falls as the words get worse. The voice says as much as before, and the words say less,
# or the wrong thing: a share says nothing about being right, so read it beside the accuracy.

figure = Figure(figsize=(8, 3.2), layout="constrained")
left, right = figure.subplots(1, 2)
for name, colour, mark in (("plain", "#D55E00", "o"), ("consistent", "#0072B2", "s")):
    left.plot(RATES, [row[0] for row in found[name]], color=colour, marker=mark, label=name)
    right.plot(RATES, [row[1] for row in found[name]], color=colour, marker=mark, label=name)
left.set(xlabel="character error rate", ylabel="accuracy", ylim=(0, 1))
right.set(xlabel="character error rate", ylabel="share of the words", ylim=(0, 1))
left.legend(frameon=False)

# %%
# Whether training on both texts pays cannot be seen from one small model and one seed.
# ``modalxai recipe consistency`` compares five seeds, three fusions and two recognisers, and gives
# deviations.
