"""S2, consistency regularisation: `recipe` runs it, `settings` holds its numbers."""
