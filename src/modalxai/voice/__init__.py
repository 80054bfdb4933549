"""Voice edits: waveform in, waveform out. What prosody does, and players inside a raw value."""

from modalxai.voice.checks import Check, Measured, check_edit, check_hum, likeness
from modalxai.voice.content_tone import ContentToneDivision
from modalxai.voice.delexicalise import hum, low_pass
from modalxai.voice.descriptors import Prosody, measure
from modalxai.voice.edits import Edit, Reference, apply, resynthesise
from modalxai.voice.prosody import ProsodyDivision
from modalxai.voice.segments import SegmentDivision
from modalxai.voice.tiles import TileDivision
from modalxai.voice.tracking import Tracker
from modalxai.voice.words import WordDivision
from modalxai.voice.world import Analysis, analyse, synthesise

__all__ = [
    "Analysis",
    "Check",
    "ContentToneDivision",
    "Edit",
    "Measured",
    "Prosody",
    "ProsodyDivision",
    "Reference",
    "SegmentDivision",
    "TileDivision",
    "Tracker",
    "WordDivision",
    "analyse",
    "apply",
    "check_edit",
    "check_hum",
    "hum",
    "likeness",
    "low_pass",
    "measure",
    "resynthesise",
    "synthesise",
]
