"""Pretrained encoders of SpeechBrain as encoders of modalxai."""

modalxai_api = 1
