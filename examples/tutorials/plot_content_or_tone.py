"""
Content or tone?
================

A model reads the words and hears the voice. Which of the two decides, for which emotion? We train a
small model on synthetic speech whose answer we have planted ourselves, ask it, and compare.
"""

# %%
# Speech with a planted truth
# ---------------------------
#
# `ToneBench` speaks sentences in tones. A rule says which label each pair of the two deserves:
# here surprise lies in the tone alone, sadness in the words alone, fear needs both, and a
# sarcastic voice turns praise into anger. The voice babbles, so that the audio carries the tone
# and not the words.

import torch
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.datasets import tonebench

torch.manual_seed(0)
rule = tonebench.emotions()
seen = tonebench.ToneBench(rule, 640, speakers=range(10), soft=True, cache=True, clip_seconds=0.9)
unseen = tonebench.ToneBench(rule, 200, speakers=range(10, 18), cache=True, clip_seconds=0.9)
print(seen[0]["text"], "|", seen[0]["tone"], "|", seen[0]["rule_label"])

# %%
# A model of two encoders and a fusion
# ------------------------------------
#
# Modality dropout hides one modality now and then while the model learns. So the model knows
# what "the voice is not there" means, and asking it that later is a fair question.

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
model = mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.2)

loader = DataLoader(seen, 32, shuffle=True, collate_fn=model.collate)
step = mx.training.Objective(model, mx.training.EmotionLoss())
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=14 * len(loader))
model.train()
for _ in range(14):
    for batch in loader:
        optimizer.zero_grad()
        step(**batch)["loss"].backward()
        optimizer.step()
        schedule.step()

# %%
# Ask it
# ------
#
# `explain` encodes each modality once and scores all four combinations of the two. All that
# follows is arithmetic on those scores: the model is not asked again.

explanation = mx.explain(model, unseen)
print(explanation.coalitions)
print(explanation.scores.shape, "coalitions, samples, labels")

# %%
# Shares per emotion
# ------------------
#
# A share divides the evidence for an emotion between the modalities. Each has an interval, and
# the speakers are what is resampled: utterances of one speaker resemble each other. The planted
# truth is drawn as a mark beside each bar.

planted = {
    label: {"audio": truth.audio, "text": truth.text}
    for label, truth in tonebench.gold(rule).items()
}
report = mx.Report(explanation, cluster="speaker", gold=planted)
figure = report.figure()
print(report.table())

# %%
# Two bars of one length can mean opposite things. The right half of the picture says for each
# emotion how many nats each modality argues *for* or *against* it, on average.
#
# When the two disagree
# ---------------------
#
# Praise in a sarcastic voice, or a threat that is said wearily: the two modalities favour different
# labels. `conflict` finds such utterances, and says which modality wins. Here is the one in which
# they pull apart most.

conflict = explanation.conflict()
apart = conflict.divergence[:, 0].masked_fill(~conflict.disagree[:, 0], 0)
chosen = int(apart.argmax())
sample = unseen[chosen]
names = [label.name for label in model.labels]
sides = {
    name: names[favoured]
    for name, favoured in zip(conflict.modalities, conflict.leading[chosen].tolist(), strict=True)
}
print(sample["text"], "|", sample["tone"])
print("favoured by each:", sides, "| predicted:", names[explanation.scores[-1, chosen].argmax()])
evidence = explanation.shapley()
for name in sides.values():
    voice, words = evidence.totals[chosen, names.index(name)].tolist()
    print(f"{name}: the voice {voice:+.2f} nats, the words {words:+.2f} nats")
print(f"disagreement in {conflict.disagree.float().mean():.0%} of the utterances")

# %%
# Which words, which moments?
# ---------------------------
#
# Owen values divide each modality's evidence among its words and its segments, and their sums
# are the modality's own values.

label = names[explanation.scores[-1, chosen].argmax()]
game = model.game([sample], removal={"audio": "silence", "text": "mask"})
found = mx.attribution.Owen(players={"audio": "segment", "text": "word"}).attribute(
    game, labels=[label]
)
for name in ("text", "audio"):
    spans = found.spans[name]
    values = found.units[name][0, 0].tolist()
    names = spans.names[0] if spans.names and spans.names[0] else None
    for place, value in enumerate(values):
        where = names[place] if names else f"{spans.start[0, place]:.1f} s"
        print(f"{name} {where}: {value:+.2f} nats for {label}")
print("what the units leave unexplained:", f"{found.residual().abs().max():.1e}")

# %%
# Where to go from here: :doc:`/explanations/shares` says when a share means nothing,
# :doc:`plot_your_own_loop` trains and asks at the same time, and
# :doc:`/explanations/words_in_the_voice` says why "audio" is not "tone" as soon as a real voice
# speaks real words.
