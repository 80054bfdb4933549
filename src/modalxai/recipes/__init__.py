"""Whole experiments, from data to report, over the library's public parts."""
