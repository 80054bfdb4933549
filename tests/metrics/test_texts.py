from __future__ import annotations

import math
import random
import sys
import unicodedata
from functools import partial
from importlib.metadata import version

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalxai import metrics
from modalxai.errors import DependencyError, InputError
from modalxai.metrics import texts
from modalxai.statistics import cluster_interval

quick = partial(cluster_interval, repeats=20)
letters = st.text(alphabet="가각 나한글ab c\u0301e ㅋ", max_size=20)
corpora = st.lists(st.tuples(letters, letters), min_size=1, max_size=4)


def _slow(said, heard):
    """The textbook table (Wagner & Fischer 1974)."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(before + (one != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=90), st.lists(st.integers(0, 3), max_size=90))
def test_edits_equal_the_textbook_table(said, heard):
    assert texts.edits(said, heard) == _slow(said, heard)


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_rates_equal_jiwer_on_composed_and_decomposed_korean(corpus, form, other):
    said = [unicodedata.normalize("NFC", one) for one, _ in corpus]
    heard = [unicodedata.normalize("NFC", one) for _, one in corpus]
    given_said = [unicodedata.normalize(form, one) for one in said]
    given_heard = [unicodedata.normalize(other, one) for one in heard]
    for ours, theirs in ((metrics.cer, jiwer.cer), (metrics.wer, jiwer.wer)):
        found = ours(given_said, given_heard, interval=quick)
        if found.length:
            assert found.rate == pytest.approx(theirs(said, heard))
        else:
            assert math.isnan(found.rate)


def test_decomposed_korean_would_be_twice_as_long():
    said, heard = "참 잘했다", unicodedata.normalize("NFD", "참 잘했다")
    assert jiwer.cer(said, heard) > 1
    assert metrics.cer(said, heard).rate == 0


def test_an_empty_reference_adds_insertions_and_no_length():
    found = metrics.wer(["", "그래 알았어"], ["아 뭐", "그래 알았어"])
    assert (found.errors, found.length, found.n, found.empty) == (2, 2, 2, 1)
    assert found.rate == jiwer.wer(["", "그래 알았어"], ["아 뭐", "그래 알았어"]) == 1


def test_nothing_said_anywhere_has_no_rate():
    found = metrics.cer(["", " "], ["아", ""])
    assert math.isnan(found.rate)
    assert (found.errors, found.length, found.empty) == (1, 0, 2)
    assert found.reason == "nothing was said in any reference"


def test_spaces_count_as_characters_unless_left_out():
    said, heard = "아버지가 방에", "아버지 가방에"
    assert metrics.cer(said, heard).rate == pytest.approx(jiwer.cer(said, heard))
    assert metrics.cer(said, heard).errors == 2
    assert metrics.cer(said, heard, spaces=False).rate == 0


def test_spacing_alone_is_no_error_after_correction_and_versions_are_kept():
    draws = random.Random(0)
    said = [
        "참 잘했다 정말 대단하구나",
        "아버지가 방에 들어가신다",
        "오늘 날씨가 좋으니까 나가서 놀자",
    ]
    heard = [
        "".join(c + " " * (draws.random() < 0.4) for c in one.replace(" ", "")) for one in said
    ]
    assert metrics.wer(said, heard).rate > 0.5
    found = metrics.swer([unicodedata.normalize("NFD", one) for one in said], heard)
    assert found.rate == 0
    assert found.versions["kiwipiepy"] == version("kiwipiepy")
    assert "kiwipiepy_model" in found.versions
    assert f"kiwipiepy {version('kiwipiepy')}" in str(found)


def test_a_wrong_word_is_still_one_after_correction_and_latin_words_stay_apart():
    assert metrics.swer("나는 학교에 간다", "나는 병원에간다").errors == 1
    found = metrics.swer("hello my friend", "hello my friends")
    assert (found.errors, found.length) == (1, 3)


def test_corrected_rates_equal_jiwer_on_the_corrected_texts():
    kiwi = texts._kiwi()
    said, heard = ["그래서 내가 어제 말했잖아"], ["그래 서내가 어제말 핸잖아"]
    spaced = [kiwi.space(one[0], reset_whitespace=True).strip() for one in (said, heard)]
    assert metrics.swer(said, heard).rate == pytest.approx(jiwer.wer(*spaced))


def test_intervals_take_whole_speakers():
    said = ["하나 둘 셋 넷"] * 12
    heard = ["하나 둘 셋 넷"] * 6 + ["하나 둘 셋 다섯"] * 6
    loose = metrics.wer(said, heard)
    tight = metrics.wer(said, heard, clusters=["a"] * 6 + ["b"] * 6)
    assert (loose.clusters, tight.clusters) == (12, 2)
    assert tight.high - tight.low > 3 * (loose.high - loose.low)
    assert loose.low <= loose.rate == 0.125 <= loose.high


def test_no_interval_reaches_below_an_error_rate_of_0():
    found = metrics.cer(["가나다라", "마바사아", "자"], ["가나다라", "마바사아", "차"])
    assert found.rate == pytest.approx(1 / 9)
    assert found.low == 0 < found.rate < found.high


def test_missing_kiwipiepy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    monkeypatch.setattr(texts, "_kiwi", texts._kiwi.__wrapped__)  # past the cache
    with pytest.raises(DependencyError, match=r"modalxai\[text\]"):
        metrics.swer("가", "나")


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        (["a"], ["a", "b"], "do not fit"),
        ([], [], "do not fit"),
        (["a", None], ["a", "b"], "no text"),
    ],
)
def test_what_cannot_be_compared_is_refused(said, heard, wrong):
    with pytest.raises(InputError, match=wrong):
        metrics.wer(said, heard)
