"""A board that the words pass and the pixels do not, and what a redraw is told of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents import prompts
from agents.critics import model_critic
from agents.events import Critiqued
from agents.scripted import ScriptedModel
from agents.tasks import TASKS, maze
from agents.tasks.maze_verdicts import objection
from unimm.document import Text
from unimm.events import PartDone, TextDelta

MAZE = TASKS["maze"]
CORRECT = "correct ."


def doubting(n: int, *cells: tuple[int, int, float]) -> tuple[float, ...]:
    chances = np.full((n, n), 0.01)
    for r, c, chance in cells:
        chances[r, c] = chance
    return tuple(chances.ravel().tolist())


@pytest.mark.parametrize(("kind", "fault"), [("missed", "dead end missed"), ("overdone", "route greyed"), ("damaged", "cell unreadable")])
def test_a_cell_that_is_seen_to_be_wrong_counts_for_more_than_correct(kind: str, fault: str) -> None:
    seen, kinds = doubting(5, (1, 4, 0.7), (3, 3, 0.9)), [kind] * 25
    assert objection(CORRECT, seen, kinds) == f"wrong . {fault} at d4 ."
    assert objection(CORRECT, doubting(5, (3, 3, 0.3)), kinds) == CORRECT == objection(CORRECT)


def test_words_that_name_a_fault_stand() -> None:
    said = "wrong . agent jumped at b2 ."
    assert objection(said, doubting(5, (3, 3, 0.9)), ["missed"] * 25) == said == objection(said, doubting(5), ["missed"] * 25)


def critiqued(said: str, n: int, damage: tuple[float, ...]) -> Critiqued:
    stats = {"confidence": 0.97, "damage": damage, "damage_kinds": ("missed",) * len(damage)}
    model = ScriptedModel(lambda *call: [TextDelta(said), PartDone(Text(said), stats)])
    model.capabilities = replace(model.capabilities, taught=("maze",))
    problem = MAZE.problem("val", 3, n)
    return model_critic(model, MAZE)(problem, problem.image, problem.image)


def test_cells_are_named_from_the_corner_of_the_board() -> None:
    """A board of 10 stands one cell from the edge of a canvas of 12; what is seen beside the board is no cell of it."""
    critique = critiqued(CORRECT, 10, doubting(12, (3, 4, 0.8), (0, 0, 0.9)))
    assert (critique.ok, critique.fault, critique.where, critique.confidence) == (False, "dead_end_missed", (2, 3), 0.8)
    assert critique.objection == "wrong . dead end missed at d3 ." and critique.words == CORRECT
    assert len(critique.doubts) == 144


@pytest.mark.parametrize(("most", "ok", "confidence"), [(0.01, True, 0.97), (0.2, True, 0.8), (0.9, False, 0.9)])
def test_correct_is_as_sure_as_no_cell_is_doubted(most: float, ok: bool, confidence: float) -> None:
    critique = critiqued(CORRECT, 8, doubting(8, (2, 2, most)))
    assert critique.ok is ok and critique.confidence == pytest.approx(confidence)


def test_a_fault_in_words_is_as_sure_as_the_words() -> None:
    critique = critiqued("wrong . no agent at c3 .", 8, doubting(8, (2, 2, 0.1)))
    assert (critique.ok, critique.fault, critique.confidence) == (False, "no_agent", 0.97)


def test_long_ways_are_answered_in_legs() -> None:
    moves = ["up"] * (2 * MAZE.leg + 3)
    asked = prompts.answers(MAZE, MAZE.problem("val", 1), MAZE.problem("val", 1).image, moves)
    legs = [maze.parse_moves(document.turns[-1].parts[0].text) for document in asked]
    assert [len(leg) for leg in legs] == [MAZE.leg, MAZE.leg, 3] and [move for leg in legs for move in leg] == moves
    assert len(prompts.answers(MAZE, MAZE.problem("val", 1), MAZE.problem("val", 1).image, ())) == 1
