"""S4, SpeechT5 with meta-attention: `recipe` runs it, `models` holds its numbers and shapes."""
