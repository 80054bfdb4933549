"""Tiny checkpoints, made in less than a minute: what the recipes run on where nothing is at hand.

They have the architectures, the files and the tokenizers of the published ones, at width 64 and
with two layers, and are pre-trained here: the speech encoders on synthetic speech, the text
encoders on sentences of the lexicon.

How to fine-tune them. Tuned on 1,200 clips of ``tonebench.emotions()`` with soft labels,
modality dropout of 0.2 and a shallow fusion, they give the rule's label of unseen speakers in at
least 98 of 100 clips after six epochs, with:

- ``trainable="transformer"`` for the speech encoder: as good as ``"all"``, in little more than
  half the time;
- AdamW and a one-cycle schedule in batches of 32, the encoders at 2e-3, the fusion at 2e-3 to
  6e-3. A rate of 5e-5 is for published sizes: three epochs of it give 39 of 100 here;
- a hidden layer of 256 in the fusion, as 128 costs two points. Words and tone are each learnt
  within two epochs; the other four teach the fusion what they mean together, which modality
  dropout makes slower.

Three epochs give 93 of 100, both encoders frozen 90 (wav2vec 2.0 and DistilBERT) or 87 (SpeechT5).
The first token or the mean of the text, ``spec_augment=True`` and the small size change little.
"""

from modalxai.recipes.tiny.makers import MAKERS, Maker, make

__all__ = ["MAKERS", "Maker", "make"]
