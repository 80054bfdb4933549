"""S3, valence and arousal first: `recipe` runs it, `models` holds its numbers and shapes."""
