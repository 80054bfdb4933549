"""Translators: what they are told, what they keep, what they refuse."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import endpoint_server as web
from tests.support import writers

from modalxai import plugins
from modalxai.datasets import client, transcribe_corpus, translate_corpus
from modalxai.datasets.transcribers import SimulatedTranscriber
from modalxai.datasets.translators import (
    EndpointTranslator,
    Line,
    Prompt,
    TransformersTranslator,
)
from modalxai.errors import AccessError, CheckpointError, InputError, PluginError, RequestError

KEY = "sk-very-secret-0123456789"


class Upper:
    """Writes a line in capitals, and remembers what it saw."""

    name = "upper"
    batch_size = 3
    settings: dict[str, Any] = {}  # noqa: RUF012 # never changed

    def __init__(self, before: int = 2, after: int = 1) -> None:
        self.context = (before, after)
        self.seen: list[Line] = []

    def translate(self, lines: Sequence[Line]) -> list[str]:
        self.seen += lines
        return [line.text.upper() for line in lines]


def dialogue(count: int = 5, name: str = "d") -> list[dict[str, Any]]:
    return [
        {
            "id": f"{name}{i}",
            "text": f"{name} line {i}",
            "dialogue": name,
            "turn": i,
            "speaker": "AB"[i % 2],
        }
        for i in range(count)
    ]


def texts(lines: Sequence[Line]) -> list[str]:
    return [line.text for line in lines]


# the lines around a line


def test_each_line_comes_with_its_neighbours_in_spoken_order() -> None:
    translator = Upper()
    made = translate_corpus(translator, dialogue())
    assert made.values == tuple(f"D LINE {i}" for i in range(5))
    second = translator.seen[2]
    assert (second.text, second.speaker) == ("d line 2", "A")
    assert second.before == (Line("d line 0", "A"), Line("d line 1", "B"))
    assert second.after == (Line("d line 3", "B"),)
    assert translator.seen[0].before == translator.seen[4].after == ()


def test_neighbours_are_found_by_number_not_by_place() -> None:
    corpus = [*dialogue(12, "d"), *dialogue(7, "e")]
    for sample in corpus:
        sample["turn"] = str(sample["turn"])  # a csv file's: "10" comes after "9"
    straight = Upper()
    expected = dict(
        zip([s["id"] for s in corpus], translate_corpus(straight, corpus).values, strict=True)
    )
    shuffled = random.Random(0).sample(corpus, len(corpus))
    translator = Upper()
    made = translate_corpus(translator, shuffled)
    assert {s["id"]: v for s, v in zip(shuffled, made.values, strict=True)} == expected
    assert sorted(translator.seen) == sorted(straight.seen)
    asked = [line.text.split() for line in translator.seen]
    for name in "de":  # asked in the order of the dialogue
        turns = [int(turn) for found, _, turn in asked if found == name]
        assert turns == sorted(turns)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.booleans()), min_size=1, max_size=14),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_context_is_what_a_plain_search_finds(
    rows: list[tuple[str | None, bool]], before: int, after: int
) -> None:
    corpus = [
        {"id": f"s{i}", "text": f"t{i}" if said else None, "dialogue": name, "turn": 2.5 * i}
        for i, (name, said) in enumerate(rows)
    ]
    translator = Upper(before, after)
    translate_corpus(translator, corpus)
    found = {line.text: line for line in translator.seen}
    assert len(found) == sum(said for _, said in rows)
    for i, (name, said) in enumerate(rows):
        if not said:
            continue
        same = [j for j, (other, also) in enumerate(rows) if other == name and also and name]
        line = found[f"t{i}"]
        earlier = [j for j in same if j < i]
        assert texts(line.before) == [f"t{j}" for j in earlier[max(0, len(earlier) - before) :]]
        assert texts(line.after) == [f"t{j}" for j in same if j > i][:after]


def test_a_corpus_that_knows_further_lines_shows_them() -> None:
    class Corpus(list[dict[str, Any]]):
        def context(self, index: int, before: int, after: int) -> Any:
            said = [Line(f"left out {i}", "C") for i in range(9)] + [Line("", "C")]
            found = type("Context", (), {})()
            found.preceding, found.following = tuple(said[:before]), tuple(said[-after:])
            return found

    translator = Upper(2, 2)
    translate_corpus(translator, Corpus(dialogue(1)))
    (line,) = translator.seen
    assert texts(line.before) == ["left out 0", "left out 1"]
    assert texts(line.after) == ["left out 8"]


@pytest.mark.parametrize("turns", [[0, None], [0, "two"], [1, 1], [1, "1.0"], [0, float("nan")]])
def test_a_dialogue_without_an_order_is_refused(turns: list[Any]) -> None:
    corpus = dialogue(2)
    for sample, turn in zip(corpus, turns, strict=True):
        sample["turn"] = turn
    with pytest.raises(InputError, match="sample 'd1' has no place in dialogue 'd'"):
        translate_corpus(Upper(), corpus)


def test_lines_without_a_dialogue_are_translated_alone() -> None:
    translator = Upper()
    corpus = [{"id": "a", "text": "one"}, {"id": "b", "text": None}, {"id": "c", "text": "  "}]
    made = translate_corpus(translator, corpus)
    assert translator.seen == [Line("one")]
    assert made.values == ("ONE", None, None)
    assert [failure.id for failure in made.failures] == ["c"]
    assert "empty transcript" in made.failures[0].reason
    assert made[1] == {"id": "b", "text": None, "translation": None}


def test_what_was_heard_can_be_translated() -> None:
    corpus = dialogue(3)
    heard = transcribe_corpus(SimulatedTranscriber(cer=0.3), corpus)
    translator = Upper()
    made = translate_corpus(translator, heard, text="recognised", column="english")
    assert [made[i]["english"] for i in range(3)] == [str(text).upper() for text in heard.values]
    assert texts(translator.seen[1].before) == [heard.values[0]]
    assert set(made[0]) == {*corpus[0], "recognised", "english"}


def test_another_context_is_another_question(tmp_path: Path) -> None:
    corpus = dialogue()
    assert translate_corpus(Upper(1, 0), corpus, cache=tmp_path).asked == 5
    assert translate_corpus(Upper(1, 0), corpus, cache=tmp_path).asked == 0
    corpus[2]["text"] = "changed"
    assert translate_corpus(Upper(1, 0), corpus, cache=tmp_path).asked == 2  # it, and the next
    alone = Upper(0, 0)
    alone.name = "alone"
    assert translate_corpus(alone, corpus, cache=tmp_path).asked == 5
    for sample in corpus:
        sample["speaker"] = "Z"  # which this one does not read
    assert translate_corpus(alone, corpus, cache=tmp_path).asked == 0
    assert translate_corpus(Upper(1, 0), corpus, cache=tmp_path).asked == 5


# the prompt


def test_the_prompt_shows_the_line_in_its_dialogue() -> None:
    line = Line("응.", "B", (Line("밥 먹었어?", "A"), Line("…")), (Line("{braces}", "A"),))
    system, user = Prompt().messages(line, "Korean", "English")
    assert system["role"], user["role"] == ("system", "user")
    assert "from Korean to English" in system["content"]
    assert user["content"] == (
        "Lines before:\nA: 밥 먹었어?\n…\n\nThe line to translate:\n응.\n\n"
        "Lines after:\nA: {braces}"
    )
    own = Prompt(system="{{json}} {speaker}", user="{line}")
    assert [m["content"] for m in own.messages(line, "a", "b")] == ["{json} B", "응."]


@pytest.mark.parametrize(
    "prompt",
    [
        {"user": "no place"},
        {"user": "{line} {lines}"},
        {"user": "{line.__class__}"},
        {"user": "{line!r}"},
        {"user": "{line:>9}"},
        {"user": "{}{line}"},
        {"user": "{0}{line}"},
        {"user": "{line"},
        {"user": "}{line}"},
        {"system": "{key}"},
        {"user": None},
    ],
)
def test_a_prompt_that_cannot_be_filled(prompt: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="prompt"):
        Prompt(**prompt)


# an endpoint


def chat(text: Any, reason: str | None = "stop") -> Any:
    return {"choices": [{"message": {"content": text}, "finish_reason": reason}]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[web.Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(client, "sleep", lambda seconds: None)
    with web.serving(web.says(chat(" Yes. \n"))) as found:
        yield found


def over(server: web.Server, **settings: Any) -> EndpointTranslator:
    chosen = {"model": "m", "source": "Korean", "target": "English", "retries": 1} | settings
    return EndpointTranslator(base_url=server.url, **chosen)


def test_a_chat_model_is_sent_the_line_and_its_context(server: web.Server) -> None:
    made = translate_corpus(over(server, before=1, after=2), dialogue())
    assert made.values == ("Yes.",) * 5
    request = server.requests[2]
    assert request.path == "/v1/chat/completions"
    assert request.headers["content-type"] == "application/json"
    line = Line(
        "d line 2", "A", (Line("d line 1", "B"),), (Line("d line 3", "B"), Line("d line 4", "A"))
    )
    assert request.json == {
        "model": "m",
        "messages": Prompt().messages(line, "Korean", "English"),
        "temperature": 0.0,
    }
    over(server, temperature=None).translate([line])
    assert "temperature" not in server.requests[-1].json
    assert len(server.requests) == 6


def test_a_chat_translator_is_made_by_name() -> None:
    assert set(plugins.available("translators")) == {"openai-compatible", "transformers"}
    made = plugins.create(
        "translators", "openai-compatible", model="m", source="Korean", target="English"
    )
    assert (made.context, made.batch_size, made.variable) == ((3, 3), 1, "OPENAI_API_KEY")
    with pytest.raises(InputError, match="needs 'model', 'source', 'target'"):
        plugins.create("translators", "openai-compatible")
    with pytest.raises(PluginError):
        plugins.create("translators", "deepl")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({}, "another form"),
        ([], "another form"),
        ({"choices": []}, "another form"),
        ({"choices": [{}]}, "another form"),
        ({"choices": ["a"]}, "another form"),
        ({"choices": [{"message": None}]}, "another form"),
        ({"error": {"message": "x"}}, "another form"),
        (chat(None), "no text"),
        (chat("  "), "no text"),
        (chat(["Yes."]), "no text"),
        (chat("Yes, I", "length"), "ended early"),
        (chat("", "content_filter"), "no text"),
    ],
)
def test_an_answer_that_is_no_translation_is_a_failure(
    server: web.Server, answer: Any, told: str
) -> None:
    server.script = [web.says(answer)]
    made = translate_corpus(over(server), dialogue(2))
    assert made.values == (None, "Yes.")
    assert told in made.failures[0].reason
    assert len(server.requests) == 2


def test_an_answer_that_does_not_say_why_it_ended_is_taken(server: web.Server) -> None:
    server.always = web.says({"choices": [{"message": {"content": "Yes."}}]})
    assert over(server).translate([Line("응.")]) == ["Yes."]


def test_failures_are_sent_again_and_answers_are_not(server: web.Server, tmp_path: Path) -> None:
    server.script = [
        web.says(chat("zero")),
        web.fails(429, Retry_After="0"),
        web.says(chat("one")),
        web.fails(500),
        web.fails(500),
        web.cuts(b'{"choices": ['),
        web.says(chat("three")),
        web.fails(422, "filtered"),
    ]
    made = translate_corpus(over(server), dialogue(), cache=tmp_path)
    assert made.values == ("zero", "one", None, "three", None)
    assert [failure.row for failure in made.failures] == [2, 4]
    assert len(server.requests) == 8
    again = translate_corpus(over(server), dialogue(), cache=tmp_path)
    assert again.values == ("zero", "one", "Yes.", "three", "Yes.")
    assert len(server.requests) == 10
    server.always = web.fails(400)
    with pytest.raises(RequestError, match="sample 'd0'"):
        translate_corpus(over(server, before=0), dialogue(), cache=tmp_path, strict=True)


def test_a_key_is_sent_and_kept_nowhere(
    server: web.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = over(server, key_variable="MY_KEY")
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(AccessError, match="no key"):
        translate_corpus(translator, dialogue())
    monkeypatch.setenv("MY_KEY", KEY)
    made = translate_corpus(translator, dialogue(), cache=tmp_path)
    assert all(r.headers["authorization"] == f"Bearer {KEY}" for r in server.requests)
    files = list(tmp_path.rglob("*.json"))
    told = "".join(file.read_text() for file in files) + repr(translator) + repr(vars(made))
    assert len(files) == 5
    assert KEY not in told + repr(translator.settings) + json.dumps(dict(translator.settings))


@pytest.mark.parametrize(
    "wrong",
    [
        {"before": -1},
        {"after": 1.5},
        {"before": True},
        {"model": ""},
        {"source": None},
        {"target": 3},
        {"temperature": -1},
        {"temperature": "warm"},
        {"prompt": "Translate {line}"},
    ],
)
def test_settings_that_cannot_be_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} (cannot be|is no)"):
        EndpointTranslator(**({"model": "m", "source": "a", "target": "b"} | wrong))


# transformers

LANGUAGES: dict[str, dict[str, str]] = {
    "marian": {},
    "m2m100": {"source": "ko", "target": "en"},
    "nllb": {"source": "kor_Hang", "target": "eng_Latn"},
    "mbart50": {"source": "ko_KR", "target": "en_XX"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
@pytest.mark.parametrize("kind", LANGUAGES)
def test_a_line_is_translated_as_alone_and_into_the_language(folder: Path, kind: str) -> None:
    place = writers.translator(folder / kind, kind)
    state = torch.get_rng_state()
    ours = plugins.create(
        "translators", "transformers", checkpoint=place, max_new_tokens=12, **LANGUAGES[kind]
    )
    lines = [Line(text) for text in writers.LINES]
    together = ours.translate(lines)
    assert [ours.translate([line])[0] for line in lines] == together
    assert torch.equal(torch.get_rng_state(), state)
    tokenizer, model = ours._tokenizer, ours._model
    inputs = tokenizer(lines[1].text, return_tensors="pt")
    chosen = LANGUAGES[kind]
    if chosen:
        target = tokenizer.convert_tokens_to_ids(
            f"__{chosen['target']}__" if kind == "m2m100" else chosen["target"]
        )
        source = tokenizer.convert_tokens_to_ids(
            f"__{chosen['source']}__" if kind == "m2m100" else chosen["source"]
        )
        assert inputs.input_ids[0, 0] == source
        assert ours._options["forced_bos_token_id"] == target != source
    ids = model.generate(
        input_ids=inputs.input_ids,
        do_sample=False,
        num_beams=4,
        max_new_tokens=12,
        **({"forced_bos_token_id": target} if chosen else {}),
    )
    assert together[1] == tokenizer.decode(ids[0], skip_special_tokens=True).strip()


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_languages_that_do_not_fit_are_refused(folder: Path) -> None:
    for kind in LANGUAGES:
        place = writers.translator(folder / kind, kind)
        good = LANGUAGES[kind]
        wrong = [{"source": "ko", "target": "xx"}, {"target": "en"}]
        wrong.append({} if good else {"source": "ko", "target": "en"})
        for languages in wrong:
            with pytest.raises(InputError, match="languages that do not fit"):
                TransformersTranslator(place, **languages)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_checkpoints_and_lines_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no translator"):
        TransformersTranslator(writers.ctc(tmp_path / "ctc"))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TransformersTranslator(tmp_path / "none")
    ours = TransformersTranslator(writers.translator(folder / "marian", "marian"))
    with pytest.raises(InputError, match="longer than the model can read") as error:
        ours.translate([Line("fox"), Line("fox " * 40)])
    assert error.value.index == 1
    made = translate_corpus(ours, [{"id": "a", "text": "fox"}, {"id": "b", "text": "fox " * 40}])
    assert made.values[0] is not None
    assert [failure.id for failure in made.failures] == ["b"]


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_the_cache_knows_languages_and_weights(folder: Path, tmp_path: Path) -> None:
    place = writers.translator(folder / "nllb", "nllb")
    one = TransformersTranslator(place, **LANGUAGES["nllb"])  # type: ignore[arg-type]
    back = TransformersTranslator(place, source="eng_Latn", target="kor_Hang", batch_size=1)
    assert one.settings["model"] == back.settings["model"] != ""
    assert one.settings != back.settings
    corpus = dialogue(2)
    assert translate_corpus(one, corpus, cache=tmp_path).asked == 2
    assert translate_corpus(back, corpus, cache=tmp_path).asked == 2
    same = TransformersTranslator(place, **LANGUAGES["nllb"])  # type: ignore[arg-type]
    assert translate_corpus(same, corpus, cache=tmp_path).asked == 0
    with torch.no_grad():
        next(iter(same._model.parameters())).add_(1)
    changed = TransformersTranslator(place, **LANGUAGES["nllb"])  # type: ignore[arg-type]
    changed._model = same._model
    assert translate_corpus(changed, corpus, cache=tmp_path).asked == 2
