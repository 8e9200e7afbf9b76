"""Verdicts read again: a conclusion that the model's own words do not bear out is not taken."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agents import prompts
from agents.critics import model_critic
from agents.events import Critiqued
from agents.scripted import ScriptedModel
from agents.tasks import TASKS
from agents.tasks import geometry_words as words
from agents.tasks.figure import Point
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_questions import generate
from agents.tasks.geometry_rules import Verdict, judge
from agents.tasks.geometry_steps import next_step
from agents.tasks.geometry_verdicts import contradiction, objection, parse_verdict
from unimm.document import Text
from unimm.events import PartDone, TextDelta

GEOMETRY = TASKS["geometry"]
REST = "A e1 . E d6 . F b3 . G g4 . diagonal A e1 E d6 halves the angle of 90 . connect e1 to d6 . "


def read(seen: str, end: str = "correct .", rest: str = REST) -> tuple[bool, str | None, Point | None]:
    return parse_verdict(f"see : {seen} . {rest}{end}")


@pytest.mark.parametrize(
    ("seen", "fault", "where"),
    [
        ("connect e1 to e4", "line_elsewhere", (4, 5)),
        ("none", "stayed", None),
        ("mark d6", "extra_mark", (6, 4)),
        ("connect e1 to d6 , mark b2", "extra_mark", (2, 2)),
        ("connect e1 to d6 , connect a1 to g7", "extra_line", (7, 7)),
        ("connect e1 to d6 , changed f3", "figure_changed", (4, 7)),
        ("connect e1 to d6 , unreadable h8", "unreadable", (8, 8)),
    ],
)
def test_correct_is_not_taken_of_something_else_than_what_was_due(seen: str, fault: str, where: Point | None) -> None:
    assert read(seen) == (False, fault, where)
    text = f"see : {seen} . {REST}correct ."
    place = f" at {words.point_name(where)}" if where else ""
    assert objection(text) == f"see : {seen} . {REST}wrong . {words.FAULTS[fault]}{place} ."
    assert parse_verdict(objection(text)) == read(seen)


@pytest.mark.parametrize("seen", ["connect e1 to d6", "connect d6 to e1"])
def test_correct_is_taken_of_what_was_due_whichever_way_round(seen: str) -> None:
    assert read(seen) == (True, None, None)
    assert objection(f"see : {seen} . {REST}correct .") == f"see : {seen} . {REST}correct ."


def test_a_mark_elsewhere_a_line_too_early_and_nothing_left_to_draw() -> None:
    due = "D a5 . G a7 . altitude from B c1 is the height , first its foot . at 1 , 1 . mark a1 . "
    assert read("mark b1", rest=due) == (False, "mark_elsewhere", (1, 2))
    assert read("connect c1 to a1", rest=due) == (False, "too_early", (1, 1))
    assert read("none", rest="A e1 . drawn e1 to d6 . done . ") == (True, None, None)
    assert read("mark b2", rest="A e1 . drawn e1 to d6 . done . ") == (False, "extra_mark", (2, 2))


def test_wrong_and_words_that_do_not_say_what_they_see_are_taken_as_they_are() -> None:
    assert read("connect e1 to d6", "wrong . line elsewhere at d6 .") == (False, "line_elsewhere", (6, 4))
    assert parse_verdict("correct .") == (True, None, None)
    assert contradiction("looks fine . correct .") is None and contradiction("see : something odd . done . correct .") is None


@pytest.mark.parametrize(
    ("seen", "end", "fault", "where"),
    [
        ("connect e1 to e4", "wrong . line elsewhere at b7 .", "line_elsewhere", (4, 5)),
        ("connect e1 to e4 , unreadable c3", "wrong . point unreadable at c3 .", "line_elsewhere", (4, 5)),
        ("connect e1 to d6 , unreadable c3", "wrong . point unreadable at c3 .", "unreadable", (3, 3)),
        ("connect e1 to d6 , connect d6 to g7", "wrong . extra line at d6 .", "extra_line", (6, 4)),
        ("connect e1 to d6 , connect d6 to g7", "wrong . extra line at b3 .", "extra_line", (7, 7)),
        ("connect e1 to d6 , changed g4", "wrong . figure changed at g4 .", "figure_changed", (4, 7)),
    ],
)
def test_a_wrong_step_that_is_read_is_where_it_is_read(seen: str, end: str, fault: str, where: Point) -> None:
    assert read(seen, end) == (False, fault, where)


def test_a_line_is_too_early_only_where_it_ends_at_the_mark_that_is_due() -> None:
    due = "D a5 . G a7 . altitude from B c1 is the height , first its foot . at 1 , 1 . mark a1 . "
    end = "wrong . line too early at a1 ."
    assert read("mark a1 , connect c1 to a1", end, due) == (False, "too_early", (1, 1))
    assert read("mark a1 , connect c1 to e6", end, due) == (False, "extra_line", (6, 5))


def test_no_right_verdict_contradicts_itself_and_every_wrong_one_would() -> None:
    rng, wrong = random.Random(4), 0
    for number in range(200):
        question = generate("train", number)
        at = rng.randrange(len(question.sheets))
        before, right = question.sheets[at], question.sheets[at + 1] if at + 1 < len(question.sheets) else None
        shown = corrupt(rng, before, right) if rng.random() < 0.5 else right or before
        verdict = judge(before, right, shown)
        said = words.judged_words(next_step(question, before), before, shown, verdict)
        claimed = said.replace(words.verdict_words(verdict), "correct .")
        assert (contradiction(claimed) is None) == verdict.ok, claimed
        wrong += not verdict.ok
    assert wrong > 50


def test_the_critic_is_as_sure_as_its_least_sure_word_and_a_redraw_is_told_the_verdict() -> None:
    said = f"see : connect e1 to e4 . {REST}correct ."
    pieces = [f"{word} " for word in said.split()]
    chances = [0.99] * len(pieces)
    chances[4], chances[-2] = 0.7, 0.98

    model = ScriptedModel(lambda *call: [*map(TextDelta, pieces), PartDone(Text(said), {"confidence": 0.99, "chances": chances})])
    model.capabilities = replace(model.capabilities, taught=("geometry",))
    problem = GEOMETRY.problem("val", 3)
    picture = GEOMETRY.render(problem.question.start)
    critique = model_critic(model, GEOMETRY)(problem, picture, picture)
    assert (critique.ok, critique.fault, critique.where) == (False, "line_elsewhere", (4, 5))
    assert (critique.confidence, critique.words) == (0.7, said)
    told = prompts.Taught(GEOMETRY).revise(problem, picture, picture, critique.objection).turns[-1].parts[0]
    assert told == Text(f"see : connect e1 to e4 . {REST}wrong . line elsewhere at e4 .")


def doubting(*squares: tuple[int, int, float]) -> tuple[float, ...]:
    chances = {(row, column): chance for row, column, chance in squares}
    return tuple(chances.get(divmod(square, 8), 0.01) for square in range(64))


def seeing(marks: str = "", ends: str = "e1 d6", **others: str) -> tuple[str, ...]:
    """What squares are or what is new at their lower right corners, by the names of these."""
    kinds = {name: kind for kind, names in {"marked": marks, "ended": ends, **others}.items() for name in names.split()}
    return tuple(kinds.get(words.point_name((row, column)), "damaged") for row in range(1, 9) for column in range(1, 9))


CHANGED, EXTRA = "wrong . figure changed at b3 .", "wrong . extra line at c3 ."
MARK = "A e1 . E d6 . altitude from A e1 , first its foot . at 3 , 1 . mark c1 . "
DRAWN = "A e1 . E d6 . drawn c2 , e4 to g7 . line from A to E . connect e1 to d6 . "


@pytest.mark.parametrize(
    ("seen", "end", "damage", "told", "verdict"),
    [
        ("", "correct .", doubting((0, 4, 0.15)), "", "correct ."),
        ("", "correct .", doubting((0, 6, 0.9)), "", "wrong . point unreadable at g1 ."),
        ("", "correct .", doubting((0, 4, 0.9)), "", "wrong . figure changed at e1 ."),  # a corner of the figure
        (" , changed b3", CHANGED, doubting((5, 4, 0.9), (2, 1, 0.2)), " , changed b3", "wrong . point unreadable at e6 ."),
        (" , changed b3", CHANGED, doubting((5, 4, 0.8), (2, 1, 0.9)), " , changed b3", CHANGED),
        (" , changed b3", CHANGED, doubting((5, 4, 0.1)), "", "correct ."),
        (" , unreadable c3", "wrong . point unreadable at c3 .", doubting((5, 4, 0.1)), "", "correct ."),
        (" , connect c3 to c4", EXTRA, doubting((0, 4, 0.9)), " , connect c3 to c4", "wrong . figure changed at e1 ."),
        (" , connect c3 to c4", EXTRA, doubting((5, 4, 0.9)), None, "wrong . point unreadable at e6 ."),
        (" , connect c3 to c4", EXTRA, doubting((0, 4, 0.1)), "", "correct ."),
    ],
)  # fmt: skip
def test_damage_that_is_seen_counts_for_more_than_what_words_say_of_it(
    seen: str, end: str, damage: tuple[float, ...], told: str | None, verdict: str
) -> None:
    sees = f"connect e1 to d6{told}" if told is not None else "unreadable e6"  # of steps that are not due nothing is said then
    assert objection(f"see : connect e1 to d6{seen} . {REST}{end}", damage, seeing()) == f"see : {sees} . {REST}{verdict}"
    assert words.verdict_words(Verdict(*parse_verdict(f"see : {sees} . {REST}{verdict}"))) == verdict


@pytest.mark.parametrize(
    ("said", "kinds", "told", "verdict"),
    [
        ("connect d6 to e1", seeing(), "connect d6 to e1", "correct ."),
        ("none", seeing(), "connect e1 to d6", "correct ."),
        ("connect e1 to d6", seeing(ends="e1 d7"), "connect e1 to d7", "wrong . line elsewhere at d7 ."),
        ("connect e1 to d6", seeing(ends=""), "none", "wrong . picture stayed ."),
        ("connect e1 to d6", seeing(marks="b2"), "mark b2 , connect e1 to d6", "wrong . extra mark at b2 ."),
        ("connect e1 to d6", seeing(ends="e1 d6 d7"), "connect e1 to d6", "correct ."),  # what is seen is no line
        ("connect e1 to d7", seeing(ends="e1"), "connect e1 to d7", "wrong . line elsewhere at d7 ."),
    ],
)
def test_steps_are_what_is_seen_of_them_in_the_pixels(said: str, kinds: tuple[str, ...], told: str, verdict: str) -> None:
    for end in ("correct .", "wrong . line elsewhere at b7 ."):
        assert objection(f"see : {said} . {REST}{end}", doubting(), kinds) == f"see : {told} . {REST}{verdict}"


def test_marks_are_seen_too_and_a_reply_that_does_not_tell_what_was_due_keeps_its_verdict() -> None:
    told = objection(f"see : mark c1 . {MARK}correct .", doubting(), seeing("d1", ""))
    assert told == f"see : mark d1 . {MARK}wrong . mark elsewhere at d1 ."
    assert objection("wrong . and so on", doubting(), seeing()) == "wrong . and so on"


def test_what_was_drawn_before_and_is_gone_is_named() -> None:
    said, seen = f"see : connect e1 to d6 . {DRAWN}", seeing(missed="c2 e4 g7")
    for point, (square, fault) in {"c2": ((1, 2), "mark lost"), "g7": ((6, 6), "line lost"), "e4": ((3, 4), "line lost")}.items():
        assert objection(f"{said}correct .", doubting((*square, 0.9)), seen) == f"{said}wrong . {fault} at {point} ."


def critiqued(said: str, damage: tuple[float, ...]) -> Critiqued:
    """What the critic makes of a reply whose verdict is 97 % sure."""
    stats = {"confidence": 0.97, "doubts": doubting((4, 4, 0.8)), "damage": damage, "damage_kinds": seeing()}
    model = ScriptedModel(lambda *call: [TextDelta(said), PartDone(Text(said), stats)])
    model.capabilities = replace(model.capabilities, taught=("geometry",))
    problem = GEOMETRY.problem("val", 3)
    picture = GEOMETRY.render(problem.question.start)
    return model_critic(model, GEOMETRY)(problem, picture, picture)


@pytest.mark.parametrize(
    ("seen", "end", "most", "ok", "confidence"),
    [
        ("", "correct .", 0.15, True, 0.85),
        ("", "correct .", 0.01, True, 0.97),
        (" , changed b3", CHANGED, 0.1, True, 0.9),
        (" , changed b3", CHANGED, 0.9, False, 0.9),
        (" , connect c3 to c4", "wrong . extra line at c3 .", 0.1, True, 0.9),
    ],
)
def test_a_verdict_is_as_sure_as_what_it_hangs_on(seen: str, end: str, most: float, ok: bool, confidence: float) -> None:
    critique = critiqued(f"see : connect e1 to d6{seen} . {REST}{end}", doubting((0, 6, most)))
    assert critique.ok is ok and critique.confidence == pytest.approx(confidence)


def test_a_critic_tells_a_redraw_what_is_damaged_and_is_as_sure_as_it_sees_it() -> None:
    said = f"see : connect e1 to d6 . {REST}correct ."
    critique = critiqued(said, doubting((0, 6, 0.9)))
    assert (critique.ok, critique.fault, critique.where, critique.confidence) == (False, "unreadable", (1, 7), 0.9)
    assert critique.words == said and critique.objection == said.replace("correct .", "wrong . point unreadable at g1 .")
    assert critique.doubts == doubting((0, 6, 0.9))


def test_a_model_that_was_not_taught_the_words_is_never_overruled() -> None:
    said = "Is this picture correct ?\nVERDICT: WRONG, line elsewhere at e4"
    pieces = [f"{word} " for word in said.split(" ")]
    chances = [0.8 if piece.startswith("correct") else 0.3 for piece in pieces]
    model = ScriptedModel(lambda *call: [*map(TextDelta, pieces), PartDone(Text(said), {"confidence": 0.99, "chances": chances})])
    problem = GEOMETRY.problem("val", 3)
    picture = GEOMETRY.render(problem.question.start)
    critique = model_critic(model, GEOMETRY)(problem, picture, picture)
    assert (critique.ok, critique.fault, critique.confidence) == (False, "line_elsewhere", 0.8)
