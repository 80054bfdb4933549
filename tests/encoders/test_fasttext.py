from __future__ import annotations

import base64
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modalxai import masking
from modalxai.encoders import fasttext_files
from modalxai.encoders.fasttext import BEGIN, MASK, UNKNOWN, WORD, FastTextEncoder, jamo
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.types import Spans

KOREAN = "참 잘했다."
TEXTS = [KOREAN, None, "so, they said “don't”... and 오늘 날씨가 좋다 " * 3, "x", "..."]
VARIANTS: dict[str, dict[str, Any]] = {
    "alone": {},
    "cnn-transformer": {"sequence": "cnn-transformer"},
    "attention-gru": {"sequence": "attention-gru", "sequence_layers": 2},
    "jamo": {"korean": "jamo", "lowercase": True, "shortest": 1, "longest": 3},
    "words only": {"vocabulary": ["참", "said", "."], "buckets": 0},
}

# The first 183 bytes that fastText 0.9.2 itself wrote for five words, nine buckets and n-grams of
# two to four characters: up to the 14 x 2 matrix, in whose place the test puts squares over eight.
HEAD = base64.b64decode(
    "uhZPLwwAAAACAAAAAQAAAAEAAAABAAAABQAAAAEAAAACAAAAAgAAAAkAAAACAAAABAAAAGQAAAAtQxzr"
    "4jYaPwUAAAAFAAAAAAAAAFkAAAAAAAAA//////////9oaQAaAAAAAAAAAABuYcOvdmUAFgAAAAAAAAAA"
    "7J6Y7ZaI64ukABUAAAAAAAAAAOywuAALAAAAAAAAAAA8L3M+AAkAAAAAAAAAAAAOAAAAAAAAAAIAAAAA"
    "AAAA"
)
SQUARES = np.arange(28, dtype="<f4").reshape(14, 2) ** 2 / 8
# What fastText 0.9.2 answers for that file: get_subwords and get_word_vector.
PUBLISHED = {
    "참": ((3, 8, 11, 11), (39.375, 43.625)),
    "잘했다": ((2, 11, 9, 6, 11, 13, 13, 6, 13, 5), (46.55, 51.125)),
    "잘했어": ((11, 9, 5, 11, 8, 13, 12, 8, 8), (47.388889, 52.236111)),
    "naïve": ((1, 9, 7, 13, 10, 7, 13, 9, 13, 10, 6, 12, 13, 6, 13, 12), (52.0625, 57.0)),
    "😀": ((9, 13, 10), (58.333336, 63.791668)),
    "</s>": ((4,), (8.0, 10.125)),
}


def make(**settings: Any) -> FastTextEncoder:
    torch.manual_seed(0)
    return FastTextEncoder(**{"dim": 8, "width": 6, "buckets": 500} | settings).eval()


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    (tmp_path / "model.bin").write_bytes(HEAD + SQUARES.tobytes() + bytes(57))
    return tmp_path / "model.bin"


def vectors(encoder: FastTextEncoder, text: str) -> Tensor:
    """What the table gives for each token, begin mark left out."""
    return encoder.words(encoder.collate([text]))[0, 1:].detach()


def test_a_file_of_fasttext_gives_its_rows_and_its_vectors(binary: Path) -> None:
    encoder = FastTextEncoder.from_pretrained(binary, dim=4)
    for word, (rows, vector) in PUBLISHED.items():
        assert encoder.collate.rows(word) == rows
        torch.testing.assert_close(vectors(encoder, word), torch.tensor([vector]))
    both = vectors(encoder, "참 잘했어")
    expected = torch.tensor([PUBLISHED["참"][1], PUBLISHED["잘했어"][1]])
    torch.testing.assert_close(both, expected)


def test_the_hash_is_the_signed_one() -> None:
    assert fasttext_files.fnv1a(b"") == 2_166_136_261
    assert fasttext_files.fnv1a(b"foobar") == 0xBF9CF968  # the published test vector
    found = 2_166_136_261
    for byte in np.frombuffer("참".encode(), dtype=np.int8).astype(np.int64):
        found = (found ^ (int(byte) % 2**32)) * 16_777_619 % 2**32
    assert fasttext_files.fnv1a("참".encode()) == found


def test_ngrams_are_every_stretch_between_the_marks() -> None:
    marked = "<ab다>"
    stretches = [marked[i:j] for i in range(5) for j in range(i + 1, 6) if j - i <= 3]
    stretches = [stretch for stretch in stretches if stretch not in ("<", ">")]
    expected = sorted(fasttext_files.fnv1a(stretch.encode()) % 97 for stretch in stretches)
    assert sorted(fasttext_files.buckets("ab다", 1, 3, 97)) == expected


def test_a_text_file_gives_its_vectors_and_one_for_all_unknown_words(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text("3 2\n참 0.5 -1\n. 2 3 \nsaid 4e-1 5\n", encoding="utf-8")
    encoder = FastTextEncoder.from_pretrained(path, dim=4, trainable=1)
    found = vectors(encoder, "참. said xyz 참 abc")
    expected = torch.tensor([[0.5, -1], [2, 3], [0.4, 5], [0, 0], [0.5, -1], [0, 0]])
    unknown = encoder.words.marks[UNKNOWN].detach()
    expected[[3, 5]] = unknown
    torch.testing.assert_close(found, expected)
    assert unknown.abs().sum() > 0
    assert not encoder.words.table.requires_grad
    assert encoder.sequence.entry.weight.requires_grad
    few = FastTextEncoder.from_pretrained(path, limit=1)
    assert few.settings()["vocabulary"] == ["참"]


def test_a_saved_encoder_of_a_file_comes_back(binary: Path, tmp_path: Path) -> None:
    encoder = FastTextEncoder.from_pretrained(binary, dim=4, sequence="attention-gru").eval()
    encoder.save_pretrained(tmp_path / "own")
    again = FastTextEncoder.from_pretrained(tmp_path / "own").eval()
    inputs = encoder.collate(TEXTS)
    assert torch.equal(again(inputs).values, encoder(inputs).values)
    with pytest.raises(InputError, match="options for a saved encoder"):
        FastTextEncoder.from_pretrained(tmp_path / "own", dim=4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.bin", b"no model at all, but long enough to be read as one, had it been one ......"),
        ("b.bin", HEAD + bytes(50)),
        ("c.bin", HEAD[:100]),
        ("d.bin", HEAD[:166] + b"\x01" + HEAD[167:] + SQUARES.tobytes()),
        ("e.bin", b""),
        ("f.vec", b"2 2\na 1 2\n"),
        ("g.vec", b"1 2\na 1 2 x\n"),
        ("h.vec", b""),
        ("i.vec", b"\x1f\x8b\x08\x00"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="no file of fastText vectors"):
        FastTextEncoder.from_pretrained(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        FastTextEncoder.from_pretrained(tmp_path / "none.bin")
    with pytest.raises(InputError, match="not there"):
        FastTextEncoder.from_pretrained(tmp_path / "none.bin", limit=3)


def test_a_syllable_is_three_letters() -> None:
    names = {
        "HANGUL CHOSEONG ": "HANGUL LETTER ",
        "HANGUL JUNGSEONG ": "HANGUL LETTER ",
        "HANGUL JONGSEONG ": "HANGUL LETTER ",
    }
    for place in range(0, 11_172, 7):
        letters = []
        for letter in unicodedata.normalize("NFD", chr(0xAC00 + place)):
            name = unicodedata.name(letter)
            for old, new in names.items():
                name = name.replace(old, new)
            letters.append(unicodedata.lookup(name))
        expected = "".join(letters) + "e" * (3 - len(letters))
        assert jamo(chr(0xAC00 + place)) == expected


def test_loose_letters_and_capitals_are_looked_up_as_the_table_has_them() -> None:
    encoder = make(lowercase=True)
    loose = unicodedata.normalize("NFD", "잘했다")
    assert len(loose) == 8
    assert encoder.collate.rows(loose) == encoder.collate.rows("잘했다")
    assert encoder.collate.rows("SAID") == encoder.collate.rows("said")
    assert make().collate.rows("SAID") != make().collate.rows("said")
    spans = encoder.units(encoder.collate([f"참 {loose}."]), "token")
    assert spans.end[0].tolist() == [1, 10, 11]  # characters of the raw text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (KOREAN, ["참", "잘했다", "."]),
        (" “don't” 3.5%", ["“", "don't", "”", "3.5", "%"]),
        ("...", [".", ".", "."]),
        ("well-known :) ok", ["well-known", ":)", "ok"]),
        ("ok\u3000go\n", ["ok", "go"]),
    ],
)
def test_tokens_are_words_without_the_marks_at_their_ends(text: str, tokens: list[str]) -> None:
    encoder = make(vocabulary=[":)"])
    inputs = encoder.collate([text])
    assert inputs["input_ids"][0].tolist() == [BEGIN, *[WORD] * len(tokens)]
    start, end = inputs["start"][0, 1:].tolist(), inputs["end"][0, 1:].tolist()
    assert [text[a:b] for a, b in zip(start, end, strict=True)] == tokens
    words = encoder.units(inputs, "word")
    found = [text[int(a) : int(b)] for a, b in zip(words.start[0], words.end[0], strict=True)]
    assert found == text.split()


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_text_alone_is_its_row_of_a_batch(name: str) -> None:
    encoder = make(**VARIANTS[name])
    together = encoder(encoder.collate(TEXTS))
    for row, text in enumerate(TEXTS):
        alone = encoder(encoder.collate([text]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count
        assert (count == 0) == (text is None)
        assert together.values[row, count:].abs().sum() == 0
        torch.testing.assert_close(
            together.values[row, :count], alone.values[0, :count], rtol=1e-5, atol=1e-6
        )
        assert torch.equal(together.spans.end[row, :count], alone.spans.end[0, :count])


def test_rows_of_different_batches_can_be_joined() -> None:
    encoder = make()
    one, two = encoder.collate(TEXTS[:2]), encoder.collate(TEXTS[2:])
    joined = {key: masking.concatenate([one[key], two[key]]) for key in one}
    whole = encoder.collate(TEXTS)
    assert all(torch.equal(joined[key], whole[key]) for key in whole)


def test_padding_and_missing_texts_give_no_gradient() -> None:
    encoder = make(sequence="cnn-transformer")
    inputs = encoder.collate(["a", None, "one two three"])
    tables = []
    for values in (inputs, {**inputs, "rows": torch.where(inputs["rows"] > 0, inputs["rows"], 7)}):
        encoder.zero_grad()
        encoder(values).values.square().sum().backward()
        tables.append(encoder.words.table.grad.clone())
    touched = set(tables[0].abs().sum(1).nonzero().flatten().tolist())
    asked = {row for word in ("a", "one", "two", "three") for row in encoder.collate.rows(word)}
    assert touched == asked
    torch.testing.assert_close(tables[0], tables[1])  # padded rows of the table are never read


def test_empty_equals_the_text_without_the_word() -> None:
    encoder = make(sequence="attention-gru")
    inputs = encoder.collate(["one two, three", None])
    before = {key: value.clone() for key, value in inputs.items()}
    units = encoder.units(inputs, "word")
    keep = torch.ones_like(units.mask)
    keep[0, 1] = False
    found = encoder(encoder.remove(inputs, units, keep, "empty"))
    expected = encoder(encoder.collate(["one three"]))
    assert found.mask[0].tolist() == [True, True, True, False, False]
    torch.testing.assert_close(found.values[0, :3], expected.values[0])
    assert all(torch.equal(inputs[key], before[key]) for key in before)
    nothing = encoder.remove(inputs, units, torch.zeros_like(keep), "empty")
    assert nothing["attention_mask"].sum(1).tolist() == [1, 0]  # the begin mark is left
    assert bool(encoder(nothing).values.isfinite().all())


def test_mask_hides_the_word_and_keeps_the_length() -> None:
    encoder = make()
    texts = ["one two, three", "one so: three"]
    masked = []
    for text in texts:
        inputs = encoder.collate([text])
        start = torch.tensor([[4.0, 0.0]])
        end = torch.tensor([[8.0 if text == texts[0] else 7.0, 0.0]])
        units = Spans(start, end, "characters")  # not the encoder's own, and one without extent
        keep = torch.zeros(1, 2, dtype=torch.bool)
        removed = encoder.remove(inputs, units, keep, "mask")
        assert removed["input_ids"][0].tolist() == [BEGIN, WORD, MASK, MASK, WORD]
        masked.append(encoder(removed).values)
    assert torch.equal(masked[0], masked[1])


def test_wrong_removals_are_refused() -> None:
    encoder = make()
    inputs = encoder.collate([KOREAN])
    units = encoder.units(inputs, "word")
    keep = torch.ones_like(units.mask)
    with pytest.raises(RemovalError):
        encoder.remove(inputs, units, keep, "silence")
    with pytest.raises(RemovalError):
        encoder.units(inputs, "byte")
    with pytest.raises(InputError):
        encoder.remove(inputs, units, keep.float(), "mask")


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_saving_and_loading_is_exact(name: str, tmp_path: Path) -> None:
    encoder = make(**VARIANTS[name])
    encoder.save_pretrained(tmp_path)
    again = FastTextEncoder.from_pretrained(tmp_path).eval()
    assert again.settings() == encoder.settings()
    assert pickle.loads(pickle.dumps(again.collate)) == encoder.collate
    inputs = encoder.collate(TEXTS)
    assert torch.equal(again(inputs).values, encoder(inputs).values)


def test_every_layer_learns() -> None:
    encoder = make(sequence="attention-gru", vocabulary=["one"]).train()
    inputs = encoder.collate(["one two three four"])
    values = encoder(inputs).values
    (values * torch.randn_like(values)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_bad_texts_are_named() -> None:
    for bad in ("  ", 3, "\ud800"):
        with pytest.raises(InputError) as caught:
            make().collate([None, "a", bad])  # type: ignore[list-item]
        assert caught.value.index == 2
    with pytest.raises(InputError, match="empty batch"):
        make().collate([])


@pytest.mark.parametrize(
    "settings",
    [
        {"buckets": 0},
        {"buckets": -1},
        {"shortest": 0},
        {"shortest": 7},
        {"width": 0},
        {"vocabulary": "one"},
        {"korean": "letters"},
        {"sequence": "gru"},
        {"trainable": 3},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(**settings)
