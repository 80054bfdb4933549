"""Pictures of explanations: each function returns a matplotlib figure and touches nothing global.

No pyplot, no open windows, no settings changed; matplotlib is imported when the first one is drawn.
Save one with ``figure.savefig("shares.png")``.
"""

from modalxai.report.figures.conflict_map import conflict_map
from modalxai.report.figures.confusion import confusion, confusions
from modalxai.report.figures.fonts import writable
from modalxai.report.figures.for_against import for_against
from modalxai.report.figures.palette import COLOURS, FAINT, INK
from modalxai.report.figures.shares import shares
from modalxai.report.figures.utterance import utterance

__all__ = [
    "COLOURS",
    "FAINT",
    "INK",
    "conflict_map",
    "confusion",
    "confusions",
    "for_against",
    "shares",
    "utterance",
    "writable",
]
