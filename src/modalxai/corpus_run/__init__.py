"""Explain a corpus of any size: in parts, by any number of processes, to be gone on with.

`explain_corpus` writes a folder, `CorpusRun` reads it. `ExplainRows` serves pipelines over rows.
"""

from modalxai.corpus_run.folder import CorpusRun, Quarantined
from modalxai.corpus_run.rows import ExplainRows
from modalxai.corpus_run.run import explain_corpus

__all__ = ["CorpusRun", "ExplainRows", "Quarantined", "explain_corpus"]
