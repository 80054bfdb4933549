"""S1, late fusion with biosignals: `recipe` runs it, `settings` holds its numbers."""
