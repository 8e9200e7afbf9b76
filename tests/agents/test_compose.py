"""Scenes: verdicts against a search through all assignments, planted faults in their slots, pixels and words read back."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from agents.tasks import compose
from agents.tasks.compose_asks import CATEGORIES, GROUPS, SPLITS, judged, mend, random_ask, random_scene, solved, split_of
from agents.tasks.compose_edits import Edit
from agents.tasks.compose_looks import changes_words, goal_words, look_words, want_words
from agents.tasks.compose_mistakes import corrupt
from agents.tasks.compose_phrases import phrase
from agents.tasks.compose_rules import FAULTS, FIRST, Group, Kind, Relation, Request, judge, layout
from agents.tasks.compose_words import (
    DONE,
    INSTRUCTIONS,
    describe_words,
    done,
    parse_things,
    parse_verdict,
    plan_words,
    planned,
    verdict_words,
)  # fmt: skip
from agents.tasks.maze_words import cell_name
from agents.tasks.scene import COLOURS, SHAPES, SIZES, Scene, Thing, canvas, read, render
from agents.teaching import compose as teaching
from agents.teaching.blots import blotted
from agents.vocabulary import words
from unimm.document import Image

BLANK = Scene()


def moments(count: int, seed: int, group: str | None = None):
    """(ask, scene before, right scene after, wrong one)"""
    rng = random.Random(seed)
    for _ in range(count):
        ask, before = random_ask(rng, rng.choice(SPLITS), group)
        right = solved(rng, ask, before)
        assert right is not None
        yield ask, before, right, corrupt(rng, ask, before, right)


# --- an independent judge of whole scenes: every way to give the things out to what is asked for, without augmenting paths


def suits(request: Request, group: int, thing: Thing) -> bool:
    def is_a(kind: Kind) -> bool:
        return kind.shape in (None, thing.shape) and kind.colour in (None, thing.colour) and kind.size in (None, thing.size)

    return is_a(request.groups[group].kind) and not any(is_a(kind) for kind in request.absent)


def most(request: Request, scene: Scene) -> int:
    """How many of the things that are asked for the scene can stand for at most."""

    def best(left: tuple[int, ...], things: tuple[Thing, ...]) -> int:
        if not left or not things:
            return 0
        groups = {group for group in left if suits(request, group, things[0])}
        without = [tuple(left[: left.index(group)] + left[left.index(group) + 1 :]) for group in groups]
        return max([best(left, things[1:]), *(1 + best(rest, things[1:]) for rest in without)])

    return best(tuple(index for index, group in enumerate(request.groups) for _ in range(group.count)), scene.things)


def stands(word: str, one: Thing, two: Thing) -> bool:
    (row, column), (other_row, other_column) = one.slot, two.slot
    return {"left": column < other_column, "right": column > other_column, "above": row < other_row, "below": row > other_row}[word]


def is_right(request: Request, scene: Scene) -> bool:
    needs = [index for index, group in enumerate(request.groups) for _ in range(group.count)]
    if len(scene.things) != len(needs) or most(request, scene) != len(needs):
        return False
    for order in set(permutations(needs)):
        given = list(zip(order, scene.things, strict=True))
        if all(suits(request, group, thing) for group, thing in given) and all(
            stands(relation.word, one, two)
            for relation in request.relations
            for first, one in given
            for second, two in given
            if (first, second) == (relation.first, relation.second)
        ):
            return True
    return False


def test_verdicts_on_whole_scenes_agree_with_a_search_through_all_assignments() -> None:
    seen = set()
    rng = random.Random(2)
    for category in CATEGORIES:
        for request, before, right, wrong in moments(25, len(category), category):
            assert isinstance(request, Request)
            for scene in (right, wrong, random_scene(rng)):
                verdict = judge(request, before, scene)
                assert verdict.ok == is_right(request, scene), (request, scene)
                seen.add(verdict.fault)
                blamed(request, scene, verdict.fault, verdict.where)
    assert seen >= {None, *FAULTS} - {"unreadable", "changed"}


def blamed(request: Request, scene: Scene, fault: str | None, where: tuple[int, int] | None) -> None:
    """The named fault is one, and in that slot."""
    thing = scene.at(where) if where else None
    reached, total = most(request, scene), sum(group.count for group in request.groups)
    if fault in ("colour", "shape", "size"):
        assert thing is not None
        values = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}[fault]
        assert max(most(request, scene.put(replace(thing, **{fault: value}))) for value in values) == reached + 1
    elif fault in ("extra", "too_many"):
        assert thing is not None and most(request, scene.without(thing.slot)) == reached
        assert any(suits(request, group, thing) for group in range(len(request.groups))) == (fault == "too_many")
    elif fault == "too_few":
        assert where is None and reached == len(scene.things) < total
    elif fault == "place":
        assert thing is not None and reached == len(scene.things) == total
        others = [other for other in scene.things if other != thing]
        assert any(
            suits(request, relation.first, thing) and suits(request, relation.second, other) and not stands(relation.word, thing, other)
            for relation in request.relations
            for other in others
        )


RED, BLUE = Thing((1, 0), "circle", "red", "large"), Thing((2, 3), "square", "blue", "small")
PAIR = Request((Group(1, Kind("circle", "red", "large")), Group(1, Kind("square", "blue"))), (Relation(0, "left", 1),), (Kind("star"),))


@pytest.mark.parametrize(("things", "fault", "where"), [
    ((RED, BLUE), None, None),
    ((replace(RED, colour="green"), BLUE), "colour", RED.slot),
    ((RED, replace(BLUE, shape="cross")), "shape", BLUE.slot),
    ((replace(RED, size="small"), BLUE), "size", RED.slot),
    ((RED, replace(BLUE, shape="star")), "shape", BLUE.slot),
    ((RED, BLUE, Thing((3, 3), "cross", "black", "small")), "extra", (3, 3)),
    ((RED, BLUE, Thing((0, 0), "star", "black", "small")), "extra", (0, 0)),
    ((RED, BLUE, replace(BLUE, slot=(3, 1))), "too_many", (3, 1)),
    ((RED,), "too_few", None),
    ((replace(RED, slot=(1, 3)), BLUE), "place", (1, 3)),
    ((), "stayed", None),
])  # fmt: skip
def test_a_planted_fault_is_named_in_its_slot(things: tuple[Thing, ...], fault: str | None, where: tuple[int, int] | None) -> None:
    verdict = judge(PAIR, BLANK, Scene.of(things))
    assert (verdict.ok, verdict.fault, verdict.where) == (fault is None, fault, where)


def test_every_thing_whose_repair_is_enough_may_be_named() -> None:
    problem = compose.paint("one red circle left of a blue square")
    far = replace(BLUE, slot=(3, 1))

    def named(*things: Thing) -> frozenset[tuple[int, int]]:
        return compose.places(problem, problem.image, compose.render(Scene.of(things)))

    assert named(RED, BLUE, far) == {BLUE.slot, far.slot}  # one of the two squares has to go
    assert named(replace(RED, slot=(1, 2)), replace(BLUE, slot=(2, 1))) == {(1, 2), (2, 1)}  # either may move
    assert named(replace(RED, colour="green"), BLUE) == {RED.slot}
    assert named(replace(RED, colour="green"), replace(BLUE, colour="green")) == frozenset()  # no single repair is enough


def test_checks_count_what_is_there() -> None:
    scene = Scene.of([RED, replace(RED, slot=(3, 1)), BLUE, Thing((0, 0), "star", "blue", "small")])
    assert judge(PAIR, BLANK, scene).checks == ("2", "1", "yes", "1")


STAR, CROSS = Thing((0, 1), "star", "green", "small"), Thing((3, 2), "cross", "red", "large")
START = Scene.of([RED, BLUE, STAR, CROSS])
KIND = Kind("star")


@pytest.mark.parametrize(("edit", "after", "fault", "where"), [
    (Edit("remove", KIND), START.without(STAR.slot), None, None),
    (Edit("remove", KIND), START, "stayed", None),
    (Edit("remove", KIND), START.without(STAR.slot, RED.slot), "changed", RED.slot),
    (Edit("remove", Kind(colour="red"), every=True), START.without(RED.slot), "too_many", CROSS.slot),
    (Edit("recolour", KIND, "black"), START.put(replace(STAR, colour="black")), None, None),
    (Edit("recolour", KIND, "black"), START.put(replace(STAR, colour="blue")), "colour", STAR.slot),
    (Edit("recolour", KIND, "black"), START.put(replace(STAR, colour="black", shape="cross")), "shape", STAR.slot),
    (Edit("recolour", KIND, "black"), START.without(STAR.slot), "too_few", None),
    (Edit("resize", KIND, "large"), START.put(replace(STAR, size="large")), None, None),
    (Edit("resize", KIND, "large"), START.put(replace(STAR, colour="blue", size="large")), "colour", STAR.slot),
    (Edit("add", Kind("hexagon"), place=(0, 0)), START.put(Thing((0, 0), "hexagon", "red", "small")), None, None),
    (Edit("add", Kind("hexagon"), place=(0, 0)), START.put(Thing((0, 2), "hexagon", "red", "small")), "place", (0, 2)),
    (Edit("add", Kind("hexagon"), relation="left", other=KIND), START.put(Thing((3, 0), "hexagon", "red", "small")), None, None),
    (Edit("add", Kind("hexagon"), place=(0, 0)), START.put(Thing((0, 0), "hexagon", "red", "small"), Thing((0, 2), "star", "red", "small")),
     "extra", (0, 2)),
    (Edit("move", KIND, place=(0, 3)), START.without(STAR.slot).put(replace(STAR, slot=(0, 3))), None, None),
    (Edit("move", KIND, place=(0, 3)), START.put(replace(STAR, slot=(0, 3))), "too_many", STAR.slot),
    (Edit("swap", KIND, other=Kind("cross")), START.put(replace(STAR, slot=CROSS.slot), replace(CROSS, slot=STAR.slot)), None, None),
    (Edit("swap", KIND, other=Kind("cross")), START.put(replace(STAR, slot=CROSS.slot), replace(CROSS, slot=STAR.slot, shape="hexagon")),
     "shape", STAR.slot),
    (Edit("swap", KIND, other=Kind("cross")), START.put(replace(STAR, slot=CROSS.slot)), "too_many", STAR.slot),
    (Edit("remove", Kind("hexagon")), START, None, None),
    (Edit("remove", Kind("hexagon")), START.without(RED.slot), "changed", RED.slot),
    (Edit("move", Kind(colour="red"), place=(0, 3), every=True), START, None, None),
])  # fmt: skip
def test_a_change_is_judged(edit: Edit, after: Scene, fault: str | None, where: tuple[int, int] | None) -> None:
    verdict = judged(edit, START, after)
    assert (verdict.ok, verdict.fault, verdict.where) == (fault is None, fault, where)


# --- made by chance


def test_mistakes_are_never_right_and_mending_always_is() -> None:
    rng = random.Random(4)
    for ask, before, right, wrong in moments(120, 11):
        assert judged(ask, before, right).ok
        verdict = judged(ask, before, wrong)
        assert not verdict.ok and verdict.fault in FAULTS
        repaired = mend(rng, ask, before, wrong)
        assert repaired is not None and judged(ask, before, repaired).ok, (ask, before, wrong)


def test_mending_where_a_change_of_colour_alone_makes_what_must_not_be_there() -> None:
    request = Request((Group(1, Kind(colour="red")),), (), (Kind("star", "red"),))
    wrong = Scene.of([Thing((0, 0), "star", "blue", "small")])
    repaired = mend(random.Random(0), request, BLANK, wrong)
    assert judge(request, BLANK, wrong).fault == "extra" and repaired is not None and judge(request, BLANK, repaired).ok


def test_a_tight_request_is_laid_out_and_an_impossible_one_is_not() -> None:
    four = tuple(Group(1, Kind(shape)) for shape in SHAPES[:4])
    tight = Request((*four, Group(2, Kind("cross"))), tuple(Relation(at, word, at + 1) for at in range(3) for word in ("left", "above")))
    assert all((scene := layout(random.Random(seed), tight)) is not None and judge(tight, BLANK, scene).ok for seed in range(2))
    assert layout(random.Random(0), Request(four, (Relation(0, "left", 1), Relation(1, "left", 2), Relation(2, "left", 0)))) is None


def test_splits_do_not_share_what_is_asked() -> None:
    keys = {split: set[str]() for split in SPLITS}
    rng = random.Random(6)
    for split in SPLITS:
        for group in GROUPS:
            for _ in range(10):
                keys[split].add(random_ask(rng, split, group)[0].key)
    assert not any(keys[one] & keys[two] for one in SPLITS for two in SPLITS if one != two)
    ask = Request((Group(1, Kind("star")), Group(2, Kind("cross"))), (Relation(0, "left", 1),))
    turned = Request(ask.groups[::-1], (Relation(0, "right", 1),))
    assert split_of(ask) == split_of(turned) and ask.key == turned.key
    assert Edit("swap", Kind("star"), other=Kind("cross")).key == Edit("swap", Kind("cross"), other=Kind("star")).key


# --- pixels and words


def test_every_thing_is_read_from_its_pixels() -> None:
    looks = [(shape, colour, size) for shape in SHAPES for colour in COLOURS for size in SIZES]
    for start in range(0, len(looks), 16):
        scene = Scene.of(Thing(divmod(at, 4), *look) for at, look in enumerate(looks[start : start + 16]))
        pixels = canvas(scene)
        half = Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())
        noise = np.random.default_rng(start).normal(0, 18, pixels.shape)
        noisy = Image(pixels.shape[1], pixels.shape[0], np.clip(pixels + noise, 0, 255).astype(np.uint8).tobytes())
        for image in (render(scene), half, noisy):
            assert read(image).scene == scene and read(image).unclear == ()


def test_what_has_no_name_is_unclear() -> None:
    pixels = canvas(Scene.of([RED])).copy()
    pixels[0:32, 32:64] = (0, 200, 200)
    reading = read(Image(128, 128, pixels.tobytes()))
    assert reading.unclear == ((0, 1),) and reading.scene == Scene.of([RED])


def test_dirt_beside_things_is_a_fault_whose_repair_clears_it() -> None:
    problem = compose.paint("one red circle left of a blue square")
    clean = canvas(Scene.of((RED, BLUE)))
    rng, seen = random.Random(8), 0
    for _ in range(20):
        spoilt, blots = blotted(rng, clean, canvas(random_scene(rng, 8, 16)), most=1)
        shown = spoilt.repeat(2, 0).repeat(2, 1)
        check = compose.check(problem, problem.image, Image(256, 256, shown.tobytes()))
        (cell,) = blots.nonzero()[0]
        slot = (cell // 8 // 2, cell % 8 // 2)
        if not check.ok:
            seen += 1
            assert (check.fault, check.where) == ("unreadable", slot)
            assert compose.places(problem, problem.image, Image(256, 256, shown.tobytes())) == {slot}
            listed, plan = check.words.split("want :")[0], check.words.split("plan :")[1]
            assert f"unreadable {cell_name(slot)} " in listed and cell_name(slot) in plan
    assert seen > 12


def test_plans_verdicts_and_descriptions_are_read_again_and_taught() -> None:
    known, rng = set(words()), random.Random(8)
    for ask, before, right, wrong in moments(100, 12):
        plan, verdict = plan_words(before, right, ask), judged(ask, before, wrong)
        repaired = mend(rng, ask, before, wrong)
        assert planned(before, plan) == right
        said = verdict_words(verdict, wrong, repaired)
        assert parse_verdict(said) == (False, verdict.fault, verdict.where)
        assert planned(wrong, said) == repaired
        fine = verdict_words(judged(ask, before, right), right)
        assert parse_verdict(fine) == (True, None, None)
        assert parse_things(describe_words(wrong)) == wrong
        texts = (plan, said, fine, describe_words(wrong), phrase(rng, ask, 0.0), phrase(rng, ask, 1.0))
        assert not {word for text in texts for word in text.split()} - known
    assert done(DONE) and not {word for text in (DONE, *INSTRUCTIONS.values()) for word in text.split()} - known


def test_each_thing_is_held_against_a_request_or_an_edit_word_for_word() -> None:
    groups = (Group(1, Kind("circle", "red")), Group(2, Kind("square")))
    scene = Scene.of([Thing((0, 0), "square", "red", "small"), RED, Thing((3, 3), "star", "black", "large")])
    absent = Request(groups, absent=(Kind(colour="black"),))
    square = "first red red circle square shape any second any square square any yes second 1"
    circle = "first red red circle circle any yes first 1"
    told = f"look : a1 not black red colour {square} , a2 not black red colour {circle} , d4 not black black any any yes not 1 . "
    assert look_words(absent, scene) == want_words(absent) + told
    star = "first red black colour circle star shape second any square star shape any"  # two words off ends a comparison, one does not
    told = f"look : a1 {square} , a2 {circle} , d4 {star} . "
    assert look_words(Request(groups), scene) == want_words(Request(groups)) + told
    swap, other = Edit("swap", KIND, other=Kind("cross")), "other any cross circle shape"
    told = (
        f"look : b1 this any star star any yes , a2 this any star circle shape {other} , "
        "d3 this any star square shape other any cross square shape , c4 this any star cross shape other any cross cross any yes . "
    )
    assert look_words(swap, START) == want_words(swap) + told
    assert look_words(None, scene) == "" and look_words(Request(groups), BLANK) == ""


def test_an_edit_is_judged_by_what_became_of_each_thing_and_what_should_have() -> None:
    swap = Edit("swap", KIND, other=Kind("cross"))
    after = START.without(STAR.slot).put(replace(CROSS, colour="blue"), Thing((0, 0), "star", "green", "small"))
    said = changes_words(START, after)
    assert said.startswith(f"green star small a1 new , {STAR.words} gone , {RED.words} same , ")
    assert f"{CROSS.words} changed blue cross {CROSS.size}" in said
    assert "a2 this any star circle shape other any cross circle shape same , " in look_words(swap, START, after)
    goal = f"goal : first c4 {STAR.colour} star {STAR.size} , second b1 {CROSS.colour} cross {CROSS.size} . "
    one = f"a1 first c4 a1 no {STAR.colour} green"
    assert goal_words(swap, START, after).startswith(f"{goal}now : {one}")
    add = Edit("add", Kind("circle", "blue"), relation="left", other=Kind("star"))
    placed = START.put(Thing((0, 0), "circle", "blue", "large"))
    told = "goal : first left b1 blue circle any . now : a1 first left b1 a1 blue blue circle circle any yes . "
    assert goal_words(add, START, placed) == told
    right = START.put(Thing((3, 3), "circle", "blue", "large"))
    assert "now : d4 first left b1 d4 no blue blue circle circle any . " in goal_words(add, START, right)
    assert goal_words(Edit("remove", KIND), START, START.without(STAR.slot)) == "goal : none . now : none . "


def test_a_verdict_counts_what_is_there_against_what_is_wanted() -> None:
    groups = (Group(1, Kind("circle", "red")), Group(2, Kind("square")))
    ask = Request(groups, (Relation(0, "left", 1),), (Kind("star"),))
    places = (("square", (0, 1)), ("circle", (2, 2)), ("star", (3, 3)))
    scene = Scene.of(Thing(place, shape, "red", "large") for shape, place in places)
    said = verdict_words(judged(ask, BLANK, scene), scene, None, None, ask)
    assert "check : first 1 of 1 yes , second 1 of 2 no , c3 left b1 no , not 1 . wrong . " in said


def test_what_is_wanted_is_told_in_the_words_for_things() -> None:
    known = set(words())
    for edit, told in (
        (Request((Group(2, Kind("star")), Group(1, Kind("cross", "red", "large"))), (Relation(1, "above", 0),), (Kind(colour="blue"),)),
         "first 2 any star any , second 1 red cross large , second above first , not blue any any"),
        (Edit("swap", Kind("square", size="large"), other=Kind("cross", "red")), "swap any square large with red cross any"),
        (Edit("recolour", Kind("star"), "blue", every=True), "recolour every any star any to blue"),
        (Edit("move", Kind(colour="red"), relation="left", other=Kind("cross")), "move red any any left any cross any"),
        (Edit("add", Kind("circle", "red", "small"), place=(1, 2)), "add red circle small to c2"),
    ):
        assert want_words(edit) == f"want : {told} . "
        assert not set(told.split()) - known


def test_two_things_in_one_slot_are_no_scene() -> None:
    with pytest.raises(ValueError, match="at most one"):
        Scene.of([RED, replace(BLUE, slot=RED.slot)])
    assert parse_things("red circle large b2 , blue square small b2 .") is None


# --- one plan a request


def test_the_first_plan_is_always_the_same_and_right() -> None:
    for ask, before, _, wrong in moments(150, 21):
        plans = [solved(FIRST, ask, before) for _ in range(2)]
        mended = [mend(FIRST, ask, before, wrong) for _ in range(2)]
        assert plans[0] == plans[1] and mended[0] == mended[1]
        assert judged(ask, before, plans[0]).ok and judged(ask, before, mended[0]).ok


def test_thoughts_on_words_alone_begin_with_what_would_be_seen() -> None:
    rng = random.Random(5)
    for _ in range(80):
        branch = teaching.reasoning(rng, "train")
        assert branch.alone and not branch.shows
        if "judge" in branch.ask:
            assert "see :" in branch.told and parse_verdict(branch.reply)[0] == (" correct ." in branch.reply)
        elif branch.draws:
            before = parse_things(branch.told)
            after = planned(before, branch.reply)
            assert after is not None and after != before


def test_things_have_names_where_they_stand() -> None:
    named = {(state, cell): said for state, cell, said in teaching.named(8)}
    scene = Scene.of([RED, Thing((3, 2), "star", "blue", "small")])
    for cell, state in enumerate(teaching._states(scene)):
        thing = scene.at((cell // 16, cell % 8 // 2))
        assert named.get((state, cell)) == (thing and (thing.colour, thing.shape, thing.size, cell_name(thing.slot)))
