"""Lessons about geometry: figures at every moment of their construction, right and wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from einops import rearrange, reduce

from agents.tasks import geometry
from agents.tasks import geometry_words as words
from agents.tasks.figure import SIDE, Point, Sheet, point_name
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_pictures import SHOWN_PX, SQUARE_PX, canvas, halved, render, render_pixels
from agents.tasks.geometry_questions import generate
from agents.tasks.geometry_rules import Verdict, judge, lost
from agents.tasks.geometry_sights import sights
from agents.tasks.geometry_steps import Question, Step, apply, next_step
from agents.tasks.maze_words import cell_name
from agents.teaching.blots import blotted
from agents.teaching.drills import drill
from agents.teaching.own import pair, seen_at
from unimm.document import Image
from unimm.train.data import IGNORED, Branch, Lesson

MARKED, MARKED_END, LINE_END, ON_LINE, ON_SIDE, ON_CIRCLE = range(10, 16)
VERTEX_LETTERS = "ABCDEFGHO"
"""A vertex is labelled by its letter's place in this, from 1; with a drawn line that ends there by 20 more, with a mark by 40 more."""
UNCLEAR = 79
STATES = 80
"""Labels of a token are below this; UNCLEAR is what cannot be read."""
FREE_THOUGHTS = 0.5
"""Share of the drawing lessons whose thought is not the right one: the drawing has to go by the thought."""
UNSEEN = 0.7
"""Share of the lessons on editing that show the base no picture: thought and source tokens hold all that the stack needs."""
REVISIONS = 0.27
"""Share of the editing lessons that put a wrong picture right after its verdict."""

SLANTING, SLANTED = (
    "median_length", "median_area", "midline", "apex_bisector", "perpendicular_bisector", "quadrilateral_area", "quadrilateral_angle",
    "rectangle_half", "radius_angle", "thales", "inscribed_angle",
), 0.4  # fmt: skip
"""Kinds of question whose last line mostly runs across the corners of the squares, and the share of the drawing lessons surely of these."""

IN_PIECES = 0.5
"""Share of these in which the wrong picture is a patchwork or has blots."""
BROKEN, BLOTTED = 0.25, 0.4
"""Share of the pictures to be judged that are no sheet as it should be drawn, as the model's own drawings are where they go wrong; and the
share of these that have blots, where the others are patchworks of a right and a wrong one."""

DRILLS = 0.35
"""Share of the lessons in words that are drills."""
JUDGED, COMPARED, ELSEWHERE = 0.6, 0.6, 0.5
"""Share of the problems in words that hold what would be seen against what is due, the share of these in which both are given, so that the
verdict alone has to follow from them, point by point, and the share in which a mark or a line surely is elsewhere."""
SPOILT, LOST = 0.2, 0.25
"""Share of the inspector's pictures that are patchworks or have blots; and of its mistakes that surely miss what was drawn before, where
anything was."""
ANSWERED = 0.5
"""Share of the problems in words that surely come after the last line: sums and products need more practice than a picture gives."""

HARDER, PRACTISED = (
    "perpendicular_bisector", "quadrilateral_angle", "parallel_angle", "triangle_area", "parallelogram_area", "trapezoid_area",
    "quadrilateral_area", "rectangle_half", "bisector_length",
), 0.75  # fmt: skip
"""Kinds of question whose reasons need more steps than a look-up, and the share of the problems in words that are of these."""


def picture(rng: random.Random, split: str = "train") -> np.ndarray:
    """A sheet at any moment for the VQ, uint8 [128, 128, 3]: as it should be, with a mistake, or with marks and lines anywhere."""
    question = generate(split, rng)
    sheets = question.sheets
    at = rng.randrange(len(sheets))
    chance = rng.random()
    if chance < 0.25:
        return canvas(corrupt(rng, sheets[at], sheets[at + 1] if at + 1 < len(sheets) else None))
    sheet = sheets[at]
    if chance < 0.65:
        for _ in range(rng.randint(1, 4)):
            sheet = apply(sheet, words.free_step(rng, sheet))
    return canvas(sheet)


def _along(p: Point, q: Point) -> list[Point]:
    """The lattice points on a segment, its ends included."""
    steps = int(np.gcd(q[0] - p[0], q[1] - p[1]))
    return [(p[0] + (q[0] - p[0]) * k // steps, p[1] + (q[1] - p[1]) * k // steps) for k in range(steps + 1)]


def states(sheet: Sheet) -> np.ndarray:
    """What stands at the lower right corner of every token, [64]; 0 for nothing."""
    labels = np.zeros((SIDE + 1, SIDE + 1), dtype=np.int64)
    figure = sheet.figure
    if figure.circle is not None:
        (row, column), radius = figure.circle
        for down, right in ((radius, 0), (-radius, 0), (0, radius), (0, -radius)):
            labels[row + down, column + right] = ON_CIRCLE
    for segments, label in ((figure.sides, ON_SIDE), (sheet.lines, ON_LINE)):
        for point in (point for ends in segments for point in _along(*ends)):
            labels[point] = label
    ends = {end for line in sheet.lines for end in line}
    for point in ends | sheet.marks:
        labels[point] = LINE_END if point not in sheet.marks else MARKED_END if point in ends else MARKED
    for letter, point in figure.points:
        labels[point] = 1 + VERTEX_LETTERS.index(letter) + 20 * (point in ends) + 40 * (point in sheet.marks)
    return labels[1:, 1:].ravel()


def named(side: int) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(state, token, words) for all that has words: a vertex its letter, a mark and the end of a line "drawn", what cannot be read, and
    each its place."""
    shown = {1 + at + extra: letter for at, letter in enumerate(VERTEX_LETTERS) for extra in (0, 20, 40, 60)}
    shown |= dict.fromkeys((MARKED, MARKED_END, LINE_END), "drawn") | {UNCLEAR: "unreadable"}
    for state, word in shown.items():
        yield from ((state, cell, (word, cell_name(divmod(cell, side)))) for cell in range(side * side))


def wrong_tokens(right: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """1 for every token in which two pictures differ, [64]."""
    return reduce((right != drawn).astype(np.int64), "(r y) (c x) rgb -> (r c)", "max", r=SIDE, c=SIDE)


def understanding(rng: random.Random, split: str = "train") -> Lesson:
    """One sheet at one moment: think, judge a right or a wrong next picture, and describe or answer."""
    question = generate(split, rng)
    sheets = question.sheets
    if rng.random() < 0.33:
        return _finished(rng, question)
    at = rng.randrange(len(sheets) - 1)
    before, right = sheets[at], sheets[at + 1]
    if rng.random() < BROKEN:
        return _broken(rng, question, before, right)
    wrong = rng.random() < 0.6
    shown = [before, corrupt(rng, before, right) if wrong else right]
    branches = [
        Branch(words.ask_words("next", question), words.think_words(question, before), draws=True),
        _judging(question, 1, before, right, shown[1]),
    ]
    if at == len(sheets) - 2 and not wrong and rng.random() < 0.3:
        branches.append(Branch(words.ask_words("answer", question), words.answer_words(question), shows=(1,), alone=True))
    elif at == 0 and rng.random() < 0.4:
        branches.append(Branch(words.ask_words("direct", question), words.direct_words(question)))
    else:
        branches.append(Branch(words.ask_words("describe", question), words.describe_words(question.figure)))
    pictures = np.stack([canvas(sheet) for sheet in shown])
    faults = np.stack([np.full(SIDE * SIDE, IGNORED), wrong_tokens(canvas(right), pictures[1])])
    return Lesson(pictures, (0,), tuple(branches), np.stack([states(sheet) for sheet in shown]), faults)


def _broken(rng: random.Random, question: Question, before: Sheet, right: Sheet) -> Lesson:
    """A patchwork or a picture with blots to judge, by what the program reads in it."""
    spoilt = _spoilt(rng, before, right)
    verdict, said, damaged = _judging_pixels(question, before, spoilt)
    pictures = np.stack([canvas(before), halved(spoilt)])
    unknown = np.full(SIDE * SIDE, IGNORED)
    wrong = wrong_tokens(pictures[1] if verdict.ok else canvas(right), pictures[1])
    branch = Branch(words.ask_words("judge", question), said, shows=(1,))
    return Lesson(pictures, (0,), (branch,), np.stack([states(before), _unclear(damaged)]), np.stack([unknown, wrong]))


def _spoilt(rng: random.Random, before: Sheet, right: Sheet) -> np.ndarray:
    """A shown picture with blots, or a patchwork of right and wrong ones: uint8 [256, 256, 3]."""
    if rng.random() >= BLOTTED:
        return _pieces(rng, *(render_pixels(sheet) for sheet in (before, right, corrupt(rng, before, right))))
    sheet = corrupt(rng, before, right) if rng.random() < 0.2 else right
    spoilt, blots = blotted(rng, canvas(sheet), picture(rng))
    at = blots.reshape(SIDE, SIDE, 1).repeat(SQUARE_PX, 0).repeat(SQUARE_PX, 1)
    return np.where(at, spoilt.repeat(2, 0).repeat(2, 1), render_pixels(sheet))


def _judging_pixels(question: Question, before: Sheet, shown: np.ndarray) -> tuple[Verdict, str, tuple[Point, ...]]:
    """The program's verdict on a shown picture, in words too, and where it cannot be read."""
    verdict, seen, damaged = geometry.seen(question, before, Image(SHOWN_PX, SHOWN_PX, shown.tobytes()))
    return verdict, words.judged_words(next_step(question, before), before, seen, verdict, damaged), damaged


def _unclear(damaged: Sequence[Point]) -> np.ndarray:
    """UNCLEAR for the squares that are named by these corners, not known for the others, [64]."""
    labels = np.full((SIDE, SIDE), IGNORED)
    for row, column in damaged:
        labels[row - 1, column - 1] = UNCLEAR
    return labels.ravel()


def inspection(rng: random.Random, split: str = "train") -> Lesson:
    """One sheet and one after it, without words: right, with a mistake, or spoilt; and what there is to see on it."""
    question = generate(split, rng)
    at = rng.randrange(len(question.sheets) - 1)
    before, right = question.sheets[at : at + 2]
    chance = rng.random()
    if chance < SPOILT:
        shown = _spoilt(rng, before, right)
        image = Image(SHOWN_PX, SHOWN_PX, shown.tobytes())
        found = geometry.sights(question, render(before), image, before)
        return pair(np.stack([canvas(before), halved(shown)]), seen_at(found, SIDE), geometry.wear(question, image))
    sheet = right if chance < 0.6 else _mistaken(rng, before, right)
    return pair(np.stack([canvas(before), canvas(sheet)]), seen_at(sights(before, sheet), SIDE))


def _mistaken(rng: random.Random, before: Sheet, right: Sheet) -> Sheet:
    """A sheet with a mistake; of those that have lost what was drawn before, which are rare, a few more."""
    sheet, gone = corrupt(rng, before, right), rng.random() < LOST
    for _ in range(30 if gone and (before.marks or before.lines) else 0):
        if lost(before, sheet):
            break
        sheet = corrupt(rng, before, right)
    return sheet


def _finished(rng: random.Random, question: Question) -> Lesson:
    """The moment when nothing is left to draw: say so, take a further change for wrong, and answer."""
    final = question.sheets[-1]
    glance = rng.random() < 0.5
    shown = [final, question.start if glance else corrupt(rng, final, None)]
    branches = [
        Branch(words.ask_words("next", question), words.think_words(question, final)),
        Branch(words.ask_words("answer", question), words.answer_words(question)),
    ]
    if glance:
        branches.append(Branch(words.ask_words("direct", question), words.direct_words(question), shows=(1,), alone=True))
    else:
        branches.append(_judging(question, 1, final, None, shown[1]))
    pictures = np.stack([canvas(sheet) for sheet in shown])
    nothing = np.full(SIDE * SIDE, IGNORED)
    faults = np.stack([nothing, nothing if glance else wrong_tokens(pictures[0], pictures[1])])
    return Lesson(pictures, (0,), tuple(branches), np.stack([states(sheet) for sheet in shown]), faults)


def reasoning(rng: random.Random, split: str = "train") -> Branch:
    """A thought or an answer as words alone, from the reading of a sheet that would be seen; or what both are made of, by itself."""
    if rng.random() < DRILLS:
        return drill(rng)
    question = generate(split, rng, rng.choice(HARDER) if rng.random() < PRACTISED else None)
    if rng.random() < JUDGED:
        return _judging_alone(rng, question)
    sheet = question.sheets[-1] if rng.random() < ANSWERED else rng.choice(question.sheets)
    if sheet == question.sheets[-1] and rng.random() < 0.9:
        what, reply = "answer", words.reasoned_words(question)
    else:
        what, reply = "next", words.decided_words(next_step(question, sheet))
    draws = what == "next" and sheet != question.sheets[-1]
    return Branch(words.ask_words(what, question), reply, draws=draws, alone=True, told=words.seen_words(sheet))


def _judging_alone(rng: random.Random, question: Question) -> Branch:
    """A verdict from what would be seen in a picture, and where the points were before; or from what is due too."""
    at = rng.randrange(len(question.sheets) - 1)
    before, right = question.sheets[at], question.sheets[at + 1]
    shown, elsewhere = corrupt(rng, before, right) if rng.random() < 0.6 else right, rng.random() < ELSEWHERE
    while elsewhere and shown != right and judge(before, right, shown).fault not in ("mark_elsewhere", "line_elsewhere"):
        shown = corrupt(rng, before, right)
    said = _judging(question, 1, before, right, shown)
    given = words.think_words(question, before) if rng.random() < COMPARED else words.seen_words(before)
    told = said.reply[: said.reply.index(given) + len(given)]
    return Branch(said.ask, said.reply.removeprefix(told).strip(), alone=True, told=told)


def _judging(question: Question, number: int, before: Sheet, right: Sheet | None, after: Sheet) -> Branch:
    due = next_step(question, before)
    said = words.judged_words(due, before, after, judge(before, right, after))
    return Branch(words.ask_words("judge", question), said, shows=(number,))


def drawing(rng: random.Random, split: str = "train", editing: bool = True) -> Lesson:
    """One picture to draw: the next one after its thought, or a wrong one put right after its verdict.

    ``editing`` gives the source's VQ tokens; without it the picture is drawn from what the base saw and said alone.
    """
    slanting = rng.random() < SLANTED
    question = generate(split, rng, rng.choice(SLANTING) if slanting else None)
    sheets = question.sheets
    at = rng.randrange(len(sheets) - 1) if rng.random() < 0.5 or not slanting else len(sheets) - 2
    before, after = sheets[at], sheets[at + 1]
    if editing and rng.random() < REVISIONS:
        return _revision(rng, question, before, after)
    thought = words.think_words(question, before)
    if rng.random() < FREE_THOUGHTS:
        thought, after = words.free_thought(rng, question, before)
    branch = Branch(words.ask_words("next", question), thought, draws=True, source=0 if editing else -1, target=1)
    pictures = np.stack([canvas(sheet) for sheet in (before, after)])
    about = _about(wrong_tokens(*pictures), words.parse_step(thought))
    shown = np.stack([states(sheet) for sheet in (before, after)])
    return Lesson(pictures, () if editing and rng.random() < UNSEEN else (0,), (branch,), shown, about=about)


def _revision(rng: random.Random, question: Question, before: Sheet, after: Sheet) -> Lesson:
    """A wrong picture put right: one with a mistake, or one on which what was to be drawn came out in pieces."""
    wrong = corrupt(rng, before, after)
    judging = _judging(question, 2, before, after, wrong)
    pictures = np.stack([canvas(sheet) for sheet in (before, after, wrong)])
    shown = np.stack([states(sheet) for sheet in (before, after, wrong)])
    if rng.random() < IN_PIECES:
        spoilt = _spoilt(rng, before, after)
        verdict, said, damaged = _judging_pixels(question, before, spoilt)
        if not verdict.ok:
            pictures[2], shown[2] = halved(spoilt), _unclear(damaged)
            judging = replace(judging, reply=said)
    branch = replace(judging, draws=True, source=2, target=1)
    due = wrong_tokens(*pictures[:2]) & wrong_tokens(*pictures[1:])  # what the thought says; the rest is as it was before
    return Lesson(pictures, (0,), (branch,), shown, about=_about(due, next_step(question, before)))


def _pieces(rng: random.Random, before: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The picture before, with tokens here and there as the right one and as a wrong one have them: what a drawing that fails is like."""
    tokens = np.stack([rearrange(picture, "(r y) (c x) rgb -> (r c) y x rgb", r=SIDE, c=SIDE) for picture in (before, right, wrong)])
    share = rng.random()
    taken = [rng.choices((0, 1, 2), (1 - share, 1 + share, 0.5))[0] for _ in range(SIDE * SIDE)]
    return rearrange(tokens[taken, range(SIDE * SIDE)], "(r c) y x rgb -> (r y) (c x) rgb", r=SIDE)


def _about(tokens: np.ndarray, step: Step | None) -> tuple[tuple[int, str, tuple[float, float]], ...]:
    """(token, name of a point, way there) for tokens [64] that are 1 and both ends of what is drawn there, the upper or left one first."""
    ends = step.ends if step else ()
    cells = ((int(cell), divmod(int(cell), SIDE)) for cell in tokens.nonzero()[0])
    return tuple((cell, point_name(end), (end[0] - row - 0.5, end[1] - column - 0.5)) for cell, (row, column) in cells for end in ends)
