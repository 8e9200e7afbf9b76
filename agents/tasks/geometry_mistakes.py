"""Wrong geometry sheets with exactly known faults: what the critic learns from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from agents.tasks.figure import SIDE, Figure, Point, Segment, Sheet, segment
from agents.tasks.geometry_rules import covers, joined, judge

Mistake = Callable[[random.Random, Sheet, Sheet], "Sheet | None"]
_LATTICE = tuple((r, c) for r in range(1, SIDE) for c in range(1, SIDE))
_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def corrupt(rng: random.Random, before: Sheet, right: Sheet | None) -> Sheet:
    """A wrong sheet near the right one: one exact mistake (of any kind that judge() names but "unreadable"), never right.

    ``right`` is the sheet that follows on ``before``, or None where nothing is left to draw. What the mistake is called is
    for judge() to say.
    """
    while True:
        wrong = rng.choice(_MISTAKES)(rng, before, right or before)
        if wrong is not None and not judge(before, right, wrong).ok:
            return wrong


def _beside(point: Point) -> list[Point]:
    """The up to eight lattice points one step away."""
    return [(point[0] + dr, point[1] + dc) for dr, dc in _STEPS if (point[0] + dr, point[1] + dc) in _LATTICE]


def _pick(rng: random.Random, points: Iterable[Point], unlike: Iterable[Point] = ()) -> Point | None:
    left = sorted(set(points) - set(unlike))
    return rng.choice(left) if left else None


def _vertices(sheet: Sheet) -> list[Point]:
    return [*sheet.figure.at.values(), *sheet.marks]


def _new_lines(before: Sheet, right: Sheet) -> list[Segment]:
    return sorted(right.lines - before.lines)


def _swap_line(sheet: Sheet, old: Segment, new: Segment) -> Sheet:
    return replace(sheet, lines=sheet.lines - {old} | {new})


def _end_moved(rng: random.Random, before: Sheet, right: Sheet, places: Callable[[Point], Iterable[Point]]) -> Sheet | None:
    """One end of the new line goes elsewhere; ``places`` gives where to from where it is."""
    lines = _new_lines(before, right)
    if not lines:
        return None
    line = rng.choice(lines)
    kept, moved = rng.sample(line, 2)
    end = _pick(rng, places(moved), (kept, moved))
    return _swap_line(right, line, segment(kept, end)) if end else None


def _end_shifted(far: bool) -> Mistake:
    """The new line ends one step beside its place, or anywhere else."""

    def mistake(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
        return _end_moved(rng, before, right, lambda moved: _LATTICE if far else _beside(moved))

    return mistake


def _line_shifted(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    """The new line as a whole one step beside its place."""
    lines, (dr, dc) = _new_lines(before, right), rng.choice(_STEPS)
    if not lines:
        return None
    line = rng.choice(lines)
    p, q = ((r + dr, c + dc) for r, c in line)
    return _swap_line(right, line, segment(p, q)) if p in _LATTICE and q in _LATTICE else None


def _other_vertex(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    """The new line goes to, or comes from, another point of the figure."""
    return _end_moved(rng, before, right, lambda moved: _vertices(right))


def _mark_shifted(far: bool) -> Mistake:
    def mistake(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
        due = _pick(rng, right.marks - before.marks)
        spot = _pick(rng, _LATTICE if far else _beside(due), right.marks) if due else None
        return replace(right, marks=right.marks - {due} | {spot}) if due and spot else None

    return mistake


def _nothing_drawn(rng: random.Random, before: Sheet, right: Sheet) -> Sheet:
    return before


def _extra_line(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    start = _pick(rng, _vertices(right))
    end = _pick(rng, _LATTICE if rng.random() < 0.5 else _vertices(right), (start,)) if start else None
    return right.connect(start, end) if start and end else None


def _extra_mark(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    near = [point for vertex in _vertices(right) for point in (vertex, *_beside(vertex))]
    spot = _pick(rng, near if rng.random() < 0.7 else _LATTICE, right.marks)
    return right.mark(spot) if spot else None


def _mark_erased(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    mark = _pick(rng, before.marks)
    return replace(right, marks=right.marks - {mark}) if mark else None


def _line_erased(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    return replace(right, lines=right.lines - {rng.choice(sorted(before.lines))}) if before.lines else None


def _too_early(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    """A line to the mark that is due, with or without that mark."""
    due = _pick(rng, right.marks - before.marks)
    start = _pick(rng, before.figure.at.values(), (due,)) if due else None
    return (right if rng.random() < 0.6 else before).connect(start, due) if due and start else None


def _mark_for_line(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    """A mark where a line was due."""
    ends = [end for line in _new_lines(before, right) for end in line]
    spot = _pick(rng, [*ends, *(point for end in ends for point in _beside(end))], right.marks)
    return before.mark(spot) if spot else None


def _refigured(sheet: Sheet, figure: Figure | None) -> Sheet | None:
    return replace(sheet, figure=figure) if figure else None


def _hidden(sheet: Sheet, side: Segment) -> bool:
    """Whether a line that was drawn in lies over a whole side: nobody would see that the side is gone."""
    return any(covers(line, side) for line in joined(sheet.lines))


def _side_lost(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    sides = before.figure.sides
    seen = [side for side in sides if not _hidden(right, side)]
    gone = rng.choice(seen) if seen else None
    return _refigured(right, replace(before.figure, sides=tuple(side for side in sides if side != gone)) if gone else None)


def _side_moved(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    sides = before.figure.sides
    seen = [side for side in sides if not _hidden(right, side)]
    if not seen:
        return None
    old = rng.choice(seen)
    kept, moved = rng.sample(old, 2)
    end = _pick(rng, _beside(moved), (kept,))
    return _refigured(
        right, replace(before.figure, sides=tuple(segment(kept, end) if side == old else side for side in sides)) if end else None
    )


def _letter_lost(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    letters = before.figure.letters
    gone = rng.choice(letters) if letters else None
    return _refigured(right, replace(before.figure, letters=tuple(letter for letter in letters if letter != gone)) if gone else None)


def _letters_swapped(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    """Two letters change places, or one becomes a letter that was not there."""
    letters = dict(before.figure.letters)
    if len(letters) < 2:
        return None
    one, two = rng.sample(sorted(letters), 2)
    if rng.random() < 0.5:
        letters[one], letters[two] = letters[two], letters[one]
    else:
        letters[rng.choice(sorted(set("ABCDEFGHMNOPQ") - set(letters)))] = letters.pop(one)
    return _refigured(right, replace(before.figure, letters=tuple(sorted(letters.items()))))


def _vertex_moved(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    """A point of the figure one step away, its sides and its letter with it."""
    figure = before.figure
    name, old = rng.choice(figure.points)
    new = _pick(rng, _beside(old), figure.at.values())
    if new is None:
        return None
    sides = tuple(segment(*(new if end == old else end for end in side)) for side in figure.sides)
    square = figure_square = dict(figure.letters).get(name)
    if figure_square:
        square = (figure_square[0] + new[0] - old[0], figure_square[1] + new[1] - old[1])
        if square in [place for letter, place in figure.letters if letter != name]:
            return None
    points = tuple((letter, new if letter == name else point) for letter, point in figure.points)
    letters = tuple((letter, square if letter == name and square else place) for letter, place in figure.letters)
    circle = (new, figure.circle[1]) if figure.circle and figure.circle[0] == old else figure.circle
    if circle and not all(circle[1] <= at <= SIDE - circle[1] for at in circle[0]):
        return None
    return _refigured(right, replace(figure, points=points, sides=sides, letters=letters, circle=circle))


def _circle_changed(rng: random.Random, before: Sheet, right: Sheet) -> Sheet | None:
    if before.figure.circle is None:
        return None
    centre, radius = before.figure.circle
    wrong = rng.choice((None, (centre, radius - 1), (centre, radius + 1)))
    if wrong and not (wrong[1] >= 1 and all(wrong[1] <= at <= SIDE - wrong[1] for at in centre)):
        return None
    return _refigured(right, replace(before.figure, circle=wrong))


_MISTAKES: tuple[Mistake, ...] = (
    *(_end_shifted(far=False),) * 4,
    _end_shifted(far=True),
    _line_shifted,
    *(_other_vertex,) * 2,
    *(_mark_shifted(far=False),) * 4,
    _mark_shifted(far=True),
    *(_nothing_drawn,) * 2,
    *(_extra_line,) * 2,
    *(_extra_mark,) * 2,
    *(_mark_erased,) * 2,
    *(_line_erased,) * 2,
    *(_too_early,) * 2,
    _mark_for_line,
    _side_lost,
    _side_moved,
    *(_letter_lost,) * 2,
    _letters_swapped,
    _vertex_moved,
    _circle_changed,
)
