"""The think-draw-critique-revise loop on every model, at toy size: the agent knows none of them by name.

The toys are random, so their words are gibberish and their pictures noise; what is tested is that every run is whole,
ends for a visible reason, can be stopped and is the same again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch

from agents import prompts
from agents.chat_model import UnimmChatModel
from agents.events import REASONS, Event, Finished
from agents.loop import DrawAgent
from agents.settings import Settings
from agents.tasks import TASKS
from agents.trace import Trace, fold
from unimm.document import Document, Image, Text
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta
from unimm.model import Options, UnifiedModel, Want, draw, options_type, write

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FAMILIES = ("star", "bagel", "mmada", "janus", "emu3")
BACKENDS = ("star-tiny", *FAMILIES)
FEW = {"max_tokens": 8, "timesteps": 3, "image_steps": 2, "previews": 2}
"""What makes a toy's answer short, where its options have it."""
TASK = TASKS["maze"]
SHORT = replace(TASK, rules="Go on.", faults={"no_agent": "no agent"}, move_form="`go up`")
"""The task in few words: some toys read letter by letter and have room for 512."""
SETTINGS = Settings(rounds=1, max_frames=2, seconds=3000.0)


class Brief:
    """A model with short answers."""

    def __init__(self, model: UnifiedModel) -> None:
        self.model, self.name, self.capabilities, self.options_type = model, model.name, model.capabilities, options_type(model)

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        if self.name == "BAGEL":  # keeps no options type: its released settings depend on whether there is a picture to edit
            options = importlib.import_module("unimm.bagel.options").from_options(options, True)
        known = {row.name for row in fields(options)}
        yield from self.model.stream(document, want, replace(options, **{name: few for name, few in FEW.items() if name in known}))


class Cold:
    """A model that is loaded anew for every call, so that nothing it remembers can matter."""

    def __init__(self, load: Callable[[], UnifiedModel]) -> None:
        self.load = load
        model = load()
        self.name, self.capabilities, self.options_type = model.name, model.capabilities, options_type(model)

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        return self.load().stream(document, want, options)


def fresh(name: str, dtype: torch.dtype | None = None) -> UnifiedModel:
    if name == "star-tiny":
        return importlib.import_module("unimm.star").load()
    if not (GOLDEN / name).is_dir():
        pytest.skip(f"There is no toy model in tests/golden/{name}.")
    try:
        family = importlib.import_module(f"unimm.{name}")
    except ImportError as error:
        pytest.skip(f"unimm.{name} cannot be imported: {error}.")
    return Brief(family.load(GOLDEN / name, dtype=dtype))


loaded = cache(fresh)


@pytest.fixture(params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str) -> UnifiedModel:
    return loaded(name)


def problem(index: int = 8) -> Any:
    return SHORT.problem("test", index, 4)


def agent(model: UnifiedModel, seed: int = 0) -> DrawAgent:
    return DrawAgent(model, SHORT, replace(SETTINGS, seed=seed))


def run(model: UnifiedModel, seed: int = 0, index: int = 8) -> Trace:
    return fold(agent(model, seed).events(problem(index)))


@cache
def solo(name: str, seed: int = 0, index: int = 8) -> Trace:
    """The run of a loaded model alone."""
    return run(loaded(name), seed, index)


def said(events: Iterator[ModelEvent]) -> list[object]:
    """Events without what was measured."""
    return [event.part if isinstance(event, PartDone) else event for event in events]


def check_run(trace: Trace) -> None:
    """A whole run: every step has what it is for, and a reader is told why it ended."""
    assert trace.reason in set(REASONS) - {"failed", "stopped", "time used up"} and trace.words
    assert trace.steps and all(step.done for step in trace.steps)
    kinds = {step.kind for step in trace.steps}
    assert {"think", "draw", "critique"} <= kinds
    size = problem().image.width
    for step in trace.steps:
        if step.kind in ("draw", "revise"):
            assert step.image is not None and step.image.width == step.image.height == size
        if step.kind == "critique":
            assert {verdict.by for verdict in step.critiques} == {"model", "program"}
    for item in trace.rounds():
        mine, its = item.verdict("model"), item.verdict("program")
        assert mine is not None and its is not None and 0 <= mine.confidence <= 1
    assert Trace.from_json(trace.to_json()).fingerprint == trace.fingerprint


def test_text_out(model: UnifiedModel) -> None:
    start = problem().image
    events = list(model.stream(prompts.wording(SHORT, model.capabilities).judge(problem(), start, start), "text", options_type(model)()))
    *before, last = events
    assert isinstance(last, PartDone) and isinstance(last.part, Text) and all(isinstance(event, TextDelta) for event in before)
    assert last.part.text.startswith("".join(event.text for event in before).rstrip("\ufffd"))
    assert {"seconds", "tokens"} <= set(last.stats) and 0 <= last.stats.get("confidence", 1) <= 1


def test_picture_out_after_a_thought(model: UnifiedModel) -> None:
    asks = prompts.wording(SHORT, model.capabilities)
    events = list(model.stream(asks.next_step(problem(), problem().image), "image", options_type(model)()))
    thought = next(at for at, event in enumerate(events) if isinstance(event, PartDone) and isinstance(event.part, Text))
    assert isinstance(events[-1], PartDone) and isinstance(events[-1].part, Image) and events[-1].stats["seconds"] > 0
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert previews and all(0 < event.done <= event.total for event in previews)
    assert events.index(previews[0]) > thought
    again = draw(model, asks.next_step(problem(), problem().image, "go up ."), options_type(model)())  # from a thought that was given
    assert again is not None


def test_edits_or_redraws_from_the_critique(model: UnifiedModel) -> None:
    asks, board = prompts.wording(SHORT, model.capabilities), problem()
    wrong = TASK.render(board.board.put({board.board.agent: 1}))
    request = asks.revise(board, board.image, wrong, "wrong . no agent at a1 .")
    words = " ".join(part.text for turn in request.turns for part in turn.parts if isinstance(part, Text))
    assert "no agent at a1" in words
    pictures = [part for turn in request.turns for part in turn.parts if isinstance(part, Image)]
    if model.capabilities.edit:
        assert pictures[-1] == wrong  # the source of the edit
    else:
        assert TASK.picture_words(board.image) in words  # all that must be on the picture, for it is drawn from words alone
    assert draw(model, request, replace(options_type(model)(), think=False)) is not None


def test_the_loop_runs_to_a_visible_end(name: str, model: UnifiedModel) -> None:
    trace = solo(name)
    check_run(trace)
    if model.capabilities.taught:
        assert len(trace.pictures()) == 2
    else:
        assert any(step.kind == "revise" for step in trace.steps)  # gibberish is no verdict, so it is never "right"
        assert not any(verdict.ok for item in trace.rounds() for verdict in item.critiques)


def test_stop_in_mid_picture_leaves_nothing_behind(name: str) -> None:
    model = fresh(name)
    events: list[Event] = []
    for event in agent(model).events(problem(), stop=lambda: isinstance(events[-1], ImagePreview)):
        events.append(event)
    assert isinstance(events[-1], Finished) and events[-1].reason == "stopped"
    assert not fold(events).steps[-1].done
    assert run(model).fingerprint == solo(name).fingerprint


def test_closing_a_stream_in_mid_picture(model: UnifiedModel) -> None:
    document = prompts.wording(SHORT, model.capabilities).next_step(problem(), problem().image, "go up .")
    options = options_type(model)(seed=5)
    whole = said(model.stream(document, "image", options))
    events = model.stream(document, "image", options)
    assert any(isinstance(event, ImagePreview) for event in events)
    events.close()
    assert said(model.stream(document, "image", options)) == whole


def test_same_seed_same_trace(name: str, model: UnifiedModel) -> None:
    assert run(model).fingerprint == solo(name).fingerprint


def test_interleaved_runs_equal_solo_runs(name: str, model: UnifiedModel) -> None:
    alone = [solo(name), solo(name, 2, 2)]
    pairs = zip_longest(agent(model).events(problem()), agent(model, 2).events(problem(2)))
    together = [fold(event for event in events if event is not None) for events in zip(*pairs, strict=True)]
    assert [trace.fingerprint for trace in together] == [trace.fingerprint for trace in alone]


def test_what_is_remembered_changes_nothing(name: str) -> None:
    assert solo(name).fingerprint == run(Cold(partial(fresh, name))).fingerprint


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16(family: str) -> None:
    model = loaded(family, torch.bfloat16)
    trace = run(model)
    check_run(trace)
    assert run(model).fingerprint == trace.fingerprint


def test_as_a_chat_model(model: UnifiedModel) -> None:
    chat = UnimmChatModel(model)
    assert isinstance(chat.options, options_type(model))
    assert chat.invoke("maze answer").text == write(model, Document().user(Text("maze answer")), options_type(model)())
