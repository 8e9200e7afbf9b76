"""The weights and recorded runs that ship: they load, they solve, and the fast way draws what the slow way draws."""

from __future__ import annotations

import dataclasses
import random
from itertools import islice
from pathlib import Path

import pytest
import torch

from agents import lessons, prompts
from agents.loop import DrawAgent, Settings
from agents.tasks import TASKS, maze
from agents.tasks.maze_thoughts import free_thought
from agents.teach import begin_with, replies_right
from agents.teaching.maze import board_words
from agents.trace import Trace
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.model import Options, draw, write
from unimm.models import MODELS
from unimm.star import load
from unimm.star.config import CONFIGS
from unimm.star.generate import StarModel
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.star.tokenizer import load_tokenizer
from unimm.train.data import Teacher
from unimm.train.understanding import UnderstandingTrainer

ROOT = Path(__file__).resolve().parent.parent
TASK = TASKS["maze"]
TRACES = sorted((ROOT / "assets" / "traces").glob("*.json"))


@pytest.fixture(scope="module")
def model() -> StarModel:
    return load()


def test_a_maze_it_never_saw_is_solved(model: StarModel) -> None:
    problem = TASK.problem("test", 7, 6)
    assert maze.split_of(problem.board) == "test"
    trace = DrawAgent(model, TASK, Settings(seconds=600)).invoke(problem)
    assert trace.score["solved"] and trace.reason == "satisfied"
    assert trace.moves == TASK.solve(problem).moves
    first = next(step for step in trace.steps if step.kind == "think")
    assert len(first.latents) == first.stats["tokens"] and max(first.latents[3].heat) > 0


def test_speculation_draws_what_token_by_token_draws(model: StarModel) -> None:
    problem = TASK.problem("test", 3, 8)
    board = problem.board
    document = prompts.next_step(TASK, problem, maze.render(board), maze.think_words(board))
    fast, slow = (draw(model, document, Options(speculative=speculative)) for speculative in (True, False))
    assert fast == slow
    assert maze.check(maze.Problem(board, "x"), maze.render(board), fast).ok


def test_the_critic_names_what_is_wrong(model: StarModel) -> None:
    problem = TASK.problem("test", 5, 6)
    board = problem.board
    right = maze.next_board(board)
    wrong = right.put({right.agent: maze.FLOOR})
    assert write(model, prompts.judge(TASK, problem, maze.render(board), maze.render(right))) == "correct ."
    assert write(model, prompts.judge(TASK, problem, maze.render(board), maze.render(wrong))).startswith("wrong . no agent")


def test_another_thought_draws_another_picture(model: StarModel) -> None:
    """What the model thinks is what it draws, also where what it saw says otherwise."""
    rng, followed = random.Random(11), []
    for index in range(12):
        problem = TASK.problem("test", 300 + index, 6)
        board = rng.choice(TASK.solve(problem).frames[:-1])
        thought, asked = free_thought(rng, board)
        drawn = draw(model, prompts.next_step(TASK, problem, maze.render(board), thought))
        followed.append(maze.read(drawn, board.n).board == asked)
    assert sum(followed) >= 10


def test_a_board_is_drawn_from_words_alone(model: StarModel) -> None:
    board = TASK.problem("test", 2, 6).board
    document = Document().user(Text(board_words(board))).assistant(Text(""))
    assert maze.read(draw(model, document), 6).board == board


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_recorded_runs_are_real_and_whole(path: Path) -> None:
    trace = Trace.load(path)
    assert trace.model == "star-tiny" and trace.score["solved"]
    problem = TASK.from_dict(trace.problem)
    assert TASK.score(problem, trace.pictures(), trace.moves).to_dict() == trace.score


def test_one_recorded_run_corrects_its_own_mistake() -> None:
    trace = Trace.load(TRACES[0])
    redrawn = [entry for entry in trace.rounds() if entry.picture.kind == "revise" and entry.accepted]
    assert redrawn
    refused = [entry for entry in trace.rounds() if entry.verdict("model") and not entry.verdict("model").ok]
    assert {entry.frame for entry in refused} >= {entry.frame for entry in redrawn}


def test_a_recorded_picture_is_drawn_again_by_the_shipped_weights(model: StarModel) -> None:
    trace = Trace.load(TRACES[0])
    step = next(step for step in trace.steps if step.kind == "draw")
    thought = next(step for step in trace.steps if step.kind == "think").thought
    assert isinstance(step.image, Image) and Text(thought).text
    document = prompts.next_step(TASK, TASK.from_dict(trace.problem), step.before, thought)
    assert draw(model, document, dataclasses.replace(Options(), seed=0)) == step.image


def test_the_table_of_models_says_what_the_weights_were_taught(model: StarModel) -> None:
    row = MODELS["star-tiny"].capabilities
    assert (row.taught, row.plain) == (model.capabilities.taught, model.capabilities.plain)
    assert set(row.taught) <= set(TASKS)


def test_a_task_that_the_weights_do_not_know_is_refused(model: StarModel) -> None:
    for name in set(TASKS) - set(model.capabilities.taught):
        with pytest.raises(BadInput, match=f"was not trained on the task {name}"):
            DrawAgent(model, TASKS[name], Settings()).invoke(TASKS[name].problem("test", 0))


# --- the base to go on training from


def test_the_base_to_go_on_from_reads_thinks_and_judges_in_all_tasks() -> None:
    """Held-out questions, answered after the right words before; the drawing layers are not there and nothing else is missing."""
    star = Star(CONFIGS["tiny"]).eval()
    missing = begin_with(star, ROOT / "assets" / "star-tiny-base")
    tied = "base.lm_head.weight"
    assert tied in missing and not [name for name in missing if (is_base(name) and name != tied) or name.startswith("pixel_encoder.")]
    teacher = Teacher(CONFIGS["tiny"], load_tokenizer(ROOT / "assets" / "star-tiny-base" / "tokenizer.json"))
    questions = list(islice(lessons.understanding_lessons(1, {"maze": 1.0, "geometry": 2.0, "compose": 2.0}, "val"), 160))
    with torch.no_grad():
        right = replies_right(UnderstandingTrainer(star).eval(), teacher, questions)
    assert min(right["geometry_next"], right["words_geometry_next"]) > 0.6 and right["compose_next"] > 0.4
    assert min(right[f"{task}_{kind}"] for task in TASKS for kind in ("describe", "judge_correct_verdict", "judge_wrong_verdict")) > 0.3


def test_the_codes_of_the_base_to_go_on_from_hold_its_pictures() -> None:
    star = Star(CONFIGS["tiny"]).eval()
    begin_with(star, ROOT / "assets" / "star-tiny-base")
    for task in ("compose", "maze"):
        pixels = pictures_to_pixels(torch.as_tensor(next(lessons.picture_batches(3, {task: 1.0}, 8, "val"))))
        with torch.no_grad():
            drawn = star.pixel_encoder.decode(star.pixel_encoder.encode(pixels), (8, 8))
        assert (drawn - pixels).abs().mean() < 0.03
