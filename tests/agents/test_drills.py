"""Drills: every statement in them is true, worked out again; and pictures in pieces are made of their parents' tokens."""

from __future__ import annotations

import math
import random
import re
from fractions import Fraction

import numpy as np

from agents.tasks.figure import point_at
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_pictures import canvas
from agents.tasks.geometry_questions import generate
from agents.teaching import geometry as teaching
from agents.teaching.blots import blotted
from agents.teaching.drills import drill
from unimm.train.data import Branch

PAIR = re.compile(r"([A-H]) ([a-g][1-7]) ([A-H]) ([a-g][1-7]) (?:straight (\d+)|slanted)(?: midpoint ([a-g][1-7]))?")


def drills(count: int) -> list[Branch]:
    rng = random.Random(5)
    return [drill(rng) for _ in range(count)]


def test_sums_are_right() -> None:
    seen = 0
    for branch in drills(700):
        if " = " not in branch.reply or " mark " in branch.reply:
            continue
        for equation in branch.reply.removesuffix(" .").split(" , "):
            left, right = equation.split(" = ")
            assert left in branch.ask
            value = eval(left.replace("half of", "1 / 2 *"), {"__builtins__": {}})  # nothing but numbers and signs is in it
            assert value == int(right) and 0 <= int(right) <= 360
            seen += 1
    assert seen > 200


def test_pairs_are_compared_and_halved_rightly() -> None:
    straight = slanted = halved = 0
    for branch in drills(400):
        if not branch.told:
            continue
        pairs = PAIR.findall(branch.reply)
        assert len(pairs) == 6 and " , ".join(match[0] for match in PAIR.finditer(branch.reply)) + " ." == branch.reply
        for one, p, two, q, long, middle in pairs:
            assert f"{one} {p} ." in branch.told and f"{two} {q} ." in branch.told
            (a, b), (c, d) = point_at(p) or (0, 0), point_at(q) or (0, 0)
            assert bool(long) == (a == c or b == d) and (not long or int(long) == max(abs(a - c), abs(b - d)))
            assert bool(middle) == ((a + c) % 2 == (b + d) % 2 == 0) and (not middle or point_at(middle) == ((a + c) / 2, (b + d) / 2))
            straight, slanted, halved = straight + bool(long), slanted + (not long), halved + bool(middle)
    assert min(straight, slanted, halved) > 30


def test_moves_lead_to_the_cell_beside() -> None:
    ways = [way for branch in drills(1200) for way in re.findall(r"agent at ([a-h])([1-8]) . go (\w+) to ([a-h])([1-8]) .", branch.reply)]
    assert len(ways) > 100
    for column, row, move, to_column, to_row in ways:
        step = (ord(to_column) - ord(column), int(to_row) - int(row))
        assert step == {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}[move]


def test_a_perpendicular_bisector_is_met_as_far_along_as_asked_for() -> None:
    point = r"([a-g]\d)"
    ways = re.findall(rf"{point} {point} as far as {point} at [\d ,]+ mark {point}", " ".join(branch.reply for branch in drills(600)))
    for p, q, top, found in (map(point_at, way) for way in ways):
        assert math.dist(found, p) == math.dist(found, q)
        assert (found[0] == top[0]) if p[0] == q[0] else (found[1] == top[1])
    assert len(ways) > 50


def test_heights_are_distances_from_the_line() -> None:
    found = [branch.reply for branch in drills(700) if " heights " in branch.reply]
    end = r"[A-H] ([a-g]\d)"
    ways = re.findall(rf"{end} {end} straight (\d) , heights {end} (\d) and {end} (\d)", " ".join(found))
    assert len(ways) == 3 * len(found) > 60
    for p, q, long, one, high, two, low in ways:
        (a, b), (c, d) = map(point_at, (p, q))
        for top, height in ((point_at(one), high), (point_at(two), low)):
            doubled = abs((c - a) * (top[1] - b) - (d - b) * (top[0] - a))  # twice the triangle's area
            assert doubled == int(long) * int(height) > 0


def test_a_bisector_is_as_far_from_both_legs() -> None:
    ways = re.findall(r"(\d) , (\d) , first P (\d) from both sides", " ".join(branch.reply for branch in drills(300)))
    assert {way[:2] for way in ways} == {("2", "2"), ("4", "4"), ("6", "6"), ("3", "6"), ("6", "3")}
    assert all(Fraction(squares) / int(one) + Fraction(squares) / int(other) == 1 for one, other, squares in ways)  # P is on the third side


def test_points_are_held_against_points() -> None:
    found = [branch for branch in drills(400) if " same " in branch.ask]
    pairs = re.findall(r"([a-g]\d) ([a-g]\d) (yes|no)", " ".join(branch.reply for branch in found))
    assert len(pairs) == 10 * len(found) > 200 and all((one == other) == (said == "yes") for one, other, said in pairs)
    assert 0.4 < sum(said == "yes" for *_, said in pairs) / len(pairs) < 0.6
    for branch in found:
        assert [pair[:2] for pair in re.findall(r"([a-g]\d) ([a-g]\d) (yes|no)", branch.reply)] == re.findall(r"(\w\d) (\w\d)", branch.ask)


def test_a_verdict_holds_what_is_due_against_what_is_seen() -> None:
    rng, held = random.Random(3), {True: 0, False: 0}
    for number in range(120):
        question = generate("train", number)
        at = rng.randrange(len(question.sheets) - 1)
        before, right = question.sheets[at : at + 2]
        shown = rng.choice((right, corrupt(rng, before, right)))
        words = teaching._judging(question, 1, before, right, shown).reply
        pairs = re.findall(r"([a-g]\d) ([a-g]\d) (yes|no)", words)
        new = [*(shown.marks - before.marks), *(shown.lines - before.lines)]
        assert bool(pairs) == (" check : " in words) and (pairs or shown != right)
        if words.endswith(" correct ."):
            assert all(said == "yes" for *_, said in pairs)
        if len(new) == 1 and pairs:
            same = new[0] in right.marks | right.lines
            assert all(said == "yes" for *_, said in pairs) == same
            held[same] += 1
    assert min(held.values()) > 20


def test_a_picture_in_pieces_holds_tokens_of_the_three_that_it_is_made_from() -> None:
    rng, mixed = random.Random(2), 0
    for number in range(20):
        before, after = generate("train", number).sheets[:2]
        three = [canvas(sheet) for sheet in (before, after, corrupt(rng, before, after))]
        pieces = teaching._pieces(rng, *three)
        for row in range(0, 128, 16):
            for column in range(0, 128, 16):
                place = (slice(row, row + 16), slice(column, column + 16))
                assert any((pieces[place] == picture[place]).all() for picture in three)
        mixed += not any(np.array_equal(pieces, picture) for picture in three)
    assert mixed > 5


def test_a_patchwork_is_judged_by_what_can_be_read_in_it() -> None:
    rng, verdicts = random.Random(6), set()
    for number in range(30):
        question = generate("train", number)
        before, right = question.sheets[:2]
        lesson = teaching._broken(rng, question, before, right)
        reply = lesson.branches[0].reply
        verdicts.add(reply.split(" wrong . ")[-1].split(" at ")[0] if " wrong ." in reply else "correct")
        assert reply.endswith("correct .") == (not lesson.faults[1].any())
        if np.array_equal(lesson.pictures[1], canvas(right)):
            assert reply.endswith("correct .")
    assert {"correct", "point unreadable", "figure changed"} <= verdicts


def test_a_verdict_in_words_alone_is_asked_for_with_and_without_what_is_due() -> None:
    rng, replies = random.Random(8), []
    for number in range(60):
        branch = teaching._judging_alone(rng, generate("train", number))
        assert branch.told.startswith("see : ") and branch.reply.endswith((" .", "correct ."))
        replies.append(branch.reply)
    assert 10 < sum(reply.startswith(("check", "correct", "wrong")) for reply in replies) < 50


def test_blots_are_tokens_that_were_not_there_and_nothing_else() -> None:
    rng = random.Random(9)
    for number in range(10):
        picture = canvas(generate("train", number).start)
        spoilt, blots = blotted(rng, picture, canvas(generate("train", number + 10).start), most=4)
        differs = (spoilt != picture).reshape(8, 16, 8, 16, 3).any((1, 3, 4)).ravel()
        assert (differs == blots.astype(bool)).all() and 1 <= blots.sum() <= 4


def test_points_found_from_others_are_where_they_are_told():
    found = [branch.reply for branch in drills(700) if " mark " in branch.reply]
    three = r"(\d) (\d) (\d) , (\d) (\d) (\d)"
    feet = [way for reply in found for way in re.findall(rf"([a-g]\d) to ([a-g]\d) ([a-g]\d) at {three} mark (\w)(\d)", reply)]
    for (top, one, two, *digits, letter, digit) in feet:
        named = [(str("abcdefg".index(name[0]) + 1), name[1]) for name in (one, two, letter + digit)]
        assert digits == [column for column, _ in named] + [row for _, row in named]
        across = one[1] == two[1]  # the line runs along a row: the foot is on it, below or above the top
        assert (letter, digit) == ((top[0], one[1]) if across else (one[0], top[1]))
    middles = [way for reply in found for way in re.findall(r"([a-g])(\d) ([a-g])(\d) middle \d \d (\d) , \d \d (\d) mark (\w)(\d)", reply)]
    for (one, row, two, other, column, middle, letter, digit) in middles:
        assert 2 * int(digit) == int(row) + int(other) == 2 * int(middle)
        assert 2 * "abcdefg".index(letter) == "abcdefg".index(one) + "abcdefg".index(two) == 2 * int(column) - 2
    assert len(feet) > 50 and len(middles) > 50


def test_points_some_squares_away_are_where_their_sums_say():
    found = [branch.reply for branch in drills(300) if " mark " in branch.reply]
    number = r"((?:\d [+-] \d = )?\d)"
    way = re.compile(rf"(\d) from (\w\d) to (\w\d)( \w\d)? at {number} , {number} mark (\w\d)")
    one_way = both_ways = 0
    for squares, start, end, other, column, row, name in (match for reply in found for match in way.findall(reply)):
        (y, x), (v, u), (b, a) = (point_at(point) for point in (start, end, name))
        if other:  # towards the corners beside, and above or below
            assert y == v
            v = point_at(other.strip())[0]
        ends = {"row": (y, v, b, row), "column": (x, u, a, column)}
        for begin, toward, there, words in ends.values():
            assert int(words.split()[-1]) == there
            if "=" in words:
                assert words.startswith(f"{begin} ") and eval(words.split("=")[0], {"__builtins__": {}}) == there
            assert there - begin == int(squares) * ((toward > begin) - (toward < begin))
        one_way, both_ways = one_way + (not other), both_ways + bool(other)
    assert min(one_way, both_ways) > 25
