"""S0, content or tone: `recipe` runs it, `settings` holds its numbers; start reading there."""
