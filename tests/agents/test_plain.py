"""Questions in plain language for models that were not taught ours, and their free replies read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from agents import prompts
from agents.critics import model_critic
from agents.frame import Run
from agents.loop import DrawAgent
from agents.plain import Plain, beside
from agents.scripted import CAPABILITIES, ScriptedModel, maze_model
from agents.settings import Settings, options_for
from agents.tasks import TASKS, maze
from agents.trace import fold
from unimm.document import Document, Image, Text
from unimm.model import Options, option

TASK = TASKS["maze"]
PROBLEM = TASK.problem("test", 8, 4)
UNTAUGHT = replace(CAPABILITIES, taught=())
PLAIN = Plain(TASK, UNTAUGHT)
BLIND = Plain(TASK, replace(UNTAUGHT, edit=False))
ONE_PICTURE = Plain(TASK, replace(UNTAUGHT, interleave=False))


def words_of(document: Document) -> str:
    return " ".join(part.text for turn in document.turns for part in turn.parts if isinstance(part, Text))


def pictures_of(document: Document) -> list[Image]:
    return [part for turn in document.turns for part in turn.parts if isinstance(part, Image)]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("correct .", (True, None, None)),
        ("**Correct.**", (True, None, None)),
        ("Verdict: correct", (True, None, None)),
        ("<think>It could be wrong. No, it is fine.</think>\ncorrect .", (True, None, None)),
        ("The second picture is exactly right.", (True, None, None)),
        ("wrong . no agent at b3 .", (False, "no_agent", (2, 1))),
        ("The answer is: wrong. Dead end missed at cell C4.", (False, "dead_end_missed", (3, 2))),
        ("Wrong, because the wall changed.", (False, "wall_changed", None)),
        ("It looks wrong to me", (False, None, None)),
        ("incorrect", (False, None, None)),
        ("correct .\nwrong . goal gone .", (False, "goal_gone", None)),
    ],
)  # fmt: skip
def test_verdicts_in_free_words(text: str, verdict: tuple) -> None:
    assert PLAIN.parse_verdict(text) == verdict


@pytest.mark.parametrize(
    "text",
    ["", "xq zt 7", "Reply with correct . or wrong .", "Is it correct?", "It is not correct that the agent moved.", "<think>correct .",
     "I cannot say if it is correct", "correct or wrong . FAULT at CELL .", "correct, except for the wall", "The agent is right there"],
)  # fmt: skip
def test_what_is_no_clear_verdict_is_never_right(text: str) -> None:
    found = PLAIN.parse_verdict(text)
    assert found is None or not found[0]
    judge = ScriptedModel(lambda document, want, options: [Text(text)])
    judge.capabilities = UNTAUGHT
    verdict = model_critic(judge, TASK)(PROBLEM, PROBLEM.image, PROBLEM.image)
    assert not verdict.ok and (found is not None or verdict.confidence == 0)


@pytest.mark.parametrize(
    ("text", "move", "done"),
    [
        ("The agent goes one cell up. go up", "up", False), ("**Go left**.", "left", False),
        ("It moves to the right", "right", False),
        ("<think>go up? go down!</think>go left", "left", False), ("First I thought go up.\nNow: go down", "down", False),
        ("Everything is done", None, False), ("not done", None, False),
        ("The agent has arrived. Done.", None, True), ("`done`", None, True),
        ("done with up, now grey", None, False), ("grey", None, False), ("", None, False),
    ],
)  # fmt: skip
def test_moves_and_ends_in_free_words(text: str, move: str | None, done: bool) -> None:
    assert (PLAIN.parse_move(text), PLAIN.done(text)) == (move, done)


def test_an_answer_is_read_without_its_thoughts() -> None:
    assert PLAIN.parse_answer("<think>maybe up</think> Left, left, **down**.") == ("left", "left", "down")


def test_the_words_are_chosen_by_what_the_model_was_taught() -> None:
    assert prompts.wording(TASK, CAPABILITIES) == prompts.Taught(TASK)
    assert prompts.wording(TASK, UNTAUGHT) == PLAIN
    assert words_of(prompts.Taught(TASK).judge(PROBLEM, PROBLEM.image, PROBLEM.image)) == "maze judge"
    asked = words_of(PLAIN.judge(PROBLEM, PROBLEM.image, PROBLEM.image))
    assert TASK.rules in asked and all(fault in asked for fault in TASK.faults.values()) and "`correct .`" in asked
    assert "go up" in words_of(PLAIN.next_step(PROBLEM, PROBLEM.image))


def test_without_editing_everything_is_said_in_words() -> None:
    wrong = maze.render(PROBLEM.board.put({PROBLEM.board.agent: maze.FLOOR}))
    for document in (BLIND.next_step(PROBLEM, PROBLEM.image), BLIND.revise(PROBLEM, PROBLEM.image, wrong, "wrong . no agent .")):
        assert maze.shown_words(PROBLEM.board) in words_of(document)
    assert "no agent" in words_of(BLIND.revise(PROBLEM, PROBLEM.image, wrong, "wrong . no agent ."))
    assert maze.shown_words(PROBLEM.board) not in words_of(PLAIN.revise(PROBLEM, PROBLEM.image, wrong, "wrong . no agent ."))
    assert len(words_of(PLAIN.revise(PROBLEM, PROBLEM.image, wrong, "x" * 5000))) < 2000
    assert BLIND.next_step(PROBLEM, Image(8, 8, bytes(192)))  # a drawing that shows nothing


def test_a_model_that_sees_one_picture_gets_both_in_one() -> None:
    wrong = maze.render(PROBLEM.board.put({PROBLEM.board.agent: maze.FLOOR}))
    assert pictures_of(ONE_PICTURE.judge(PROBLEM, PROBLEM.image, wrong)) == [beside(PROBLEM.image, wrong)]
    assert pictures_of(ONE_PICTURE.revise(PROBLEM, PROBLEM.image, wrong, "wrong .")) == [wrong]
    assert pictures_of(PLAIN.revise(PROBLEM, PROBLEM.image, wrong, "wrong .")) == [PROBLEM.image, wrong]


def chatty(thought: str, verdict: str = "correct .", side: int = 384) -> ScriptedModel:
    """An untaught model that draws right pictures at a size of its own, talks freely, and draws on after every thought."""

    def script(document: Document, want: str, options: Options):
        if want == "text":
            yield Text(verdict if pictures_of(document) else "up, down")
            return
        if options.think:
            yield Text(thought)
        board = maze.read(pictures_of(document)[0]).board
        drawn = maze.render(maze.next_board(board) or board)
        yield Image.from_pil(drawn.to_pil().resize((side, side)))

    model = ScriptedModel(script)
    model.capabilities = UNTAUGHT
    return model


def test_an_untaught_model_is_run_to_the_end_by_its_pictures() -> None:
    trace = fold(DrawAgent(chatty("I go on."), TASK, Settings(max_frames=len(TASK.solve(PROBLEM).frames))).events(PROBLEM))
    assert trace.reason == "step limit" and all(image.width == PROBLEM.image.width for image in trace.pictures())
    assert [TASK.check(PROBLEM, item.before, item.image).ok for item in trace.rounds()] == [True] * len(TASK.solve(PROBLEM).frames)


def test_done_ends_the_drawing_of_a_model_that_would_draw_on() -> None:
    model = chatty("Nothing is left.\ndone")
    trace = fold(DrawAgent(model, TASK).events(PROBLEM))
    assert [step.kind for step in trace.steps] == ["think", "answer"] and trace.moves == ("up", "down") and model.closed == 1


def test_moves_come_from_the_pictures_where_the_words_do_not_say_them() -> None:
    moves = len(TASK.solve(PROBLEM).frames)
    agent = DrawAgent(chatty("I go on."), TASK, Settings(max_frames=moves))
    run = Run(agent, PROBLEM, lambda: False)
    frames = [PROBLEM.image, *map(maze.render, TASK.solve(PROBLEM).frames)]
    for before, after in pairwise(frames):
        run.note_move("I go on.", before, after, own=True)
    assert tuple(run.moves) == TASK.solve(PROBLEM).moves


def test_a_models_own_defaults_stand_where_the_settings_say_nothing() -> None:
    @dataclass(frozen=True)
    class Own(Options):
        temperature: float = option(1.0, 0.0, 2.0, "")
        guidance: float = option(5.0, 1.0, 20.0, "")
        steps: int = option(7, 1, 9, "")

    model = maze_model()
    assert options_for(model, Settings(seed=1), 1, 0) == Options(seed=options_for(model, Settings(seed=1), 1, 0).seed)
    model.options_type = Own
    drawn = options_for(model, Settings(), 1, 0)
    assert isinstance(drawn, Own) and (drawn.temperature, drawn.guidance, drawn.steps) == (1.0, 5.0, 7)
    asked = options_for(model, Settings(temperature=0.3, guidance=2.0), 1, 2)
    assert (round(asked.temperature, 6), asked.guidance) == (0.8, 2.0)
    bold = [options_for(model, Settings(temperature=1.4), 1, number).temperature for number in (0, 1, 2)]
    assert bold == [1.4, 1.0, 1.5]  # a first drawing as bold as it was asked for, redraws with more care
