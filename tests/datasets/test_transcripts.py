from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalxai.datasets.transcripts import MARKS, TAGS, clean, normalise, tags


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("참 잘했다.", "참 잘했다."),
        ("c/ 참 잘했다. n/", "참 잘했다."),
        ("n/참c/ 잘했다b/.", "참 잘했다 ."),
        ("N/", ""),
        ("u/ l/ b/ o/ s/", ""),
        ("어/ 그래서", "어 그래서"),
        ("어/, 그래서", "어, 그래서"),
        ("그래* 그+ 그+ 그래서", "그래 그 그 그래서"),
        ("그+그래서 잘*.", "그 그래서 잘."),
        ("n/n/ 어/ c/", "어"),
        ("plan/ L/ C/ TV n/", "plan L C TV"),
        ("버스n/ 타고", "버스 타고"),
        ("24/7", "24 7"),
        ("(웃음) 좋아", "(웃음) 좋아"),
        ("  참   잘했다 \n", "참 잘했다"),
        ("", ""),
    ],
)
def test_tags_go_and_words_stay(written: str, said: str) -> None:
    assert clean(written) == said


def test_fillers_and_brackets_go_when_asked() -> None:
    assert clean("어/ 음*/ 그래서 l/ 어/", fillers="drop") == "그래서"
    assert clean("어 그래서", fillers="drop") == "어 그래서"
    assert clean("(웃음) 좋아(하하) 그래", brackets="drop") == "좋아 그래"


def test_tags_are_counted_by_case() -> None:
    assert tags("n/ N/ n/ 어/ 그+ 그* plan/") == {"n/": 2, "N/": 1, "*": 1, "+": 1, "/": 2}
    assert tags("참 잘했다.") == {}


def test_composed_and_decomposed_hangul_are_equal() -> None:
    assert clean(unicodedata.normalize("NFD", "참 잘했다")) == "참 잘했다"
    assert normalise("각") == "각"


WORD = st.one_of(
    st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=6),
    st.text("abcnulosNTV", min_size=2, max_size=6),
    st.sampled_from(["3시", "c", "n", "N", "좋아?", "네,"]),
)


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(TAGS), max_size=3), WORD, st.sampled_from(["", *MARKS, "*/"])
        ),
        max_size=8,
    ),
    st.sampled_from(["NFC", "NFD"]),
)
def test_no_word_is_ever_lost_or_gained(
    pieces: list[tuple[list[str], str, str]], form: str
) -> None:
    # A lone letter with a slash is a tag: nobody can tell such a filler word from it.
    pieces = [(t, w, "" if w in "cnN" and "/" in m else m) for t, w, m in pieces]
    written = " ".join(" ".join([*told, word + mark]) for told, word, mark in pieces)
    words = [word for _, word, _ in pieces]
    assert clean(unicodedata.normalize(form, written)).split() == words
    count = tags(written)
    for tag in TAGS:
        assert count.get(tag, 0) == sum(told.count(tag) for told, _, _ in pieces)


@given(st.text(st.sampled_from("가나 cnNulb*+/()."), max_size=30))
def test_cleaning_twice_changes_nothing_and_leaves_no_mark(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert not set(once) & set(MARKS)
    # Every Hangul letter is still there, in order.
    assert [c for c in once if c in "가나"] == [c for c in text if c in "가나"]
