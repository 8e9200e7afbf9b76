"""Geometry questions: every answer and construction is confirmed by other means, splits share no shape, words read back."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from agents.lessons import NO_PICTURES
from agents.tasks import geometry_words as words
from agents.tasks.figure import SIDE, Point, Sheet, point_name
from agents.tasks.geometry_questions import KINDS, SPLITS, generate, shape_key, split_of
from agents.tasks.geometry_rules import FAULTS, judge
from agents.tasks.geometry_solver import solve_independently
from agents.tasks.geometry_steps import Question, Step, apply, next_step
from agents.tasks.geometry_verdicts import parse_verdict
from agents.teaching import geometry as teaching
from agents.vocabulary import words as vocabulary
from unimm.errors import BadInput
from unimm.train.data import IGNORED, Lesson


def questions(split: str, kind: str, count: int) -> list[Question]:
    return [generate(split, index, kind) for index in range(count)]


SOME = {split: [question for kind in KINDS for question in questions(split, kind, 8)] for split in SPLITS}
ALL = [question for split in SPLITS for question in SOME[split]]


def test_every_kind_is_in_every_split_and_splits_share_no_shape():
    shapes = {split: {shape_key(question) for question in SOME[split]} for split in SPLITS}
    assert len(KINDS) >= 14
    for split in SPLITS:
        assert {question.kind for question in SOME[split]} == set(KINDS)
        assert all(split_of(question) == split for question in SOME[split])
    assert not shapes["train"] & shapes["test"] and not shapes["train"] & shapes["val"] and not shapes["val"] & shapes["test"]


def test_shape_is_the_same_wherever_a_figure_lies():
    question = generate("train", 3, "triangle_area")
    mirrored = [(letter, (column, row)) for letter, (row, column) in question.figure.points]
    assert shape_key(replace(question, figure=replace(question.figure, points=tuple(mirrored)))) == shape_key(question)


def test_same_arguments_same_question():
    assert [generate("val", index) for index in range(30)] == [generate("val", index) for index in range(30)]
    assert generate("train", random.Random(5)) == generate("train", random.Random(5))
    assert len({generate("val", index).words for index in range(30)}) > 25


def test_unknown_split_or_kind_is_bad_input():
    with pytest.raises(BadInput):
        generate("exam", 1)
    with pytest.raises(BadInput):
        generate("train", 1, "cube")


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_confirmed_by_the_independent_solver(kind: str):
    for question in questions("train", kind, 25) + questions("test", kind, 10):
        assert solve_independently(question) == question.answer, question.words


def test_figures_lie_on_the_paper_with_letters_that_belong_to_one_point():
    for question in ALL:
        points = [point for _, point in question.figure.points]
        drawn = [point for step in question.steps for point in (step.p, step.q) if point]
        assert all(1 <= at < SIDE for point in (*points, *drawn) for at in point)
        assert len(question.figure.letters) == len(points) == len({letter for letter, _ in question.figure.points})
        for number, (row, column) in enumerate(points):
            assert all(max(abs(row - r), abs(column - c)) >= 2 for r, c in points[:number])
        if question.figure.circle:
            (row, column), radius = question.figure.circle
            ends = {(row, column), (row - radius, column), (row + radius, column), (row, column - radius), (row, column + radius)}
            assert set(points) <= ends and row - radius >= 1 and row + radius < SIDE and column - radius >= 1 and column + radius < SIDE


# --- constructions: what the words say about the figure and the lines, measured again


def squared(p: Point, q: Point) -> int:
    return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2


def dot(o: Point, p: Point, q: Point) -> int:
    return (p[0] - o[0]) * (q[0] - o[0]) + (p[1] - o[1]) * (q[1] - o[1])


def cross(o: Point, p: Point, q: Point) -> int:
    return (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0])


def midway(point: Point, p: Point, q: Point) -> bool:
    return 2 * point[0] == p[0] + q[0] and 2 * point[1] == p[1] + q[1]


def sides_of(question: Question) -> list[tuple[Point, Point]]:
    return [(p, q) for p, q in question.figure.sides]


def is_altitude(question: Question) -> bool:
    """The last line comes down from a vertex, square on a side's line, to the marked foot, which is no vertex."""
    top, foot = question.steps[-1].p, question.steps[-1].q
    assert foot is not None
    bases = [(p, q) for p, q in sides_of(question) if top not in (p, q) and cross(p, q, foot) == 0]
    return foot == question.steps[0].p and foot not in question.figure.at.values() and any(dot(foot, top, p) == 0 for p, _ in bases)


def is_median(question: Question) -> bool:
    top, foot = question.steps[1].p, question.steps[1].q
    return foot == question.steps[0].p and any(midway(foot, p, q) for p, q in sides_of(question) if top not in (p, q))


def is_diagonal(question: Question) -> bool:
    ends = {frozenset((step.p, step.q)) for step in question.steps}
    return all(one <= set(question.figure.at.values()) for one in ends) and not ends & {frozenset(side) for side in question.figure.sides}


def is_midline(question: Question) -> bool:
    m, n = question.steps[0].p, question.steps[1].p
    halves = [sum(midway(mark, p, q) for p, q in sides_of(question)) for mark in (m, n)]
    return halves == [1, 1] and {question.steps[2].p, question.steps[2].q} == {m, n}


def is_bisector(question: Question) -> bool:
    """The line leaves a corner at equal angles to both sides (equal tangents, since both angles are acute) and ends on a side."""
    top, end = question.steps[-1].p, question.steps[-1].q
    p, q = (other for side in sides_of(question) if top in side for other in side if other != top)
    same = cross(top, p, end) * dot(top, end, q) == cross(top, end, q) * dot(top, p, end)
    return same and any(cross(r, s, end) == 0 and dot(end, r, s) < 0 for r, s in sides_of(question))


def is_perpendicular_bisector(question: Question) -> bool:
    _, a, b = question.asked.points
    middle, end = question.steps[1].p, question.steps[1].q
    return middle == question.steps[0].p and midway(middle, a, b) and squared(end, a) == squared(end, b) and middle != end


def is_parallel(question: Question) -> bool:
    a, top, b = question.asked.points
    p, q = question.steps[0].p, question.steps[0].q
    return (b[0] - a[0]) * (q[1] - p[1]) == (b[1] - a[1]) * (q[0] - p[0]) and cross(p, q, top) == 0 and dot(top, p, q) < 0


def is_radius(question: Question) -> bool:
    centre, radius = question.figure.circle
    (step,) = question.steps
    return centre in (step.p, step.q) and squared(step.p, step.q) == radius**2


def are_chords(question: Question) -> bool:
    centre, radius = question.figure.circle
    ends = [end for step in question.steps for end in (step.p, step.q)]
    return (
        len(question.steps) == 2
        and len(set.intersection(*({step.p, step.q} for step in question.steps))) == 1
        and all(squared(centre, end) == radius**2 for end in ends)
    )


CONSTRUCTIONS = {
    "triangle_area": is_altitude, "distance": is_altitude, "parallelogram_area": is_altitude, "trapezoid_area": is_altitude,
    "quadrilateral_area": is_diagonal, "kite_area": is_diagonal, "quadrilateral_angle": is_diagonal, "square_angle": is_diagonal,
    "rectangle_half": is_diagonal, "median_length": is_median, "median_area": is_median, "midline": is_midline,
    "bisector_angle": is_bisector, "bisector_length": is_bisector, "apex_bisector": is_bisector,
    "perpendicular_bisector": is_perpendicular_bisector, "parallel_angle": is_parallel, "radius_length": is_radius,
    "radius_angle": is_radius, "thales": are_chords, "inscribed_angle": are_chords,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_constructions_are_what_they_are_called(kind: str):
    assert all(CONSTRUCTIONS[kind](question) for question in questions("train", kind, 30))


def ring(question: Question) -> list[Point]:
    """The corners in the order of the words, from which the name of a quadrilateral is read."""
    tokens = question.words.split()
    start = next(k for k in range(len(tokens)) if all(token in question.figure.at for token in tokens[k : k + 4]))
    return [question.figure.at[token] for token in tokens[start : start + 4]]


def test_quadrilaterals_are_what_they_are_called():
    for question in ALL:
        if question.kind in ("parallelogram_area", "rectangle_half", "square_angle"):
            a, b, c, d = ring(question)
            assert (a[0] + c[0], a[1] + c[1]) == (b[0] + d[0], b[1] + d[1])
            assert question.kind == "parallelogram_area" or dot(a, b, d) == 0
            assert question.kind != "square_angle" or squared(a, b) == squared(a, d)
        if question.kind == "kite_area":
            a, b, c, d = ring(question)
            by_a_c = squared(a, b) == squared(a, d) and squared(c, b) == squared(c, d)
            by_b_d = squared(b, a) == squared(b, c) and squared(d, a) == squared(d, c)
            assert by_a_c or by_b_d
        if question.kind in ("kite_area", "trapezoid_area", "quadrilateral_area", "parallelogram_area"):
            sides = {frozenset(side) for side in question.figure.sides}
            assert all(frozenset(pair) in sides for pair in pairwise([*ring(question), ring(question)[0]]))


def test_given_numbers_and_letters_are_in_the_words():
    for question in ALL:
        tokens = question.words.split()
        assert set(question.uses) <= {letter for letter, _ in question.figure.points}
        for given in question.given:
            assert str(given.value) in tokens
        assert len(question.reason.split()) <= 48
        assert ("not to scale" in question.words) == (not question.to_scale)


def test_the_search_for_what_is_straight_tells_the_truth_about_every_pair_and_ends_with_what_it_finds():
    told = re.compile(r"([A-H]) ([a-g][1-7]) ([A-H]) ([a-g][1-7]) (slanted|straight)(?: (\d+))?")
    for kind in ("triangle_area", "parallelogram_area", "trapezoid_area", "quadrilateral_area"):
        for question in questions("train", kind, 25):
            for text in (*(step.why for step in question.steps), question.reason):
                pairs = told.findall(text)
                for p, at_p, q, at_q, how, long in pairs:
                    a, b = question.figure.at[p], question.figure.at[q]
                    assert (point_name(a), point_name(b)) == (at_p, at_q)
                    assert (how == "straight") == (0 in (a[0] - b[0], a[1] - b[1]))
                    assert not long or int(long) == abs(a[0] - b[0]) + abs(a[1] - b[1])
                assert not pairs or pairs[-1][4] == "straight"
            assert told.search(question.steps[0].why), question.steps[0].why


# --- steps


def test_gold_steps_lead_to_the_finished_sheet_and_are_judged_right():
    for question in ALL:
        sheet, seen = question.start, []
        while (step := next_step(question, sheet)) is not None:
            after = apply(sheet, step)
            assert judge(sheet, after, after).ok and not judge(sheet, after, sheet).ok
            seen.append(step)
            sheet = after
        assert tuple(seen) == question.steps and sheet == question.sheets[-1]


def test_thoughts_read_back():
    rng = random.Random(7)
    for question in ALL:
        for sheet, step in zip(question.sheets, (*question.steps, None), strict=True):
            thought = words.think_words(question, sheet)
            parsed = words.parse_step(thought)
            assert words.done(thought) == (step is None)
            assert (parsed and (parsed.act, parsed.p, parsed.q)) == (step and (step.act, step.p, step.q))
            assert words.parse_reading(words.describe_words(question.figure)) == question.figure.at
            free, after = words.free_thought(rng, question, sheet)
            other = words.parse_step(free)
            assert other is not None and apply(sheet, other) == after and (step is None or after != apply(sheet, step))
        assert words.parse_answer(words.answer_words(question)) == question.answer == words.parse_answer(words.direct_words(question))


def test_steps_that_cannot_be_read():
    assert words.parse_step("mark h8 .") is None and words.parse_step("connect a1 to a1 .") is None and words.parse_step("done .") is None
    assert words.parse_step("A c2 . mark p16 . connect c2 to d6 .") == Step("connect", (2, 3), (6, 4))


def test_verdicts_read_back():
    for fault in FAULTS:
        text = f"wrong . {FAULTS[fault]} at e5 ."
        assert parse_verdict(text) == (False, fault, (5, 5))
    assert parse_verdict("correct .") == (True, None, None)
    assert parse_verdict("A c2 . nonsense") == (False, None, None)


# --- lessons


def lessons() -> list[Lesson]:
    rng = random.Random(11)
    made = [teaching.understanding(rng, "train") for _ in range(60)]
    made += [Lesson(NO_PICTURES, (), tuple(teaching.reasoning(rng) for _ in range(4))) for _ in range(20)]
    return made + [teaching.drawing(rng, "train", editing) for _ in range(40) for editing in (True, False)]


LESSONS = lessons()


def test_all_words_are_whole_words_of_the_vocabulary():
    known = set(vocabulary())
    said = {word for lesson in LESSONS for branch in lesson.branches for word in f"{branch.ask} {branch.told} {branch.reply}".split()}
    said |= {word for question in ALL for text in (question.words, words.answer_words(question)) for word in text.split()}
    said |= {word for question in ALL for sheet in question.sheets for word in words.think_words(question, sheet).split()}
    said |= {word for text in FAULTS.values() for word in text.split()}
    assert said - known == set()


def test_lessons_are_shaped_as_the_training_expects():
    for lesson in LESSONS:
        count = len(lesson.pictures)
        assert lesson.pictures.shape == (count, 128, 128, 3) and lesson.pictures.dtype == np.uint8 and count <= 3
        for branch in lesson.branches:
            assert all(number < count for number in branch.shows) and branch.target < count and branch.source < count
            assert branch.reply.endswith(" .")
        if lesson.states is not None and lesson.faults is not None:
            assert lesson.states.shape == lesson.faults.shape == (count, 64)
            known = lesson.states[lesson.states != IGNORED]  # of a patchwork what cannot be read
            assert len(known) and known.min() >= 0 and known.max() < teaching.STATES < 100
            assert set(np.unique(lesson.faults)) <= {IGNORED, 0, 1}


def test_faults_point_at_the_tokens_of_wrong_pictures_only():
    for lesson in LESSONS:
        for branch in lesson.branches:
            if "judge" in branch.ask and lesson.faults is not None:
                ok, fault, _ = parse_verdict(branch.reply)
                assert ok != bool((lesson.faults[branch.shows[0]] == 1).any()), (branch, fault)


def test_states_name_points_where_they_are():
    question = generate("train", 4, "triangle_area")
    labels = teaching.states(question.sheets[-1]).reshape(SIDE, SIDE)
    for letter, (row, column) in question.figure.points:
        assert labels[row - 1, column - 1] % 20 == 1 + teaching.VERTEX_LETTERS.index(letter)
    foot = question.steps[0].p
    assert labels[foot[0] - 1, foot[1] - 1] == teaching.MARKED_END
    assert teaching.states(Sheet(question.figure)).reshape(SIDE, SIDE)[foot[0] - 1, foot[1] - 1] in (0, teaching.ON_SIDE)


def test_drawing_lessons_follow_the_thought():
    thoughts = [
        branch for lesson in LESSONS for branch in lesson.branches if branch.draws and branch.target >= 0 and " next " in branch.ask
    ]
    assert thoughts and all(words.parse_step(branch.reply) is not None for branch in thoughts)
    for lesson in LESSONS:
        for branch in lesson.branches:
            if branch.target >= 0:
                start = branch.source if branch.source >= 0 else 0
                assert (lesson.pictures[start] != lesson.pictures[branch.target]).any()


def test_thoughts_on_words_alone_go_on_as_those_on_pictures_do():
    rng = random.Random(3)
    for branch in (teaching.reasoning(rng) for _ in range(90)):
        if " find :" in branch.ask:  # a drill
            continue
        reading = words.parse_reading(branch.told)
        assert branch.alone and not branch.shows and reading and all(f"{name} " in branch.told for name in reading)
        if branch.ask.startswith("geometry answer"):
            assert branch.reply.startswith("because ") and words.parse_answer(branch.reply)
        elif branch.ask.startswith("geometry judge"):
            assert branch.told.startswith("see : ") and parse_verdict(branch.reply)[0] == branch.reply.endswith(" correct .")
        else:
            assert words.done(branch.reply) != branch.draws


def test_what_a_thought_computes_with_is_told_with_its_point():
    for question in ALL:
        at = question.figure.at | {name: point for name, point in words.parse_reading(question.reason).items() if name in "MNPQ"}
        for text in (question.reason, *(step.why for step in question.steps)):
            assert all(at[name] == point for name, point in words.parse_reading(text).items())
            assert "@" not in text


def test_vertices_and_marks_have_names_where_they_stand():
    named = {(state, cell): said for state, cell, said in teaching.named(SIDE)}
    for question in ALL[::9]:
        sheet = question.sheets[-1]
        labels = teaching.states(sheet)
        for cell, state in enumerate(labels):
            point = (cell // SIDE + 1, cell % SIDE + 1)
            letter = next((name for name, vertex in question.figure.points if vertex == point), None)
            if letter:
                assert named[state, cell] == (letter, point_name(point))
            elif point in sheet.marks:
                assert named[state, cell] == ("drawn", point_name(point))


def test_a_point_in_the_middle_is_found_column_by_column_and_row_by_row():
    why = "median from A c2 goes to the midpoint of B a7 C e5"
    assert words.decided_words(Step("mark", (6, 3), None, f"{why} , first M")) == f"{why} , first M . middle 1 5 3 , 7 5 6 . mark c6 ."
    assert words.decided_words(Step("connect", (2, 3), (6, 3), why)) == f"{why} . connect c2 to c6 ."
    foot = "altitude from A c2 to B a7 C e7 is the distance , first its foot"  # in the middle by chance: no middle is meant
    assert words.decided_words(Step("mark", (7, 3), None, foot)) == f"{foot} . at 1 5 3 , 7 7 7 . mark c7 ."
    above = "perpendicular to B a7 C e7 through the midpoint as far as A d2"
    assert words.decided_words(Step("connect", (7, 3), (2, 3), above)) == f"{above} . at 1 5 3 , 7 7 2 . connect c7 to c2 ."


def test_a_point_some_squares_away_is_found_by_a_sum():
    along = "bisector from A a2 makes D P = A D , A a2 D a5 3 , first P from D a5 to C g5"
    assert words.decided_words(Step("mark", (5, 4), None, along)) == f"{along} . at 1 + 3 = 4 , 5 . mark d5 ."
    both = "bisector from A g6 cuts the angle of 90 in half , A g6 B d6 3 , A g6 C g3 3 , first P 1 from both sides"
    assert words.decided_words(Step("mark", (5, 6), None, both)) == f"{both} . at 7 - 1 = 6 , 6 - 1 = 5 . mark f5 ."
    assert words.decided_words(Step("mark", (5, 6), None, "try another line")) == "try another line . at 6 , 5 . mark f5 ."
