"""Geometry as a task: gold is solved, every mistake costs and is named, figures are built again from dragged points or refused in words."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from math import dist
from typing import Any

import numpy as np
import pytest

from agents.tasks import geometry
from agents.tasks.figure import Point
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_pictures import INK, ORANGE, render_pixels
from agents.tasks.geometry_questions import KINDS, draft, generate, rebuild, shape_key
from agents.tasks.geometry_rules import joined, judge
from agents.tasks.geometry_solver import solve_independently
from agents.tasks.geometry_verdicts import parse_verdict
from agents.tasks.maze_words import cell_name
from unimm.document import Image
from unimm.errors import BadInput

PROBLEMS = [geometry.problem("test", 0, kind) for kind in geometry.GROUPS]


def pictures(problem: geometry.Problem) -> list[Image]:
    return [geometry.render(sheet) for sheet in geometry.solve(problem).frames]


def test_gold_is_solved_and_every_picture_of_it_is_right() -> None:
    for problem in PROBLEMS:
        frames, answer = pictures(problem), geometry.solve(problem).answer
        score = geometry.score(problem, frames, answer)
        assert score.solved and score.drawn and score.answer_right and score.legal_frames == score.frames == len(frames)
        before = problem.image
        for after in frames:
            check = geometry.check(problem, before, after)
            assert check.ok and check.words.endswith("correct .") and geometry.parse_verdict(check.words) == (True, None, None)
            assert check.changed and not geometry.check(problem, before, before).changed
            before = after


def test_every_mistake_scores_less_and_is_named() -> None:
    rng = random.Random(3)
    named: Counter[str | None] = Counter()
    elsewhere = 0
    for problem in PROBLEMS * 2:
        sheets, answer = problem.question.sheets, geometry.solve(problem).answer
        at = rng.randrange(len(sheets) - 1)
        wrong = corrupt(rng, sheets[at], sheets[at + 1])
        truth = judge(sheets[at], sheets[at + 1], wrong)
        frames = pictures(problem)
        frames[at] = geometry.render(wrong)
        check = geometry.check(problem, geometry.render(sheets[at]), frames[at])
        score = geometry.score(problem, frames, answer)
        assert (check.ok, check.fault) == (False, truth.fault), wrong
        assert geometry.parse_verdict(check.words) == (False, check.fault, check.where)
        assert not score.drawn and not score.solved and score.answer_right
        assert (score.legal_frames, score.fault) == (at, truth.fault)
        json.dumps(score.to_dict())
        named[truth.fault] += 1
        elsewhere += check.where != truth.where
        assert check.where == truth.where or truth.fault == "figure_changed"
    assert len(named) >= 6 and elsewhere <= 0.1 * sum(named.values())


def test_what_is_missing_or_answered_wrong_scores_less() -> None:
    problem = geometry.problem("val", 1, "midline")
    frames, answer = pictures(problem), geometry.solve(problem).answer
    short = geometry.score(problem, frames[:-1], answer)
    assert short.legal_frames == len(frames) - 1 and not short.drawn and short.answer_right and not short.solved
    assert not geometry.score(problem, frames, ()).solved and not geometry.score(problem, frames, ("no",)).answer_right
    glance = geometry.score(problem, (), answer)
    assert glance.answer_right and not glance.drawn and glance.frames == 0


def test_what_cannot_be_read_is_a_fault_with_its_place() -> None:
    problem = geometry.problem("test", 0, "triangle_area")
    pixels = render_pixels(problem.question.start).copy()
    corner = next((r, c) for r in (1, 4, 6) for c in (1, 4, 6) if (pixels[32 * r : 32 * r + 64, 32 * c : 32 * c + 64] == 255).mean() > 0.95)
    r, c = corner
    pixels[32 * r + 8 : 32 * r + 24, 32 * c + 8 : 32 * c + 24] = ORANGE
    check = geometry.check(problem, problem.image, Image(256, 256, pixels.tobytes()))
    assert (check.ok, check.fault, check.changed) == (False, "unreadable", (corner,))
    assert check.where is not None and max(abs(check.where[0] - r - 0.5), abs(check.where[1] - c - 0.5)) < 1
    blank = Image(64, 32, bytes(64 * 32 * 3))
    assert geometry.check(problem, problem.image, blank).fault == "unreadable"


def test_dirt_is_named_square_by_square_up_to_the_edge_of_the_paper() -> None:
    problem = geometry.problem("test", 0, "triangle_area")
    right = geometry.solve(problem).frames[0]
    pixels = render_pixels(right).copy()
    free = [(r, c) for r, c in product(range(8), repeat=2) if (pixels[32 * r : 32 * r + 32, 32 * c : 32 * c + 32] > 200).all()]
    dirty = sorted({*(cell for cell in free if max(cell) == 7), free[0]})[:3]
    for r, c in dirty:
        pixels[32 * r + 8 : 32 * r + 24, 32 * c + 8 : 32 * c + 24] = INK
    spoilt = Image(256, 256, pixels.tobytes())
    check = geometry.check(problem, problem.image, spoilt)
    places = [(r + 1, c + 1) for r, c in dirty]
    assert (check.ok, check.fault, check.where) == (False, "unreadable", places[0])
    assert geometry.places(problem, problem.image, spoilt) == set(places)
    listed = check.words.split(" . ")[0]
    assert [name for name in listed.split() if f"unreadable {name}" in listed] == [cell_name(cell) for cell in dirty]
    assert parse_verdict(check.words) == (False, "unreadable", places[0])


def test_moments_show_one_right_and_two_wrong_pictures() -> None:
    rng = random.Random(5)
    for problem in PROBLEMS[::2]:
        before, shown = geometry.moment(rng, problem)
        assert [ok for _, ok, _, _ in shown] == [True, False, False]
        for after, ok, fault, _ in shown:
            check = geometry.check(problem, before, after)
            assert (check.ok, check.fault) == (ok, fault)


def test_all_points_that_are_wrong_may_be_named_and_no_others() -> None:
    question = geometry.problem("test", 0, "triangle_area").question
    *_, before, right = question.sheets
    (line,) = right.lines - before.lines
    rng, problem = random.Random(4), geometry.problem("test", 0, "triangle_area")

    def named(wrong: Any) -> frozenset[Point]:
        return geometry.places(problem, geometry.render(before), geometry.render(wrong))

    free = [(r, c) for r in range(1, 8) for c in range(1, 8) if (r, c) not in {*question.figure.at.values(), *line, *right.marks}]
    assert named(right) == named(before) == frozenset()
    assert named(before.connect(line[0], free[0])) == {free[0]}  # one end is where it should be
    assert named(right.mark(free[1])) == {free[1]}
    assert named(before.connect(*free[2:4])) == set(free[2:4])  # either end will do
    for _ in range(40):
        wrong = corrupt(rng, before, right)
        truth, places = judge(before, right, wrong), named(wrong)
        assert truth.where is None or truth.where in places or truth.fault == "too_early", (truth, places)
        assert len(places) <= 4 or truth.fault == "figure_changed"


def test_a_damaged_figure_is_wrong_at_its_points_and_wherever_it_looks_otherwise() -> None:
    problem = geometry.problem("test", 0, "rectangle_half")
    (before, right), figure = problem.question.sheets[:2], problem.question.figure
    gone = max(figure.sides, key=lambda side: dist(*side))
    wrong = replace(right, figure=replace(figure, sides=tuple(side for side in figure.sides if side != gone)))
    places = geometry.places(problem, geometry.render(before), geometry.render(wrong))
    (top, left), (bottom, right_end) = gone
    assert set(gone) < places
    beside = {(r, c) for r, c in places - set(gone)}
    assert beside and all(top <= r <= bottom + 1 and left <= c <= right_end + 1 for r, c in beside)
    seen = geometry.sights(problem.question, geometry.render(before), geometry.render(wrong))
    assert seen["damaged"] == places and seen["missed"] == frozenset()


def test_what_is_new_is_seen_whatever_was_due() -> None:
    rng = random.Random(7)
    for problem in PROBLEMS[::3]:
        *_, before, right = problem.question.sheets
        gone = geometry.sights(problem.question, geometry.render(right), geometry.render(before))
        assert gone["missed"] == {end for line in right.lines - before.lines for end in line} | (right.marks - before.marks)
        for sheet in (right, corrupt(rng, before, right)):
            found = geometry.sights(problem.question, geometry.render(before), geometry.render(sheet))
            if sheet.figure != before.figure:
                continue
            assert found["damaged"] == frozenset()
            assert found["marked"] == sheet.marks - before.marks
            if len(lines := joined(sheet.lines) - joined(before.lines)) == 1:
                assert found["ended"] == {end for line in lines for end in line}


def test_replies_are_parsed() -> None:
    assert geometry.parse_answer("answer : 6 . because base 4 , height 3 .") == ("6",)
    assert geometry.parse_answer("So the answer is c.") == ("c",) and geometry.parse_answer("maybe 6 .") == ()
    assert geometry.done("A c2 . done .") and not geometry.done("A c2 . mark d6 .")
    assert geometry.place_name((6, 4)) == "d6"
    assert geometry.verdict_words(False, "extra_line", (5, 5)) == "wrong . extra line at e5 ."


def test_asks_and_gold_document_use_the_words_of_the_lessons() -> None:
    problem = geometry.problem("test", 3, "thales")
    asks = geometry.asks(problem)
    assert set(asks) == {"next", "judge", "answer", "direct", "describe"} and asks["describe"] == "geometry describe"
    assert asks["next"] == f"geometry next : {geometry.request(problem)}"
    for mistakes in (0, 1):
        document = geometry.gold_document(problem, mistakes)
        assert document == geometry.gold_document(problem, mistakes)
        assert f"answer : {geometry.solve(problem).answer[0]} ." in document.turns[-1].parts[-1].text


# --- problems as data


@pytest.mark.parametrize("kind", geometry.GROUPS)
def test_problems_come_back_from_plain_data(kind: str) -> None:
    for split in geometry.SPLITS:
        problem = geometry.problem(split, 2, kind)
        again = geometry.Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
        assert again == problem == geometry.problem(split, 2, kind) and hash(again) == hash(problem)
        assert again.question == generate(split, 2, kind) and again.image == problem.image


def test_problems_without_a_kind_are_of_many_and_unknown_names_are_bad_input() -> None:
    assert len({geometry.problem("train", index).kind for index in range(40)}) > 10
    for wrong in (("exam", 1), ("test", 1, "cube"), ("test", 1, None, "wavy")):
        with pytest.raises(BadInput):
            geometry.problem(*wrong)


def test_splits_share_no_figure() -> None:
    layouts = {split: {geometry.layout(geometry.problem(split, i, kind)) for kind in KINDS for i in range(4)} for split in geometry.SPLITS}
    assert not layouts["train"] & layouts["test"] and not layouts["train"] & layouts["val"] and not layouts["val"] & layouts["test"]


GOOD = geometry.problem("test", 0, "triangle_area").to_dict()
FIRST, SECOND = list(GOOD["points"])[:2]


@pytest.mark.parametrize("odd", [
    {"kind": "cube"}, {"kind": 3}, {"seed": -1}, {"seed": "1"}, {"seed": True}, {"id": "x" * 999}, {"task": "maze"}, {"letters": {}},
    {"letters": {**GOOD["letters"], "A": "Z"}}, {"letters": {**GOOD["letters"], "D": "A"}}, {"letters": {"A": ["x"]}},
    {"letters": {**GOOD["letters"], "A": GOOD["letters"]["B"]}}, {"points": {}}, {"points": {**GOOD["points"], FIRST: [0, 3]}},
    {"points": {**GOOD["points"], FIRST: [8, 3]}}, {"points": {**GOOD["points"], FIRST: GOOD["points"][SECOND]}},
    {"points": {**GOOD["points"], FIRST: [1.5, 2]}}, {"points": {**GOOD["points"], FIRST: [1]}}, {"points": [[1, 2]]},
    {"points": {**GOOD["points"], "H": [1, 1]}},
])  # fmt: skip
def test_odd_data_is_bad_input(odd: dict[str, Any]) -> None:
    geometry.Problem.from_dict(GOOD)
    with pytest.raises(BadInput):
        geometry.Problem.from_dict({**GOOD, **odd})


# --- figures with dragged points


def turned(points: dict[str, Point], turn: int) -> dict[str, Point]:
    """Turned or mirrored about the middle of the paper."""
    for _ in range(turn % 4):
        points = {letter: (column, 8 - row) for letter, (row, column) in points.items()}
    return {letter: (row, 8 - column) for letter, (row, column) in points.items()} if turn >= 4 else points


@pytest.mark.parametrize("kind", KINDS)
def test_questions_are_built_again_wherever_and_however_they_lie(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(8):
        made = draft("train", rng, kind)
        letters, points = dict(made.letters), dict(made.question.figure.points)
        assert rebuild(kind, letters, points, made.seed) == made.question
        for turn in range(8):
            question = rebuild(kind, letters, turned(points, turn), made.seed)
            assert (question.words, question.answer) == (made.question.words, made.question.answer)
            assert kind in ("square_angle", "rectangle_half") or question.figure.circle or shape_key(question) == shape_key(made.question)


@pytest.mark.parametrize("kind", KINDS)
def test_dragged_points_give_a_right_question_or_a_reason(kind: str) -> None:
    """One point after another is moved anywhere: what is built is confirmed, and what is not says what to move."""
    rng = random.Random(kind)
    good = 0
    for _ in range(15):
        made = draft("train", rng, kind)
        letters, points = dict(made.letters), dict(made.question.figure.points)
        for _ in range(20):
            moved = points | {rng.choice(list(points)): (rng.randint(1, 7), rng.randint(1, 7))}
            try:
                question = rebuild(kind, letters, moved, made.seed)
            except BadInput as error:
                words = str(error)
                assert words[0].isupper() and words.endswith(".") and (";" in words or "," in words)
                assert set(re.findall(r"\b[A-HMNOPQ]\b", words)) <= set(points)
                continue
            good += 1
            points = moved
            assert solve_independently(question) == question.answer
            assert all(1 <= at <= 7 for step in question.steps for end in (step.p, step.q) if end for at in end)
            sheets = question.sheets
            assert all(judge(before, after, after).ok and before != after for before, after in pairwise(sheets))
    assert good


@pytest.mark.parametrize(("kind", "points", "said"), [
    ("triangle_area", {"A": (1, 2), "B": (6, 1), "C": (5, 7)}, "Side B C must lie along the squares"),
    ("triangle_area", {"A": (1, 1), "B": (6, 1), "C": (6, 5)}, "The altitude from A would fall on B"),
    ("median_length", {"A": (1, 2), "B": (6, 1), "C": (6, 6)}, "The midpoint of B C would fall between"),
    ("apex_bisector", {"A": (1, 2), "B": (6, 1), "C": (6, 7)}, "A B and A C must be equally long"),
    ("quadrilateral_angle", {"A": (1, 1), "B": (7, 7), "C": (7, 1), "D": (1, 7)}, "sides cross"),
    ("radius_length", {"O": (3, 3), "A": (3, 6), "B": (6, 3)}, "over the edge"),
    ("thales", {"O": (4, 4), "A": (4, 2), "B": (4, 6), "C": (1, 4)}, "equally far"),
    ("square_angle", {"A": (1, 1), "B": (1, 5), "C": (5, 5), "D": (5, 2)}, "no square"),
])  # fmt: skip
def test_impossible_places_are_refused_with_what_to_move(kind: str, points: dict[str, Point], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        rebuild(kind, {role: role for role in points}, points, 1)


def test_refusals_call_the_points_by_their_letters() -> None:
    with pytest.raises(BadInput, match="Side G A must lie along the squares, level or upright; move G or A"):
        rebuild("distance", {"A": "F", "B": "G", "C": "A"}, {"F": (1, 2), "G": (6, 1), "A": (5, 7)}, 1)


# --- pictures that visitors bring


def test_figures_are_read_from_pictures_and_asked_about() -> None:
    for problem in PROBLEMS:
        points = geometry.figure_from(problem.image)
        assert points == problem.figure.at
        painted = geometry.paint(problem.kind, points)
        assert dict(painted.points) == points and solve_independently(painted.question) == painted.question.answer


def test_pictures_and_figures_that_do_not_suit_are_bad_input() -> None:
    problem = replace(geometry.problem("test", 0, "midline"), id="x")
    for image in (Image(256, 256, bytes([255]) * 256 * 256 * 3), pictures(problem)[-1]):
        with pytest.raises(BadInput):
            geometry.figure_from(image)
    for kind in ("cube", "kite_area", "radius_angle"):
        with pytest.raises(BadInput):
            geometry.paint(kind, dict(problem.points))


def test_sheets_are_told_in_words() -> None:
    problem = geometry.problem("test", 1, "triangle_area")
    words = geometry.picture_words(pictures(problem)[-1])
    assert all(f"{letter} at {geometry.place_name(point)}" in words for letter, point in problem.points)
    assert words.count("an orange mark") == 1 and words.count("an orange line") == 1 and words.count("a dark line") == 3
    assert geometry.picture_words(Image(256, 256, np.full(256 * 256 * 3, 255, np.uint8).tobytes())) == ""


def test_the_picker_has_a_title_for_every_kind() -> None:
    assert [row["key"] for row in geometry.kinds()] == list(geometry.GROUPS)
    assert len({row["title"] for row in geometry.kinds()}) == len(geometry.GROUPS)
