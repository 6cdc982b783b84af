from __future__ import annotations

from typing import Any

import attrs
import pytest

from mlxknife.domain.compatibility.values import Runtime
from mlxknife.domain.errors import (
    AmbiguousMatch,
    ContextLengthExceeded,
    EngineError,
    KnifeError,
    ModelNotFound,
    ModelNotRunnable,
    NotEnoughMemory,
    TemplateError,
    ValidationError,
)
from mlxknife.domain.generation.values.generation import (
    CacheShape,
    FinishReason,
    Message,
    PieceKind,
    Sampling,
    Timings,
    Usage,
    Wish,
)
from mlxknife.domain.hints import Hint, HintCode
from tests.builder import Files, chat_files, embedding_files, json_bytes, pytorch_files, speech_files
from tests.fakes.engine import FakeEngine, FakeModel
from tests.fakes.system import FakeSystem
from tests.unit.chatting import COMMIT, RUNTIME, chat, heard, session, texts

_ASKED = (Message("user", "Who are you?"),)
_TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
_THINKING = frozenset({"<think>", "</think>"})
_SPEAKING = speech_files() | {"model.safetensors": chat_files()["model.safetensors"]}


def test_an_answer_comes_in_pieces_and_its_whole_at_the_end() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    pieces, outcome = heard(session(model).answer(_ASKED))
    assert [piece.text for piece in pieces] == ["Hello", ", ", "world", "!"]
    assert (outcome.answer, outcome.reasoning) == ("Hello, world!", "")
    assert (outcome.finish_reason, outcome.usage, outcome.usage.total_tokens) == (FinishReason.STOP, Usage(3, 4), 7)
    assert model.read == [("<user>Who are you?<assistant>", True)]
    assert not model.is_answering


def test_a_piece_is_told_before_the_next_token_is_made() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    pieces = session(model).answer(_ASKED)
    assert model.told == 0
    for number in range(1, 5):
        next(pieces)
        assert model.told == number


def test_reasoning_is_told_apart() -> None:
    script = ("<think>", "\n", "Hm", "m.", "\n</thi", "nk>", "\n\n", "Yes", ".")
    model = FakeModel(script, chat_template=_TEMPLATE, vocabulary=_THINKING)
    pieces, outcome = heard(session(model).answer(_ASKED))
    assert (texts(pieces, PieceKind.REASONING), texts(pieces)) == ("Hmm.", "Yes.")
    assert (outcome.reasoning, outcome.answer, outcome.usage.completion_tokens) == ("Hmm.", "Yes.", 9)


def test_reasoning_that_the_prompt_has_begun() -> None:
    model = FakeModel(("Hmm.", "</think>", "Yes."), chat_template=f"{_TEMPLATE}<think>\n", vocabulary=_THINKING)
    outcome = heard(session(model).answer(_ASKED))[1]
    assert (outcome.reasoning, outcome.answer) == ("Hmm.", "Yes.")


def test_a_stop_string_across_steps_ends_the_answer_and_the_work() -> None:
    model = FakeModel(("One", "\nT", "wo", "\nThree"), chat_template=_TEMPLATE)
    pieces, outcome = heard(session(model).answer(_ASKED, Wish(stops=("\nTwo", "Four"))))
    assert (texts(pieces), outcome.answer, outcome.finish_reason) == ("One", "One", FinishReason.STOP)
    assert (model.told, model.is_answering, outcome.usage.completion_tokens) == (3, False, 3)


def test_the_beginning_of_a_stop_string_at_the_end_is_answer() -> None:
    model = FakeModel(("One", "\nT"), chat_template=_TEMPLATE)
    pieces, outcome = heard(session(model).answer(_ASKED, Wish(stops=("\nTwo",))))
    assert (texts(pieces), outcome.answer) == ("One\nT", "One\nT")


def test_stop_strings_are_for_the_answer_alone() -> None:
    model = FakeModel(("<think>", "a stop", "</think>", "an end", " stop"), chat_template=_TEMPLATE)
    model.vocabulary = _THINKING
    outcome = heard(session(model).answer(_ASKED, Wish(stops=(" stop",))))[1]
    assert (outcome.reasoning, outcome.answer) == ("a stop", "an end")


def test_a_stop_string_that_is_complete_only_at_the_end_is_the_reason() -> None:

    model = FakeModel(("<thi",), FinishReason.LENGTH, chat_template=_TEMPLATE, vocabulary=_THINKING)
    outcome = heard(session(model).answer(_ASKED, Wish(stops=("<thi",))))[1]
    assert (outcome.answer, outcome.finish_reason) == ("", FinishReason.STOP)


def test_an_answer_that_is_closed_is_cancelled() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    pieces = session(model).answer(_ASKED)
    next(pieces)
    assert model.is_answering
    pieces.close()
    assert (model.told, model.is_answering, model.is_closed) == (1, False, False)


def test_after_a_cancelled_answer_comes_the_next() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    one = session(model)
    pieces = one.answer(_ASKED)
    next(pieces)
    pieces.close()
    assert heard(one.answer(_ASKED))[1].answer == "Hello, world!"


def test_an_answer_of_as_many_tokens_as_were_wished() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    outcome = heard(session(model).answer(_ASKED, Wish(max_tokens=2)))[1]
    assert (outcome.answer, outcome.finish_reason) == ("Hello, ", FinishReason.LENGTH)
    assert outcome.usage == Usage(3, 2)


def test_an_engine_that_says_nothing_has_broken_off() -> None:
    for script in ((), ("Hello",)):
        model = FakeModel(script, ending=None, chat_template=_TEMPLATE)
        pieces, outcome = heard(session(model).answer(_ASKED))
        assert (texts(pieces), outcome.finish_reason) == ("".join(script), FinishReason.CANCELLED)


def test_what_was_told_stays_when_the_engine_fails() -> None:
    model = FakeModel(failure=EngineError("out of memory"), chat_template=_TEMPLATE)
    pieces = session(model).answer(_ASKED)
    assert "".join(next(pieces).text for _ in range(4)) == "Hello, world!"
    with pytest.raises(EngineError, match="out of memory"):
        next(pieces)
    assert not model.is_answering


def test_times_are_those_of_the_clock() -> None:
    clock = FakeSystem()
    engine = FakeEngine(FakeModel(clock=clock, seconds=0.25, chat_template=_TEMPLATE), clock=clock, seconds=3.0)
    pieces, outcome = heard(chat(engine, system=clock).open("one").answer(_ASKED))
    assert len(pieces) == 4
    assert outcome.timings == Timings(load=3.0, first_token=0.25, total=1.0)


def test_an_answer_without_a_token_took_the_time_it_took() -> None:
    outcome = heard(session(FakeModel((), chat_template=_TEMPLATE)).answer(_ASKED))[1]
    assert (outcome.answer, outcome.usage, outcome.timings) == ("", Usage(3, 0), Timings(0.0, 0.0, 0.0))


@pytest.mark.parametrize(("template", "is_wanted"), [(None, True), (_TEMPLATE, False), (None, False)])
def test_without_a_template_the_words_are_the_prompt(template: str | None, *, is_wanted: bool) -> None:
    model = FakeModel(("<think>", "x</think>"), chat_template=template, vocabulary=_THINKING)
    turns = (Message("system", "Be brief."), *_ASKED)
    outcome = heard(session(model).answer(turns, with_template=is_wanted))[1]
    assert model.read == [("Be brief.\n\nWho are you?", False)]
    assert (outcome.answer, outcome.reasoning) == ("<think>x</think>", "")
    assert outcome.usage.prompt_tokens == 6  # one stands before what is not rendered


def test_a_template_knows_the_special_tokens() -> None:
    model = FakeModel(chat_template="{{ bos_token }}{{ messages[0].content }}", special_tokens={"bos_token": "<s>"})
    heard(session(model).answer(_ASKED))
    assert model.read == [("<s>Who are you?", True)]


def test_a_template_that_refuses_is_heard_before_any_work() -> None:
    model = FakeModel(chat_template="{{ raise_exception('no system text') }}")
    with pytest.raises(TemplateError, match="no system text"):
        heard(session(model).answer(_ASKED))
    assert (model.read, model.requests) == ([], [])


def test_a_wish_that_can_mean_nothing_is_refused_before_any_work() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    with pytest.raises(ValidationError, match="temperature"):
        heard(session(model).answer(_ASKED, Wish(Sampling(temperature=-1.0))))
    assert (model.read, model.requests) == ([], [])


def test_a_prompt_that_fills_the_window_is_refused_before_any_work() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    small = session(model, chat_files(max_position_embeddings=3))
    with pytest.raises(ContextLengthExceeded):
        heard(small.answer(_ASKED))
    assert model.requests == []


def test_a_text_that_is_too_long_however_it_is_cut_is_not_even_cut() -> None:
    model = FakeModel(chat_template=_TEMPLATE, vocabulary=frozenset({"a", "long"}))
    small = session(model, chat_files(max_position_embeddings=10))
    with pytest.raises(ContextLengthExceeded, match="has 40 characters, and the model reads at most 10 tokens"):
        heard(small.answer([Message("user", "x" * 30), Message("user", "y" * 10)]))
    assert (model.read, model.requests) == ([], [])
    heard(small.answer([Message("user", "x" * 39)]))


def test_what_is_no_conversation_or_no_wish_is_refused_by_name() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    odd: Any = [{"role": "user", "content": "Hi"}]
    with pytest.raises(ValidationError, match="Message values, not of dict") as caught:
        heard(session(model).answer(odd))
    assert caught.value.hint == Hint(HintCode.WRITE_MESSAGE)
    with pytest.raises(ValidationError, match="empty"):
        heard(session(model).answer([]))
    text: Any = "5"
    for wish, name in (
        (Wish(max_tokens=text), "max_tokens"),
        (Wish(Sampling(top_p=text)), "top_p"),
        (Wish(stops=text), "stops"),
    ):
        with pytest.raises(ValidationError, match=name):
            heard(session(model).answer(_ASKED, wish))
    assert model.requests == []


def test_a_request_is_settled_by_wish_model_and_window() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    files = chat_files(max_position_embeddings=10)
    files["generation_config.json"] = json_bytes({"temperature": 0.6, "top_k": 20})
    heard(session(model, files).answer(_ASKED, Wish(Sampling(temperature=0.0), max_tokens=50)))
    (request,) = model.requests
    assert (request.sampling.temperature, request.sampling.top_k, request.max_tokens) == (0.0, 20, 7)
    assert len(request.tokens) == 3


def test_ask_returns_the_whole_at_once() -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    outcome = session(model).ask("Who?\n", Wish(max_tokens=3), system="Be brief.")
    assert (outcome.answer, outcome.finish_reason) == ("Hello, world", FinishReason.LENGTH)
    assert model.read == [("<system>Be brief.<user>Who?<assistant>", True)]
    with pytest.raises(ValidationError):
        session(model).ask(" \n")


def test_what_was_known_before_is_counted() -> None:
    model = FakeModel(("Hel", "lo"), chat_template=_TEMPLATE)
    one = session(model)
    assert heard(one.answer(_ASKED))[1].usage == Usage(3, 2, cached_tokens=0)
    assert heard(one.answer(_ASKED))[1].usage == Usage(3, 2, cached_tokens=2)


@pytest.mark.parametrize("text", ["", " \n", None])
def test_a_system_text_that_says_nothing_is_none(text: str | None) -> None:
    model = FakeModel(chat_template=_TEMPLATE)
    session(model).ask("Who?", system=text)
    assert model.read == [("<user>Who?<assistant>", True)]


def test_a_session_frees_its_model() -> None:
    model = FakeModel()
    with session(model) as opened:
        assert (opened.info.name, model.is_closed) == ("mlx-community/one", False)
    assert model.is_closed


@pytest.mark.parametrize("profile", ["fast", "compact", "as-is"])
def test_a_model_is_loaded_from_its_place_as_was_said(profile: str) -> None:
    engine = FakeEngine()
    chat(engine).open("mlx-community/one", profile=profile)
    ((location, chosen),) = engine.loaded
    assert (location.token, chosen) == (f"models--mlx-community--one/{COMMIT}", profile)


def test_there_has_to_be_room_for_what_it_is_to_remember() -> None:
    files = chat_files(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=64)
    room = FakeSystem(available=88 + 2 * 2 * 2 * 2 * 16 * 100)
    with pytest.raises(NotEnoughMemory):
        chat(FakeEngine(), files, system=room).open("one")
    with pytest.raises(NotEnoughMemory):
        chat(FakeEngine(), files, system=room).open("one", window=101)
    chat(FakeEngine(), files, system=room).open("one", window=100)


def test_a_config_that_claims_too_much_is_refused_before_it_is_tried() -> None:
    with pytest.raises(NotEnoughMemory):
        chat(FakeEngine(), chat_files(num_hidden_layers=10**9), system=FakeSystem(available=2**40)).open("one")


@pytest.mark.parametrize(("available", "profile"), [(None, "fast"), (2**30, "fast"), (300, "compact")])
def test_where_nobody_said_the_memory_decides(available: int | None, profile: str) -> None:
    engine = FakeEngine()
    chat(engine, system=FakeSystem(available=available)).open("one")
    assert engine.loaded[0][1] == profile


@pytest.mark.parametrize("profile", [None, "as-is"])
def test_a_model_that_does_not_fit_is_not_loaded(profile: str | None) -> None:
    engine = FakeEngine()
    with pytest.raises(NotEnoughMemory, match="'mlx-community/one' needs 88B of memory, and 87B are free") as caught:
        chat(engine, system=FakeSystem(available=87)).open("one", profile=profile)
    assert caught.value.hint
    assert engine.loaded == []
    chat(engine, system=FakeSystem(available=88)).open("one", profile=profile)


def test_a_draft_model_is_loaded_beside_the_other() -> None:
    engine = FakeEngine()
    opened = chat(engine).open("one", draft="two")
    ((location, _),) = engine.loaded
    (draft,) = engine.drafts
    assert draft is not None
    assert (location.token, draft.token) == (f"models--mlx-community--one/{COMMIT}", f"models--other--two/{COMMIT}")
    assert opened.draft is not None
    assert (opened.info.name, opened.draft.name) == ("mlx-community/one", "other/two")
    with pytest.raises(ValidationError, match="max_kv_size and draft_model"):
        heard(opened.answer(_ASKED, Wish(cache=CacheShape(window=64))))


def test_both_must_fit() -> None:
    engine = FakeEngine()
    with pytest.raises(NotEnoughMemory, match=r"^'mlx-community/one' and 'other/two' need 176B of memory, and 175B"):
        chat(engine, system=FakeSystem(available=175)).open("one", draft="two")
    assert engine.loaded == []
    chat(engine, system=FakeSystem(available=176)).open("one", draft="two")


def test_a_draft_model_that_is_not_there_is_told_before_any_work() -> None:
    engine = FakeEngine()
    with pytest.raises(ModelNotFound, match="none"):
        chat(engine).open("one", draft="none")
    assert engine.loaded == []


def test_whether_a_model_can_be_run_is_told_without_loading_it() -> None:
    engine = FakeEngine()
    assert chat(engine, system=FakeSystem(available=1)).check("one").name == "mlx-community/one"
    with pytest.raises(ModelNotRunnable, match="does not generate text"):
        chat(engine, _SPEAKING).check("one")
    with pytest.raises(ModelNotFound):
        chat(engine).check("none")
    assert engine.loaded == []


def _refusal(files: Files, runtime: Runtime = RUNTIME) -> ModelNotRunnable:
    engine = FakeEngine()
    with pytest.raises(ModelNotRunnable) as caught:
        chat(engine, files, runtime=runtime).open("one")
    assert engine.loaded == []
    assert "'mlx-community/one'" in caught.value.message
    return caught.value


@pytest.mark.parametrize("damage", [{"model.safetensors": b"\x08"}, {"config.json": b"{"}])
def test_a_damaged_model_is_not_loaded(damage: Files) -> None:
    refusal = _refusal(chat_files() | damage)
    assert refusal.hint == Hint(HintCode.PULL_MISSING_FILES, name="mlx-community/one")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (chat_files(model_type="newest"), "'newest'"),
        (chat_files(auto_map={"AutoModel": "x.py"}), "auto_map"),
        (pytorch_files(), "model"),
    ],
)
def test_a_model_that_nothing_here_runs_is_not_loaded(files: Files, reason: str) -> None:
    refusal = _refusal(files)
    assert reason in refusal.message
    assert "None" not in refusal.message
    assert refusal.hint is None


_WITHOUT_VISION = attrs.evolve(RUNTIME, mlx_vlm=None)


@pytest.mark.parametrize("runtime", [RUNTIME, _WITHOUT_VISION])
def test_a_model_that_makes_embeddings_names_the_command_for_them(runtime: Runtime) -> None:

    refusal = _refusal(embedding_files(), runtime)
    assert refusal.hint == Hint(HintCode.EMBEDDING_MODEL)


def test_a_model_for_speech_is_said_to_be_one() -> None:

    refusal = _refusal(_SPEAKING)
    assert refusal.hint == Hint(HintCode.SPEECH_MODEL)


@pytest.mark.parametrize(
    ("spec", "error"),
    [("none", ModelNotFound), ("o", AmbiguousMatch), ("a//b", ValidationError), ("", ValidationError)],
)
def test_what_is_no_one_model_is_not_loaded(spec: str, error: type[KnifeError]) -> None:
    engine = FakeEngine()
    with pytest.raises(error):
        chat(engine).open(spec)
    assert engine.loaded == []


def test_what_the_engine_refuses_comes_through() -> None:
    with pytest.raises(EngineError, match="no such layer"):
        chat(FakeEngine(failure=EngineError("no such layer"))).open("one")
