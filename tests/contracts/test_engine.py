"""What every ``Engine`` promises, and the models that it loads."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from mlxknife.adapters.mlx.text.model import MlxEngine
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.generation import FinishReason, Sampling, Step, TokenRequest
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.engine import Engine, TextModel
from tests.fakes.engine import FakeEngine, FakeModel
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, GREETING, UNICODE

pytestmark = pytest.mark.timeout(1200)

GREEDY = Sampling(temperature=0.0)
CHANCE = Sampling(temperature=1.5, top_p=1.0, seed=7)
_MUST_END = 60


@attrs.frozen
class Stage:
    """An engine, a model that it can load, and how a question is put to it."""

    engine: Engine
    location: Location
    stranger: Location
    """A model with other tokens."""
    turn: Callable[[str], str]
    """Puts a question as the template would."""
    said: Callable[[str], str]
    """Puts an answer behind its question as the template would, up to the next question."""
    answer: str
    """What it says to CAPITAL."""

    def load(self) -> TextModel:
        return self.engine.load(self.location, "fast")


def _fake(folder: Path) -> Stage:
    words = tuple(f"{word} " for word in ANSWERS[CAPITAL].split())
    engine = FakeEngine(FakeModel(words), strangers=frozenset({str(folder)}))
    return Stage(engine, _at("bird"), _at(folder), "user {} assistant ".format, "{}".format, "".join(words))


def _real(folder: Path) -> Stage:
    """Return the parrot, and one beside it that knows a token more."""
    bird = parrot_folder()
    shutil.copytree(bird, folder, dirs_exist_ok=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][-1] | {"id": 263, "content": "<more>"})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    turn = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    said = "{}<|im_end|>\n"
    return Stage(MlxEngine(), _at(bird), _at(folder), turn.format, said.format, ANSWERS[CAPITAL])


def _at(place: str | Path) -> Location:
    return Location(str(place), (str(place),))


@pytest.fixture(params=[_fake, _real], ids=["fake", "real"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    made: Stage = request.param(tmp_path)
    return made


@pytest.fixture
def model(stage: Stage) -> Generator[TextModel]:
    loaded = stage.load()
    yield loaded
    loaded.close()


def request(model: TextModel, text: str, sampling: Sampling = GREEDY, most: int = 500) -> TokenRequest:
    return TokenRequest(model.tokens(text, is_rendered=True), most, sampling)


def told(steps: list[Step]) -> str:
    return "".join(step.text for step in steps)


def test_it_answers_and_says_why_it_ended(stage: Stage, model: TextModel) -> None:
    steps = list(model.generate(request(model, stage.turn(CAPITAL))))
    assert told(steps) == stage.answer  # nothing of what ends a turn is in it
    assert [step.ended for step in steps if step.ended is not None] == [steps[-1].ended] == [FinishReason.STOP]


def test_it_ends_where_there_are_enough(stage: Stage, model: TextModel) -> None:
    steps = list(model.generate(request(model, stage.turn(CAPITAL), most=3)))
    assert len(steps) == 3
    assert stage.answer.startswith(told(steps))
    assert [step.ended for step in steps] == [None, None, FinishReason.LENGTH]


def test_a_step_comes_before_the_next_is_made(stage: Stage, model: TextModel) -> None:
    asked = request(model, stage.turn(CAPITAL))
    whole = list(model.generate(asked))
    with closing(model.generate(asked)) as answer:
        assert [next(answer).text for _ in range(4)] == [step.text for step in whole[:4]]


def test_the_same_seed_gives_the_same(stage: Stage, model: TextModel) -> None:
    asked = request(model, stage.turn("qqq zz"), CHANCE, 40)
    first = list(model.generate(asked))
    between = list(model.generate(request(model, stage.turn(CAPITAL))))
    assert told(between) == stage.answer
    assert told(list(model.generate(asked))) == told(first)


def test_an_answer_that_is_closed_makes_room_for_the_next(stage: Stage, model: TextModel) -> None:
    for _ in range(2):
        answer = model.generate(request(model, stage.turn(CAPITAL)))
        next(answer)
        answer.close()
    assert told(list(model.generate(request(model, stage.turn(CAPITAL))))) == stage.answer


def test_an_answer_that_was_not_begun_is_in_nobodys_way(stage: Stage, model: TextModel) -> None:
    waiting = model.generate(request(model, stage.turn(CAPITAL)))
    assert told(list(model.generate(request(model, stage.turn(CAPITAL))))) == stage.answer
    assert told(list(waiting)) == stage.answer


def test_whoever_has_an_answer_open_is_told(stage: Stage, model: TextModel) -> None:
    asked = request(model, stage.turn(CAPITAL))
    with closing(model.generate(asked)) as first:
        begun = next(first)
        with pytest.raises(EngineError, match="still open"):
            next(model.generate(asked))
        assert begun.text + told(list(first)) == stage.answer  # which is not disturbed by that
    assert told(list(model.generate(asked))) == stage.answer


def test_threads_wait_for_their_turn(stage: Stage, model: TextModel) -> None:
    asked = request(model, stage.turn(CAPITAL))
    heard: list[str] = []
    threads = [
        threading.Thread(target=lambda: heard.append(told(list(model.generate(asked)))), daemon=True) for _ in range(3)
    ]
    with closing(model.generate(asked)) as mine:
        begun = next(mine)
        for thread in threads:
            thread.start()
        rest = told(list(mine))
    for thread in threads:
        thread.join(_MUST_END)
    assert [begun.text + rest, *heard] == [stage.answer] * 4


def test_what_is_known_is_not_computed_again(stage: Stage, model: TextModel) -> None:
    first = stage.turn(CAPITAL)
    steps = list(model.generate(request(model, first)))
    assert {step.cached for step in steps} == {0}
    past = first + stage.said(told(steps))
    second = request(model, past + stage.turn(CAPITAL))
    steps = list(model.generate(second))
    assert told(steps) == stage.answer
    (cached,) = {step.cached for step in steps}
    own = model.tokens(stage.said("") + stage.turn(CAPITAL), is_rendered=True)
    assert len(request(model, first).tokens) < cached < len(second.tokens)
    assert len(second.tokens) - cached <= len(own)


def test_another_question_keeps_what_it_begins_with(stage: Stage, model: TextModel) -> None:
    list(model.generate(request(model, stage.turn(GREETING))))
    steps = list(model.generate(request(model, stage.turn(CAPITAL))))
    assert told(steps) == stage.answer
    head = stage.turn("~").partition("~")[0]
    assert 0 < steps[0].cached <= len(model.tokens(head, is_rendered=True))
    again = list(model.generate(request(model, stage.turn(CAPITAL))))
    assert told(again) == stage.answer
    assert again[0].cached == len(request(model, stage.turn(CAPITAL)).tokens) - 1  # one is needed to go on from


def test_what_was_said_until_somebody_had_enough_is_known(stage: Stage, model: TextModel) -> None:
    first = stage.turn(CAPITAL)
    with closing(model.generate(request(model, first))) as answer:
        said = told([next(answer) for _ in range(3)])
    steps = list(model.generate(request(model, first + stage.said(said) + stage.turn(CAPITAL))))
    assert told(steps) == stage.answer
    assert steps[0].cached >= len(request(model, first).tokens)


def test_a_model_that_is_closed_says_so(stage: Stage) -> None:
    model = stage.load()
    asked = request(model, stage.turn(CAPITAL))
    assert told(list(model.generate(asked))) == stage.answer
    model.close()
    model.close()
    with pytest.raises(EngineError, match="closed"):
        next(model.generate(asked))


def test_with_a_draft_model_it_says_the_same(stage: Stage) -> None:
    model = stage.engine.load(stage.location, "fast", draft=stage.location)
    with closing(model):
        past = stage.turn(CAPITAL)
        for most in (1, 2, 3, 4):
            steps = list(model.generate(request(model, past, most=most)))
            assert len(steps) == most
            assert stage.answer.startswith(told(steps))
            assert steps[-1].ended is FinishReason.LENGTH
        steps = list(model.generate(request(model, past)))
        assert (told(steps), steps[-1].ended) == (stage.answer, FinishReason.STOP)
        second = list(model.generate(request(model, past + stage.said(stage.answer) + stage.turn(CAPITAL))))
        assert told(second) == stage.answer
        assert second[0].cached > len(request(model, past).tokens)


def test_a_draft_model_with_other_tokens_is_refused(stage: Stage) -> None:
    with pytest.raises(ValidationError, match="draft_model"):
        stage.engine.load(stage.location, "fast", draft=stage.stranger)


def test_no_half_of_a_letter_is_told() -> None:
    turn = f"<|im_start|>user\n{UNICODE}<|im_end|>\n<|im_start|>assistant\n"
    answer = ANSWERS[UNICODE]
    with closing(MlxEngine().load(_at(parrot_folder()), "as-is")) as bird:
        for most in range(1, len(answer.encode())):
            said = told(list(bird.generate(request(bird, turn, most=most))))
            assert said == answer.encode()[:most].decode(errors="ignore")  # a byte is a token of the parrot
