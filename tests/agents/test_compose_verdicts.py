"""Verdicts on scenes read again: where a request's conclusion does not follow from what the reply sees and wants, these count."""

from __future__ import annotations

import random

import pytest

from agents.tasks import TASKS
from agents.tasks.compose_asks import compared, judged, mend, random_ask, solved
from agents.tasks.compose_edits import Edit
from agents.tasks.compose_mistakes import corrupt
from agents.tasks.compose_rules import FIRST
from agents.tasks.compose_verdicts import objection
from agents.tasks.compose_words import parse_verdict, verdict_words

TRIANGLES = "purple triangle small b1 , orange triangle large d2 , purple triangle large c4"


def reply(seen: str, wanted: str, end: str) -> str:
    return f"see : {seen} . want : {wanted} . look : b1 first purple purple . check : first 2 of 2 yes . {end}"


@pytest.mark.parametrize(
    ("seen", "wanted", "said", "told"),
    [
        (TRIANGLES, "first 2 purple triangle any", "wrong . extra at c4 . plan : clear c4 .", "wrong . extra at d2 . plan : clear d2 ."),
        (TRIANGLES, "first 2 purple triangle any", "correct .", "wrong . extra at d2 . plan : clear d2 ."),
        (
            TRIANGLES, "first 3 purple triangle any", "wrong . too many at c4 . plan : clear c4 .",
            "wrong . wrong colour at d2 . plan : purple triangle large d2 .",
        ),
        (
            TRIANGLES, "first 4 purple triangle any", "wrong . extra at d2 . plan : purple triangle large d2 , purple triangle large a2 .",
            "wrong . wrong colour at d2 . plan : purple triangle large d2 , purple triangle large a2 .",
        ),
        (TRIANGLES, "first 3 any triangle any", "wrong . extra at d2 . plan : clear d2 .", None),
        (TRIANGLES, "first 4 any triangle any", "wrong . extra at d2 . plan : clear d2 .", "wrong . too few . plan : clear d2 ."),
        (
            "red star large a1 , red cross large b1", "first 1 red star any , second 1 red cross any , first right second", "correct .",
            "wrong . wrong place at a1 .",
        ),
        (TRIANGLES, "first 2 purple triangle any , not orange any any", "wrong . stayed . plan : clear d2 .", None),
        ("unreadable a1", "first 2 purple triangle any", "wrong . unreadable at a1 . plan : clear a1 .", None),
        ("none", "add purple square small", "correct .", None),
    ],
)  # fmt: skip
def test_what_is_seen_and_wanted_counts(seen: str, wanted: str, said: str, told: str | None) -> None:
    assert objection(reply(seen, wanted, said)) == reply(seen, wanted, told or said)


@pytest.mark.parametrize("words", ["correct .", "wrong . stayed .", "looks fine to me", ""])
def test_words_that_tell_nothing_are_taken_as_they_are(words: str) -> None:
    assert objection(words) == words


def test_every_right_reply_stays_as_it_is_and_a_false_conclusion_to_a_request_does_not() -> None:
    rng, wrong = random.Random(3), 0
    for _ in range(300):
        ask, before = random_ask(rng, "train", None)
        after = solved(rng, ask, before)
        if after is None:
            continue
        shown = corrupt(rng, ask, before, after) if rng.random() < 0.6 else after
        verdict = judged(ask, before, shown)
        said = verdict_words(verdict, shown, after if verdict.ok else mend(FIRST, ask, before, shown), compared(ask, before), ask)
        assert objection(said) == said
        if not (verdict.ok or isinstance(ask, Edit) or verdict.fault == "stayed" or not shown.things):
            claimed = said[: said.index("wrong . ")] + "correct ."
            assert parse_verdict(objection(claimed)) == (False, verdict.fault, verdict.where), claimed
            wrong += 1
    assert wrong > 40


def doubting(row: int, column: int, chance: float) -> tuple[float, ...]:
    chances = [0.01] * 64
    chances[8 * row + column] = chance
    return tuple(chances)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("correct .", "wrong . unreadable at d2 . plan : orange triangle large d2 ."),
        ("wrong . extra at c4 . plan : clear c4 .", "wrong . unreadable at d2 . plan : orange triangle large d2 ."),
        ("wrong . unreadable at b1 . plan : clear b1 , clear d2 .", "wrong . unreadable at d2 . plan : clear b1 , clear d2 ."),
    ],
)
def test_what_is_broken_comes_before_all_else_and_is_drawn_again_as_it_was_seen(end: str, told: str) -> None:
    wanted = "first 3 any triangle any"
    for row, column in ((2, 6), (3, 7)):
        assert objection(reply(TRIANGLES, wanted, end), doubting(row, column, 0.9)) == reply(TRIANGLES, wanted, told)
    assert objection(reply(TRIANGLES, wanted, end), doubting(2, 6, 0.1)) == objection(reply(TRIANGLES, wanted, end))


def test_what_is_broken_where_nothing_was_seen_keeps_the_plan_of_the_words_or_is_cleared() -> None:
    said = reply(TRIANGLES, "first 3 any triangle any", "wrong . extra at c4 . plan : clear c4 .")
    assert objection(said, doubting(0, 0, 0.9)) == said.replace("extra at c4", "unreadable at a1")
    passed = reply(TRIANGLES, "first 3 any triangle any", "correct .")
    assert objection(passed, doubting(0, 0, 0.9)) == passed.replace("correct .", "wrong . unreadable at a1 . plan : clear a1 .")
    assert objection("no verdict", doubting(0, 0, 0.9)) == "no verdict"


def test_the_task_reads_its_verdicts_again() -> None:
    said = reply(TRIANGLES, "first 2 purple triangle any", "correct .")
    assert TASKS["compose"].objection(said, (0.1,), ("damaged",)) == objection(said) != said
