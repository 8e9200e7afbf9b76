"""Free words: everything that is said for a request is understood again, other orders and words are, and what is not is named."""

from __future__ import annotations

import random

import pytest

from agents.tasks.compose_asks import random_ask
from agents.tasks.compose_edits import Edit
from agents.tasks.compose_parse import clauses, normalise, parse, questions
from agents.tasks.compose_phrases import phrase
from agents.tasks.compose_rules import Group, Kind, Relation, Request, judge
from agents.tasks.scene import Scene, Thing
from agents.vocabulary import words
from unimm.errors import BadInput

KNOWN = set(words())
RED_CIRCLE, BLUE_SQUARE = Kind("circle", "red"), Kind("square", "blue")
STAR, CROSS, CIRCLE = Kind("star"), Kind("cross"), Kind("circle")


@pytest.mark.parametrize("chinese", [0.0, 1.0])
def test_what_is_said_for_an_ask_is_understood_as_that_ask(chinese: float) -> None:
    """ "draw a red circle" alone does not tell an addition from a whole scene: that is what ``editing`` says."""
    rng = random.Random(7)
    for _ in range(400):
        ask, _ = random_ask(rng, rng.choice(("train", "val", "test")))
        said = phrase(rng, ask, chinese)
        assert parse(said, editing=isinstance(ask, Edit)).key == ask.key, said


@pytest.mark.parametrize("text", [
    "two red circles left of a blue square",
    "Two circles that are red, to the left of a blue box!",
    "2 red discs and one blue square, the red circles are left of the square",
    "a blue square, two red circles; the circles on the left of the box",
    "a blue square right of two red circles",
    "Please draw a pair of red circles on the left side of a square that is blue.",
    "两个红色的圆在一个蓝色的正方形的左边",
    "画一个蓝色的方块和两个红色的圆，圆在正方形的左边。",
])  # fmt: skip
def test_one_request_in_many_words(text: str) -> None:
    wanted = Request((Group(2, RED_CIRCLE), Group(1, BLUE_SQUARE)), (Relation(0, "left", 1),))
    assert parse(text).key == wanted.key


@pytest.mark.parametrize(("text", "absent"), [
    ("a star, no red", (Kind(colour="red"),)),
    ("a star without crosses and nothing green", (CROSS, Kind(colour="green"))),
    ("a star, no red, green or blue", (Kind(colour="red"), Kind(colour="green"), Kind(colour="blue"))),
    ("no large red things but a star", (Kind(None, "red", "large"),)),
    ("no crosses and a star", (CROSS,)),
    ("一个星，没有红色", (Kind(colour="red"),)),
])  # fmt: skip
def test_what_must_not_be_there(text: str, absent: tuple[Kind, ...]) -> None:
    assert parse(text) == Request((Group(1, STAR),), (), absent)


@pytest.mark.parametrize(("text", "edit"), [
    ("make the triangle green", Edit("recolour", Kind("triangle"), "green")),
    ("make the circle that is red blue", Edit("recolour", RED_CIRCLE, "blue")),
    ("把红色的圆变成蓝色", Edit("recolour", RED_CIRCLE, "blue")),
    ("turn every star violet", Edit("recolour", STAR, "purple", every=True)),
    ("make all the stars bigger", Edit("resize", STAR, "large", every=True)),
    ("把星变小", Edit("resize", STAR, "small")),
    ("get rid of the plus", Edit("remove", CROSS)),
    ("remove everything red", Edit("remove", Kind(colour="red"), every=True)),
    ("put the star in the upper-left corner", Edit("move", STAR, place=(0, 0))),
    ("move the star to d3", Edit("move", STAR, place=(2, 3))),
    ("把星移到十字的右边", Edit("move", STAR, relation="right", other=CROSS)),
    ("put a star in the bottom right corner", Edit("add", STAR, place=(3, 3))),
    ("add a red circle under the cross", Edit("add", RED_CIRCLE, relation="below", other=CROSS)),
    ("在左上角添加一个红色的圆", Edit("add", RED_CIRCLE, place=(0, 0))),
    ("switch the star and the cross", Edit("swap", STAR, other=CROSS)),
    ("把星和十字交换", Edit("swap", STAR, other=CROSS)),
])  # fmt: skip
def test_changes(text: str, edit: Edit) -> None:
    assert parse(text) == edit


def test_an_addition_or_a_whole_scene() -> None:
    assert parse("draw a red circle") == Request((Group(1, RED_CIRCLE),))
    assert parse("draw a red circle", editing=True) == Edit("add", RED_CIRCLE)


def test_all_things_that_share_a_name_can_be_referred_to_at_once() -> None:
    ask = parse("a red star, a blue star and a cross, the stars above the cross")
    assert isinstance(ask, Request)
    assert set(ask.relations) == {Relation(0, "above", 2), Relation(1, "above", 2)}
    ask = parse("a circle and a star are left of a cross")
    assert isinstance(ask, Request)
    assert set(ask.relations) == {Relation(0, "left", 2), Relation(1, "left", 2)}


@pytest.mark.parametrize(("text", "part"), [
    ("a dog", "I do not know 'dog'"),
    ("a pink star", "I do not know 'pink'"),
    ("画一只狗", "'狗'"),
    ("", "Say what to draw"),
    ("some circles", "how many"),
    ("circles", "how many circles"),
    ("four circles and three stars", "7 things"),
    ("a red circle and no red", "nothing red"),
    ("a star without stars", "no stars"),
    ("no red", "what to draw beside"),
    ("a star and a circle, the star left of the cross", "no 'cross'"),
    ("a red star, a blue star and a cross, the star left of the cross", "the red star or the blue star"),
    ("a star left of a star", "which star"),
    ("a circle and a red circle", "same thing"),
    ("a circle left of a star, the star left of the circle", "contradict"),
    ("a circle or a star", "choose"),
    ("a small large star", "one size"),
    ("a red and a blue star", "Name the shape"),
    ("a star next to a cross", "'next'"),
    ("a star in the middle", "corners"),
    ("a star left of", "both sides"),
    ("a star, a cross above it", "'it'"),
    ("make the star a circle", "another shape"),
    ("make the star red and bigger", "one change at a time"),
    ("move the star", "where to"),
    ("move all stars to a1", "One thing at a time"),
    ("add two stars", "one thing at a time"),
    ("remove the star left of the cross", "not by the place"),
    ("swap the star", "with what"),
    ("a star " * 100, "characters"),
])  # fmt: skip
def test_what_is_not_understood_is_named(text: str, part: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text)
    assert part in str(refused.value)


def test_an_unknown_word_is_answered_with_what_can_be_drawn() -> None:
    with pytest.raises(BadInput) as refused:
        parse("draw a dog")
    assert all(word in str(refused.value) for word in ("circles", "hexagons", "red", "black", "small", "six", "'dog'"))


def test_any_words_at_all_are_understood_or_refused() -> None:
    rng = random.Random(1)
    pool = "a two the all red big circle stars thing left of above no without and , is are that make turn add move swap to at top left a1 "
    pool += "put draw remove one 把 圆 在 的 左边 变成 红 色 个 两 添加 没有 和 到 移动"
    for _ in range(1500):
        text = " ".join(rng.choices(pool.split(), k=rng.randint(1, 9)))
        try:
            ask = parse(text, rng.random() < 0.5)
        except BadInput:
            continue
        assert all(clauses(ask)), text


def test_normalised_text_is_in_taught_words_and_stays_as_it_is() -> None:
    assert normalise("两个红色的圆") == "两 个 红 色 的 圆"
    assert normalise(" Two BIG-red disks... ") == "two big red discs"
    for text in (
        "two coloured circles underneath a giant item, and nothing else",
        "在右下方增加一个五角星",
        "a couple of circle shaped figures",
    ):
        said = normalise(text)
        assert set(said.split()) <= KNOWN
        assert normalise(said) == said


def test_clauses_and_questions_stand_beside_the_checks() -> None:
    ask = parse("two red circles and a blue square and three red stars, the circles left of the square, nothing green, no crosses")
    assert clauses(ask) == (
        "two red circles", "one blue square", "three red stars", "the circles left of the square", "nothing green", "no crosses",
    )  # fmt: skip
    assert questions(ask) == (
        "how many red circles ?", "how many blue squares ?", "how many red stars ?", "are the circles left of the square ?",
        "how many green shapes ?", "how many crosses ?",
    )  # fmt: skip
    assert isinstance(ask, Request)
    checks = judge(ask, Scene(), Scene.of([Thing((0, 0), "circle", "red", "small"), Thing((1, 1), "square", "blue", "large")])).checks
    assert checks == ("1", "1", "0", "yes", "0", "0")


def test_clauses_are_understood_again() -> None:
    rng = random.Random(3)
    for _ in range(150):
        ask, _ = random_ask(rng, "train")
        assert len(clauses(ask)) == len(questions(ask)) and all(clauses(ask))
        if isinstance(ask, Request):
            assert parse(" , ".join(clauses(ask))).key == ask.key
            assert {word for question in questions(ask) for word in question.split()} <= KNOWN
