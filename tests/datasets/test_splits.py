from __future__ import annotations

import csv
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalxai.datasets.grouping import deal
from modalxai.datasets.splits import folds, random_split, split
from modalxai.errors import InputError

THREE = {"train": 0.8, "dev": 0.1, "test": 0.1}

corpora = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 3)), min_size=12, max_size=90
).filter(lambda rows: len({speaker for speaker, _ in rows}) >= 4)


def _pairs(rows):
    return [
        (f"u{row}", {"speaker": f"s{speaker}", "label": f"l{label}"})
        for row, (speaker, label) in enumerate(rows)
    ]


@settings(max_examples=60, deadline=None)
@given(corpora, st.integers(0, 99), st.booleans())
def test_every_sample_once_no_speaker_on_both_sides_and_sizes_near_those_asked_for(
    rows, seed, stratified
):
    pairs = _pairs(rows)
    found = split(pairs, THREE, seed=seed, stratify="label" if stratified else None)
    ids = [name for part in found.parts.values() for name in part]
    assert sorted(ids) == sorted(name for name, _ in pairs)
    speaker = {name: columns["speaker"] for name, columns in pairs}
    sides = [{speaker[name] for name in part} for part in found.parts.values()]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides))
    largest = max(Counter(speaker.values()).values())
    for name, share in THREE.items():
        over = len(found.parts[name]) - share * len(pairs)
        assert -2 * largest - 1e-6 <= over < largest + 1e-6
    assert found.leaks == ()
    assert found.leak == ""


@settings(max_examples=40, deadline=None)
@given(corpora, st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(rows, seed, mixer):
    pairs = _pairs(rows)
    mixed = list(pairs)
    mixer.shuffle(mixed)
    assert split(pairs, THREE, seed=seed, stratify="label") == split(
        mixed, THREE, seed=seed, stratify="label"
    )
    assert random_split(pairs, THREE, leak="papers", seed=seed) == random_split(
        mixed, THREE, leak="papers", seed=seed
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=10, max_size=120), st.integers(0, 99))
def test_without_groups_every_label_is_spread_within_two_samples(labels, seed):
    pairs = [(f"u{row}", {"label": label}) for row, label in enumerate(labels)]
    found = random_split(pairs, THREE, leak="papers", stratify="label", seed=seed)
    label = {name: columns["label"] for name, columns in pairs}
    for name, share in THREE.items():
        held = Counter(label[one] for one in found.parts[name])
        for kind, count in Counter(labels).items():
            assert abs(held[kind] - share * count) <= 2


def test_groups_are_stratified_nearly_as_well_as_any_assignment_could():
    generator = np.random.default_rng(0)
    shares = [0.6, 0.2, 0.2]
    for seed in range(5):
        counts = generator.integers(0, 6, (8, 3))
        groups = [f"g{g}" for g in range(8) for _ in range(counts[g].sum())]
        kinds = [k for g in range(8) for k in range(3) for _ in range(counts[g, k])]
        wanted = np.outer(shares, counts.sum(0))

        def cost(parts, counts=counts, wanted=wanted):
            held = np.stack([counts[np.array(parts) == part].sum(0) for part in range(3)])
            return ((held - wanted) ** 2 / wanted).sum()

        best = min(cost(parts) for parts in itertools.product(range(3), repeat=8))
        some = [cost(generator.choice(3, 8, p=shares)) for _ in range(200)]
        found = deal(groups, kinds, shares, seed, 0)
        ours = cost([found[f"g{g}"] for g in range(8)])
        assert ours <= best + 0.25 * (np.median(some) - best)


def test_folds_test_every_sample_once_in_each_repeat_and_repeats_differ():
    pairs = _pairs([(row % 10, row % 3) for row in range(100)])
    made = folds(pairs, 5, stratify="label", repeats=2, seed=3)
    assert len(made) == 10
    for repeat in (made[:5], made[5:]):
        tested = [name for one in repeat for name in one.parts["test"]]
        assert sorted(tested) == sorted(name for name, _ in pairs)
        for one in repeat:
            assert set(one.parts["train"]) | set(one.parts["test"]) == {name for name, _ in pairs}
            assert len(one.parts["test"]) == 20
    assert made[:5] != made[5:]
    assert {one.draw for one in made[5:]} == {1}
    single = folds(pairs, 10)
    assert all(len(one.parts["test"]) == 10 for one in single)


def test_no_part_stays_empty_where_there_are_just_enough_groups():
    pairs = _pairs([(row % 3, 0) for row in range(30)])
    found = split(pairs, THREE)
    assert {name: len(part) for name, part in found.parts.items()} == dict.fromkeys(THREE, 10)


def test_seeds_differ_also_where_group_sizes_do():
    pairs = _pairs([(speaker, 0) for speaker in range(8) for _ in range(speaker + 2)])
    assert len({split(pairs, {"a": 1, "b": 1}, seed=seed).parts["a"] for seed in range(8)}) > 3


def test_a_split_by_dialogue_that_shares_speakers_is_refused_unless_asked_for_by_name():
    pairs = [(f"u{row}", {"speaker": f"s{row % 3}", "dialogue": row // 6}) for row in range(60)]
    with pytest.raises(InputError, match="share speakers") as caught:
        split(pairs, THREE, by="dialogue")
    assert "share='speaker'" in str(caught.value)
    found = split(pairs, THREE, by="dialogue", share="speaker")
    leak = found.leaks[0]
    assert (leak.column, leak.shared, leak.values) == ("speaker", 3, 3)
    assert (leak.samples, leak.of) == (12, 12)
    assert "3 of 3 speakers are in more than one part" in found.leak
    dialogues = [{int(name[1:]) // 6 for name in part} for part in found.parts.values()]
    assert sum(map(len, dialogues)) == 10


def test_a_scripted_sentence_on_both_sides_is_refused_and_short_words_are_none():
    lines = ["I told you this would happen!", "Oh, really.", "We should go home right now", "Yes."]
    pairs = [(f"u{row}", {"speaker": f"s{row // 4}", "text": lines[row % 4]}) for row in range(40)]
    with pytest.raises(InputError, match="share sentences"):
        split(pairs, THREE)
    found = split(pairs, THREE, share="sentence")
    assert (found.leaks[0].column, found.leaks[0].values) == ("sentence", 2)
    short = [(name, columns) for name, columns in pairs if len(columns["text"].split()) < 4]
    assert split(short, THREE).leaks == ()


def test_the_same_sentence_in_other_letters_and_marks_is_the_same():
    texts = ["참 잘했다, 너 정말 대단하다!", "참 잘했다 너 정말 대단하다"]
    pairs = [(f"u{row}", {"speaker": f"s{row}", "text": texts[row]}) for row in range(2)]
    with pytest.raises(InputError, match="share sentences"):
        split(pairs, {"a": 1, "b": 1})


def test_keeping_speakers_and_sentences_together_ties_chains():
    # u0-u1 share a speaker, u1-u2 a sentence: the three are one group.
    columns = [("a", 1), ("a", 2), ("b", 2), ("c", 3), ("d", 4), ("d", None)]
    pairs = [
        (f"u{row}", {"speaker": who, "sentence": line}) for row, (who, line) in enumerate(columns)
    ]
    found = split(pairs, {"a": 1, "b": 1}, by=("speaker", "sentence"))
    assert any({"u0", "u1", "u2"} <= set(part) for part in found.parts.values())
    assert found.leaks == ()
    with pytest.raises(InputError, match="3 groups cannot fill 4 parts"):
        split(pairs, dict.fromkeys("abcd", 1), by=("speaker", "sentence"))


def test_the_papers_random_split_says_so_and_carries_its_leak():
    pairs = _pairs([(row % 4, row % 2) for row in range(100)])
    found = random_split(pairs, {"train": 8, "dev": 1, "test": 1}, leak="papers")
    assert {name: len(part) for name, part in found.parts.items()} == {
        "train": 80,
        "dev": 10,
        "test": 10,
    }
    assert found.leaks[0].column == "speaker"
    assert found.leak.startswith("random split, as in the papers")
    assert "4 of 4 speakers" in found.leak
    with pytest.raises(InputError, match="leaks"):
        random_split(pairs, THREE, leak="yes")
    with pytest.raises(TypeError):
        random_split(pairs, THREE)


def test_samples_of_a_leaking_split_carry_it_and_those_of_a_clean_one_are_as_they_were():
    samples = [{"id": f"u{i}", "speaker": f"s{i % 4}", "text": "네"} for i in range(20)]
    leaking = random_split(samples, THREE, leak="papers")
    test = leaking.part(samples, "test")
    assert test[0] == samples[int(test[0]["id"][1:])] | {"split_leak": leaking.leak}
    assert test.column("split_leak") == [leaking.leak] * len(test)
    assert "split_leak" not in samples[0]  # the user's own is untouched
    # A clean split of what leaked before, and another leak on top.
    train = leaking.part(samples, "train")
    clean = split(train, {"train": 3, "dev": 1})
    assert clean.leak == ""
    assert clean.part(train, "dev").column("split_leak")[0] == leaking.leak
    assert clean.part(train, "dev")[0]["split_leak"] == leaking.leak
    again = random_split(train, {"train": 1, "dev": 1}, leak="papers", seed=1)
    assert again.part(train, "dev")[0]["split_leak"] == f"{leaking.leak}. {again.leak}"
    plain = split(samples, {"train": 3, "test": 1}).part(samples, "test")
    assert plain[0] is samples[plain.rows[0]]


def test_unknown_speakers_are_admitted():
    pairs = [(f"u{row}", {"dialogue": row // 3}) for row in range(30)]
    found = split(pairs, THREE, by="dialogue")
    assert found.unchecked == ("speaker",)
    assert "whether parts share a speaker is unknown" in found.leak


class _Lazy:
    """A corpus that must not be read to be split."""

    def __init__(self, rows):
        self.rows, self.read = rows, []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.read.append(index)
        return {"id": self.rows[index][0], "audio": index, **self.rows[index][1]}

    def column(self, name):
        if name == "id":
            return [one for one, _ in self.rows]
        if name not in self.rows[0][1]:
            raise InputError("no column", expected="", got="", mend="")
        return [columns[name] for _, columns in self.rows]


def test_a_corpus_is_split_without_reading_recordings_and_so_are_its_parts():
    corpus = _Lazy(_pairs([(row % 10, row % 3) for row in range(60)]))
    found = split(corpus, THREE, stratify="label")
    assert found == split(corpus.rows, THREE, stratify="label")
    train = found.part(corpus, "train")
    assert train.column("speaker") == [
        dict(corpus.rows)[one]["speaker"] for one in train.column("id")
    ]
    again = folds(train, 3)
    assert corpus.read == []
    assert {train[row]["id"] for row in range(len(train))} == set(found.parts["train"])
    assert {name for one in again for name in one.parts["test"]} == set(found.parts["train"])


def test_samples_with_label_mappings_are_stratified_by_the_largest():
    samples = [
        {"id": f"u{row}", "speaker": f"s{row}", "labels": {"joy": row % 2, "anger": 1 - row % 2}}
        for row in range(40)
    ]
    found = split(samples, {"train": 3, "test": 1}, stratify="labels")
    assert len(found.parts["test"]) == 10
    assert sum(int(name[1:]) % 2 for name in found.parts["test"]) == 5


def test_mistakes_are_named():
    pairs = _pairs([(row % 6, 0) for row in range(30)])
    gaps = [*pairs, ("u99", {"label": "x"})]
    for arguments, keywords, wrong in [
        ((pairs, {"train": 1}), {}, "impossible sizes"),
        ((pairs, {"train": 1, "test": 0}), {}, "impossible sizes"),
        ((pairs, {"train": 1, "test": float("nan")}), {}, "impossible sizes"),
        (([*pairs, pairs[0]], THREE), {}, "cannot be split"),
        (([], THREE), {}, "cannot be split"),
        ((gaps, THREE), {}, "1 of 31 samples have no 'speaker'"),
        ((pairs, THREE), {"by": "session"}, "no 'session'"),
        ((pairs, THREE), {"by": ()}, "by nothing"),
        ((pairs, THREE), {"share": "voice"}, "nothing guards"),
        ((pairs, THREE), {"stratify": "mood"}, "no 'mood'"),
    ]:
        with pytest.raises(InputError, match=wrong):
            split(*arguments, **keywords)
    with pytest.raises(InputError, match="too few folds"):
        folds(pairs, 1)
    found = split(pairs, THREE)
    with pytest.raises(InputError, match="no part"):
        found.part([], "validation")
    with pytest.raises(InputError, match="are missing"):
        found.part([{"id": "u0"}], "train")


def test_melds_dialogues_split_once_its_shared_speakers_are_asked_for(speech_data):
    path = next((speech_data / "meld").rglob("train*.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = [
        (
            f"{row['Dialogue_ID']}_{row['Utterance_ID']}",
            {
                "speaker": row["Speaker"],
                "dialogue": row["Dialogue_ID"],
                "text": row["Utterance"],
                "label": row["Emotion"],
            },
        )
        for row in rows
    ]
    with pytest.raises(InputError, match="share speakers"):
        split(pairs, THREE, by="dialogue")
    found = split(pairs, THREE, by="dialogue", stratify="label", share=("speaker", "sentence"))
    label = {name: columns["label"] for name, columns in pairs}
    for name, share in THREE.items():
        held = Counter(label[one] for one in found.parts[name])
        for kind, count in Counter(label.values()).items():
            assert held[kind] == pytest.approx(share * count, rel=0.12)
    assert [leak.column for leak in found.leaks] == ["speaker", "sentence"]
