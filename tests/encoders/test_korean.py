from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.support import spm
from torch import nn
from typer.testing import CliRunner

from modalxai import plugins
from modalxai.cli import app
from modalxai.encoders import (
    DistilBertEncoder,
    HanBertEncoder,
    KlueEncoder,
    KoBertEncoder,
    TransformersTextEncoder,
)
from modalxai.encoders.byte_tokenizer import byte_tokenizer
from modalxai.encoders.conversion import convert
from modalxai.encoders.kobert_tokenizer import KoBertTokenizer
from modalxai.encoders.morphemes import Moran, Morpheme, align, clean, surface
from modalxai.errors import CheckpointError, DependencyError, InputError

SMALL = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
SENTENCE = "한국어 모델을 공유합니다."
PUBLISHED = [2, 4958, 6855, 2046, 7088, 1050, 7843, 54, 3]
CORPUS = [
    SENTENCE,
    "나는 오늘 12,345 원을 냈다, 그래서 3,000원이 남았다.",
    "참 잘했다. cafe Hello Good",
    "모델 모델을 공유 합니다 1,2,3 4,500 2020, 2021, 9, 9,",
] * 30


def bert(folder: Path, **values: Any) -> None:
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig(**SMALL | {"vocab_size": 300} | values)).save_pretrained(folder)


def published_pieces() -> list[spm.Piece]:
    """A vocabulary of 8002 in which the sentence's pieces have the published ids."""
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    pieces: list[spm.Piece] = [(f"filler{index}", -20.0, spm.NORMAL) for index in range(8002)]
    for index, name in enumerate(special):
        pieces[index] = (name, 0.0, spm.CONTROL if index else spm.UNKNOWN)
    names = ["▁한국", "어", "▁모델", "을", "▁공유", "합니다", "."]
    for index, name in zip(PUBLISHED[1:-1], names, strict=True):
        pieces[index] = (name, -5.0, spm.NORMAL)
    return pieces


def kobert(folder: Path) -> Path:
    bert(folder, vocab_size=8002, pad_token_id=1)
    (folder / "spiece.model").write_bytes(spm.write(published_pieces()))
    # What the published folder says, and what would give other ids.
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "XLNetTokenizer"}')
    return folder


def test_kobert_gives_the_published_ids(tmp_path: Path) -> None:
    encoder = KoBertEncoder.from_pretrained(kobert(tmp_path)).eval()
    inputs = encoder.collate([SENTENCE, "모델", None])
    assert inputs["input_ids"][0].tolist() == PUBLISHED
    assert inputs["input_ids"][1].tolist() == [2, 2046, 3] + [1] * 6
    assert not any("type" in key for key in inputs)
    pairs = zip(inputs["start"][0].tolist(), inputs["end"][0].tolist(), strict=True)
    pieces = [SENTENCE[a:b] for a, b in pairs]
    assert pieces == ["", "한국", "어", "모델", "을", "공유", "합니다", ".", ""]
    words = encoder.units(inputs, "word")
    assert (words.start[0].tolist(), words.end[0].tolist()) == ([0, 4, 8], [3, 7, 14])


@torch.no_grad()
def test_kobert_gives_what_bert_gives_whatever_shares_its_batch(tmp_path: Path) -> None:
    from transformers import BertModel

    encoder = KoBertEncoder.from_pretrained(kobert(tmp_path)).eval()
    expected = BertModel.from_pretrained(tmp_path).eval()(torch.tensor([PUBLISHED]))
    together = encoder(encoder.collate(["모델", SENTENCE, None, " ".join([SENTENCE] * 4)]))
    torch.testing.assert_close(
        together.values[1, :9], expected.last_hidden_state[0], atol=1e-5, rtol=1e-5
    )
    assert together.values[1, 9:].abs().sum() == 0


def published_tokens(processor: Any, text: str) -> list[str]:
    """The tokenization of both published KoBERT tokenizers, as their source tells it."""
    text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
    text = unicodedata.normalize("NFKD", text)
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    found: list[str] = []
    for piece in processor.encode(text, out_type=str):
        if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
            again = processor.encode(piece[:-1].replace("▁", ""), out_type=str)
            if piece[0] != "▁" and again[0][0] == "▁":
                again = again[1:] if len(again[0]) == 1 else [again[0][1:], *again[1:]]
            found += [*again, ","]
        else:
            found.append(piece)
    return found


@pytest.mark.parametrize("ordered", [False, True])
def test_kobert_cuts_as_the_published_tokenizers_do(tmp_path: Path, ordered: bool) -> None:
    model, order = tmp_path / "m.model", tmp_path / "vocab.txt"
    model.write_bytes(spm.train(CORPUS, 90))
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(model))
    names = [processor.id_to_piece(index) for index in range(len(processor))]
    assert any(name[-1] == "," and name[-2:-1].isdigit() for name in names), "the rule is tried"
    if ordered:
        names = [*names[:5], *reversed(names[5:]), "no piece"]
        order.write_text("\n".join(names), encoding="utf-8")
    tokenizer = KoBertTokenizer(model, order if ordered else None)
    ids = {name: index for index, name in enumerate(names)}
    others = [
        "  두  칸\t참 ﹗ 뷁",
        "café Ｈｅｌｌｏ 2020, no piece",
        "① ㈜ 1, 2",
        "참\u200b잘",
        "ㅋㅋㅋ 3,000",
        "“왜”",
        "``a'' [SEP]",
    ]
    for text in [*CORPUS[:4], *others]:
        expected = [ids.get(name, 0) for name in published_tokens(processor, text)]
        assert tokenizer(text)["input_ids"] == [2, *expected, 3], text


def test_a_saved_kobert_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = KoBertEncoder.from_pretrained(kobert(tmp_path / "published"), truncate=True)
    encoder.save_pretrained(tmp_path / "ours")
    again = KoBertEncoder.from_pretrained(tmp_path / "ours", max_length=5)
    assert encoder.collate([SENTENCE])["input_ids"][0].tolist() == PUBLISHED
    assert again.collate([SENTENCE])["input_ids"][0].tolist() == [*PUBLISHED[:4], 3]
    assert pickle.loads(pickle.dumps(again.collate))([SENTENCE])["input_ids"].shape == (1, 5)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(DependencyError, match="sentencepiece") as caught:
        KoBertEncoder.from_pretrained(tmp_path / "ours")
    assert "modalxai[text]" in caught.value.mend


def test_kobert_tokens_name_their_characters(tmp_path: Path) -> None:
    model = tmp_path / "m.model"
    model.write_bytes(spm.train(CORPUS, 90))
    tokenizer = KoBertTokenizer(model)

    def cut(text: str) -> list[tuple[str, str]]:
        return [(name, text[start:end]) for name, start, end in tokenizer.pieces(text)]

    # A lone mark belongs to what follows; accents and widths are the text's own.
    assert cut(" 참  é①") == [("▁", "참"), ("참", "참"), ("▁", "é"), ("e", "é"), ("1", "①")]
    assert cut("9, ``\u200b") == [("▁", "9"), ("9", "9"), (",", ","), ("▁", "``"), ('"', "``")]
    apart = unicodedata.normalize("NFD", "한국어 모델을")
    assert [unicodedata.normalize("NFC", part) for _, part in cut(apart)] == [
        part for _, part in cut("한국어 모델을")
    ]
    assert cut("\u200b") == []


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not the vocabulary of KoBERT"):
        KoBertEncoder.from_pretrained(tmp_path)
    model = tmp_path / "spiece.model"
    model.write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="cannot be read"):
        KoBertEncoder.from_pretrained(tmp_path)
    model.write_bytes(spm.train(CORPUS, 90, pad_piece="<pad>"))
    with pytest.raises(CheckpointError, match="special tokens are missing"):
        KoBertEncoder.from_pretrained(tmp_path)
    model.write_bytes(spm.train(CORPUS, 90))
    (tmp_path / "vocab.txt").write_text("one\ntwo")
    with pytest.raises(CheckpointError, match="special tokens are missing"):
        KoBertEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@torch.no_grad()
def test_klue_takes_bert_and_roberta(tmp_path: Path, kind: str) -> None:
    from transformers import AutoModel, BertTokenizer, RobertaConfig, RobertaForMaskedLM

    words = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", "참", "잘", "##했", "##다", "."]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=False)
    if kind == "bert":
        bert(tmp_path)
    else:
        RobertaForMaskedLM(RobertaConfig(**SMALL, vocab_size=300)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = KlueEncoder.from_pretrained(tmp_path, trainable="none").eval()
    inputs = encoder.collate(["참 잘했다.", "참", None])
    assert inputs["input_ids"].tolist() == [[0, 5, 6, 7, 8, 9, 2], [0, 5, 2] + [1] * 4, [1] * 7]
    model = AutoModel.from_pretrained(tmp_path).eval()
    for row, count in ((0, 7), (1, 3)):
        alone = model(inputs["input_ids"][row : row + 1, :count]).last_hidden_state[0]
        found = encoder(inputs).values[row, :count]
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)


def test_klue_refuses_another_architecture(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=300, dim=8, hidden_dim=8, n_layers=1, n_heads=2)
    DistilBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="KlueEncoder"):
        KlueEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "size", "pad"), [("klue", 32_000, 0), ("kobert", 8002, 1), ("hanbert", 54_000, 0)]
)
@torch.no_grad()
def test_the_name_alone_is_enough(name: str, size: int, pad: int) -> None:
    encoder = plugins.create("encoders", name).eval()
    assert (encoder.dim, encoder.model.config.vocab_size) == (768, size)
    inputs = encoder.collate(["참 잘했다.", "a", None])
    assert (inputs["input_ids"][2] == pad).all()
    assert encoder.model.embeddings.word_embeddings.padding_idx == pad
    assert encoder(inputs).values.isfinite().all()


# HanBERT: the example of the published README, with the library's marks.
README = (
    "나는 걸어가고 있는 중입니다. 나는걸어 가고있는 중입니다. 잘 분류되기도 한다. 잘 먹기도 한다."
)
TOKENS = (
    "나 ~~는 걸어가 ~~고 있 ~~는 중 ~~입 ~~니다 . 나 ##는걸 ##어 가 ~~고 ~있 ~~는 중 ~~입 ~~니다 . "
    "잘 분류 ~~되 ~~기 ~~도 한 ~~다 . 잘 먹 ~~기 ~~도 한 ~~다 ."
).split()
FORMS = " ".join(TOKENS).replace(" ##", "").split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(TOKENS))]


class Scripted:
    """An analyser that knows the README's answer, and else takes words as they are."""

    def __call__(self, text: str) -> list[Morpheme]:
        forms = FORMS if text == README else text.split()
        spans = align(text, [surface(form) for form in forms])
        return [Morpheme(form, *span) for form, span in zip(forms, spans, strict=True)]


@pytest.fixture
def hanbert(tmp_path: Path) -> Path:
    """A folder as it is published: a pickle, and no safetensors."""
    bert(tmp_path, vocab_size=len(VOCABULARY))
    weights = load_file(tmp_path / "model.safetensors")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "vocab_54k.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tmp_path


def test_hanbert_cuts_as_the_published_readme_shows(hanbert: Path) -> None:
    convert("hanbert", hanbert)
    encoder = HanBertEncoder.from_pretrained(hanbert, analyser=Scripted())
    inputs = encoder.collate([README, "잘", None])
    ids = inputs["input_ids"][0].tolist()
    assert [VOCABULARY[index] for index in ids] == ["[CLS]", *TOKENS, "[SEP]"]
    pairs = list(zip(inputs["start"][0].tolist(), inputs["end"][0].tolist(), strict=True))
    bare = [surface(token.removeprefix("##")) for token in TOKENS]
    assert [README[a:b] for a, b in pairs[1:-1]] == bare
    words = encoder.units(inputs, "word")
    spans = zip(words.start[0].tolist(), words.end[0].tolist(), strict=True)
    assert [README[int(a) : int(b)] for a, b in spans] == README.split()
    keep = torch.ones_like(words.mask)
    keep[0, 0] = False
    masked = encoder.remove(inputs, words, keep, "mask", 0)["input_ids"][0].tolist()
    assert masked == [2, 4, 4, *ids[3:]]


def test_a_marked_morpheme_in_pieces_names_its_letters(hanbert: Path) -> None:
    convert("hanbert", hanbert)
    answer = [Morpheme("~~는걸어", 1, 4), Morpheme("한음", 5, 6)]
    encoder = HanBertEncoder.from_pretrained(hanbert, analyser=lambda text: answer)
    inputs = encoder.collate(["나는걸어 함"])
    found = [VOCABULARY[index] for index in inputs["input_ids"][0].tolist()]
    assert found == ["[CLS]", "[UNK]", "[UNK]", "[SEP]"]
    answer[:] = [Morpheme("~~는는걸어", 1, 5), Morpheme("나는걸어", 5, 6)]
    (hanbert / "vocab_54k.txt").write_text(
        "\n".join([*VOCABULARY[:-1], "##는걸어"]), encoding="utf-8"
    )
    encoder = HanBertEncoder.from_pretrained(hanbert, analyser=lambda text: answer)
    inputs = encoder.collate(["나는는걸어함"])
    pairs = list(zip(inputs["start"][0].tolist(), inputs["end"][0].tolist(), strict=True))
    # The mark is no letter; a form that is not what was written covers all of its letters.
    assert pairs == [(0, 0), (1, 2), (2, 5), (5, 6), (5, 6), (0, 0)]


@torch.no_grad()
def test_hanbert_gives_what_bert_gives_and_comes_back(hanbert: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    convert("hanbert", hanbert)
    encoder = HanBertEncoder.from_pretrained(hanbert, analyser=Scripted(), truncate=True).eval()
    inputs = encoder.collate(["잘", README, None])
    expected = BertModel.from_pretrained(hanbert).eval()(inputs["input_ids"][1:2])
    torch.testing.assert_close(
        encoder(inputs).values[1], expected.last_hidden_state[0], atol=1e-5, rtol=1e-5
    )
    encoder.save_pretrained(tmp_path / "ours")
    assert not list((tmp_path / "ours").glob("*.so"))
    again = HanBertEncoder.from_pretrained(tmp_path / "ours", analyser=Scripted()).eval()
    assert torch.equal(again(again.collate([README])).values[0], encoder(inputs).values[1])
    collate = pickle.loads(pickle.dumps(again.collate))
    assert torch.equal(collate([README])["input_ids"], inputs["input_ids"][1:2])
    assert again.truncate


def test_hanbert_without_its_parts_says_what_is_missing(
    hanbert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="pickle") as caught:
        HanBertEncoder.from_pretrained(hanbert)
    assert "modalxai convert hanbert" in caught.value.mend
    convert("hanbert", hanbert)
    # One in the folder is not taken: a checkpoint must not bring code that runs.
    (hanbert / "libmoran4dnlp.so").write_bytes(b"no library")
    with pytest.raises(DependencyError, match="without a morpheme analyser"):
        HanBertEncoder.from_pretrained(hanbert)
    with pytest.raises(DependencyError, match="missing"):
        HanBertEncoder.from_pretrained(hanbert, analyser=hanbert / "other.so")
    monkeypatch.setenv("MODALXAI_HANBERT_LIBRARY", str(hanbert / "libmoran4dnlp.so"))
    with pytest.raises(DependencyError, match="cannot be used"):
        HanBertEncoder.from_pretrained(hanbert).collate(["잘"])
    (hanbert / "vocab_54k.txt").write_text("\n".join(VOCABULARY[1:]))
    with pytest.raises(CheckpointError, match="special tokens are missing"):
        HanBertEncoder.from_pretrained(hanbert)


@pytest.mark.parametrize("answer", [[], [Morpheme("잘", 0, 9)], [Morpheme("", 0, 1)]])
def test_an_analyser_that_errs_is_named(hanbert: Path, answer: list[Morpheme]) -> None:
    convert("hanbert", hanbert)
    encoder = HanBertEncoder.from_pretrained(hanbert, analyser=lambda text: answer)
    with pytest.raises(InputError, match="morphemes") as caught:
        encoder.collate([None, "잘"])
    assert caught.value.index == 1


STAND_IN = """
#include <string.h>
static int opened = 0;
void MorAn16_open_dbs(void) { opened = 1; }
/* Marks every morpheme but the first, and parts them at spaces. */
char *Moran4dnlp(char *in, char *out, int size) {
    char *to = out;
    if (!opened) return 0;
    for (; *in && to < out + size - 4; in++) {
        *to++ = *in;
        if (*in == ' ' && in[1] && in[1] != ' ') { *to++ = '~'; *to++ = '~'; }
    }
    *to = 0;
    return out;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_library_is_called_as_the_published_tokenizer_calls_it(tmp_path: Path) -> None:
    (tmp_path / "moran.c").write_text(STAND_IN)
    library = tmp_path / "libmoran4dnlp.so"
    build = ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "moran.c")]
    subprocess.run(build, check=True)
    moran = pickle.loads(pickle.dumps(Moran(library)))
    assert moran("참\t잘했다\x07 漢字") == [
        Morpheme("참", 0, 1),
        Morpheme("~~잘했다", 2, 5),
        Morpheme("~~漢", 7, 8),
        Morpheme("~~字", 8, 9),
    ]
    with pytest.raises(InputError, match="too long"):
        moran("참" * 40_000)


def test_cleaning_keeps_the_origins() -> None:
    text = "a\x00\t漢b\ufffd"
    cleaned, origins = clean(text)
    assert cleaned == "a  漢 b"
    assert [text[at] for at in origins] == ["a", "\t", "漢", "漢", "漢", "b"]


@pytest.mark.parametrize(
    ("text", "forms", "expected"),
    [
        ("잘했다 참", ["잘", "~~했", "~~다", "참"], [(0, 1), (1, 2), (2, 3), (4, 5)]),
        # A contraction taken apart: its parts share the letter.
        ("했다", ["하", "~~였", "~~다"], [(0, 1), (0, 1), (1, 2)]),
        ("가 나", ["가", "~~이"], [(0, 1), (2, 3)]),
        ("가", ["가", "~~이"], [(0, 1), (0, 1)]),
        ("음~ 네", ["음", "~", "네"], [(0, 1), (1, 2), (3, 4)]),
    ],
)
def test_morphemes_find_their_letters(
    text: str, forms: list[str], expected: list[tuple[int, int]]
) -> None:
    assert align(text, [surface(form) for form in forms]) == expected


def test_conversion_keeps_every_weight(hanbert: Path) -> None:
    done = CliRunner().invoke(app, ["convert", "hanbert", str(hanbert)])
    assert done.exit_code == 0, done.output
    assert "model.safetensors" in done.stdout
    before = torch.load(hanbert / "pytorch_model.bin", weights_only=True)
    after = load_file(hanbert / "model.safetensors")
    assert sorted(before) == sorted(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    done = CliRunner().invoke(app, ["convert", "hanbert", str(hanbert)])
    assert done.exit_code == 2
    assert "there already" in done.stderr


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_malicious_pickle_is_refused_and_not_run(hanbert: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    for evil in ({"a": Evil(mark)}, Evil(mark)):
        torch.save(evil, hanbert / "pytorch_model.bin")
        done = CliRunner().invoke(app, ["convert", "hanbert", str(hanbert)])
        assert done.exit_code == 2
        assert "is refused" in done.stderr
    (hanbert / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(CheckpointError, match="is refused"):
        convert("hanbert", hanbert)
    assert not mark.exists()
    assert not (hanbert / "model.safetensors").exists()
    pickle.loads((hanbert / "pytorch_model.bin").read_bytes())
    assert mark.exists(), "the pickle does harm where it is run"


@pytest.mark.parametrize("content", [[1], {"a": 1}, {3: torch.zeros(1)}])
def test_what_is_no_weights_is_refused(hanbert: Path, content: Any) -> None:
    torch.save(content, hanbert / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="something else than weights"):
        convert("hanbert", hanbert)
    (hanbert / "pytorch_model.bin").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="is refused"):
        convert("hanbert", hanbert)
    (hanbert / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match="holds no"):
        convert("hanbert", hanbert)


# Weighted layers, for every text encoder.


def weighted(**settings: Any) -> TransformersTextEncoder:
    from transformers import BertConfig

    config = BertConfig(**SMALL, vocab_size=300)
    return TransformersTextEncoder.from_config(config, layers="weighted", **settings)


@torch.no_grad()
def test_weighted_layers_are_a_softmax_over_all_hidden_states(tmp_path: Path) -> None:
    encoder = weighted().eval()
    inputs = encoder.collate(["abc", "abcdef", None])
    states = encoder.model(inputs["input_ids"][1:2], output_hidden_states=True).hidden_states
    assert encoder.mix is not None
    assert len(states) == 4
    torch.testing.assert_close(encoder(inputs).values[1], torch.stack(states).mean(0)[0])
    encoder.mix.weights.copy_(torch.tensor([1.0, -2.0, 0.5, 0.1]))
    shares = encoder.mix.weights.exp() / encoder.mix.weights.exp().sum()
    expected = sum(share * state[0] for share, state in zip(shares, states, strict=True))
    torch.testing.assert_close(encoder(inputs).values[1], expected)
    assert encoder(inputs).values[2].abs().sum() == 0
    encoder.save_pretrained(tmp_path)
    again = TransformersTextEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(again(inputs).values, encoder(inputs).values)
    last = TransformersTextEncoder.from_pretrained(tmp_path, layers="last").eval()
    torch.testing.assert_close(last(inputs).values[1], states[-1][0])
    record = json.loads((tmp_path / "modalxai.json").read_text())
    record["layer_weights"].pop()
    (tmp_path / "modalxai.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="layer_weights"):
        TransformersTextEncoder.from_pretrained(tmp_path)


def test_layer_weights_learn_where_the_encoder_is_frozen() -> None:
    encoder = weighted(trainable="none").train()
    learning = [name for name, value in encoder.named_parameters() if value.requires_grad]
    assert learning == ["mix.weights"]
    encoder(encoder.collate(["abc"])).values[..., 0].sum().backward()
    assert encoder.mix is not None
    assert encoder.mix.weights.grad is not None
    assert encoder.mix.weights.grad.abs().min() > 0
    assert not any(module._forward_pre_hooks for module in encoder.modules())
    assert not any(m.training for m in encoder.model.modules() if isinstance(m, nn.Dropout))


def test_an_unknown_choice_of_hidden_states_is_refused() -> None:
    from transformers import AlbertConfig, DistilBertConfig

    with pytest.raises(InputError, match="unknown choice of layers"):
        DistilBertEncoder(
            DistilBertConfig(vocab_size=300, dim=8, n_heads=2, n_layers=1),
            layers="first",  # type: ignore[arg-type]
        )
    with pytest.raises(InputError, match="not known one by one"):
        TransformersTextEncoder(
            AlbertConfig(**SMALL, vocab_size=300, embedding_size=8), layers="weighted"
        )
