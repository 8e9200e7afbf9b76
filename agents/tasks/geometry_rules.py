"""The rules of geometry sheets: whether a drawn sheet is the right next one, and if not, what is wrong with it and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import dist

from agents.tasks.figure import Figure, Point, Segment, Sheet, Square, segment

FAULTS: dict[str, str] = {
    "unreadable": "point unreadable",
    "figure_changed": "figure changed",
    "mark_lost": "mark lost",
    "line_lost": "line lost",
    "stayed": "picture stayed",
    "too_early": "line too early",
    "mark_elsewhere": "mark elsewhere",
    "line_elsewhere": "line elsewhere",
    "extra_line": "extra line",
    "extra_mark": "extra mark",
}
"""Kind of fault -> its words, in order of precedence: a sheet with several faults is named by the first."""


@dataclass(frozen=True)
class Verdict:
    """Whether a sheet is the right next one; if not, the kind of fault (a key of FAULTS) and the point to look at."""

    ok: bool
    fault: str | None = None
    where: Point | None = None


def judge(before: Sheet, right: Sheet | None, after: Sheet | None) -> Verdict:
    """Whether ``after`` is ``right``, the sheet that follows on ``before``, or the first fault of FAULTS that it has.

    ``right`` is None where nothing was left to draw: then any change is a fault. ``after`` is None where it could not be read.
    Lines that lie on one line and touch count as one.
    """
    if after is None:
        return Verdict(False, "unreadable")
    due = right or before
    return _judge_given(before, after) or _judge_drawn(before, due, after) or Verdict(True)


def _judge_given(before: Sheet, after: Sheet) -> Verdict | None:
    """What has to be there still: the figure, and what was drawn earlier."""
    if not same_figure(before.figure, after.figure):
        return Verdict(False, "figure_changed", changed_point(before.figure, after.figure))
    if lost_marks := before.marks - after.marks:
        return Verdict(False, "mark_lost", min(lost_marks))
    lines = joined(after.lines)
    lost_lines = [line for line in sorted(before.lines) if not any(covers(other, line) for other in lines)]
    return Verdict(False, "line_lost", _free_end(lost_lines[0], before)) if lost_lines else None


def _judge_drawn(before: Sheet, due: Sheet, after: Sheet) -> Verdict | None:
    """What is new, against what is due: marks first, then lines."""
    drawn, wanted = joined(after.lines), joined(due.lines)
    wrong, missing = sorted(drawn - wanted), sorted(wanted - drawn)
    wrong_marks, missing_marks = sorted(after.marks - due.marks), sorted(due.marks - after.marks)
    if due != before and drawn == joined(before.lines) and after.marks == before.marks:
        return Verdict(False, "stayed")
    if wrong and wanted == joined(before.lines):
        new = [mark for mark in sorted(due.marks - before.marks) if mark in wrong[0]]
        if new or missing_marks:
            return Verdict(False, "too_early", new[0] if new else _free_end(wrong[0], before))
    if missing_marks and wrong_marks:
        return Verdict(False, "mark_elsewhere", min(wrong_marks, key=lambda mark: (dist(mark, missing_marks[0]), mark)))
    if missing and wrong:
        line, meant = min(((line, meant) for line in wrong for meant in missing), key=lambda pair: (-_shared(*pair), _apart(*pair), pair))
        return Verdict(False, "line_elsewhere", _misplaced_end(line, meant))
    if wrong:
        return Verdict(False, "extra_line", _wrong_end(wrong[0], {end for line in wanted for end in line}, before))
    if wrong_marks:
        return Verdict(False, "extra_mark", wrong_marks[0])
    return Verdict(False, "stayed") if missing or missing_marks else None


def same_figure(one: Figure, other: Figure) -> bool:
    """Whether two figures look the same: points, letters and their places, circle, and sides, however these are cut up."""
    return (
        set(one.points) == set(other.points)
        and set(one.letters) == set(other.letters)
        and one.circle == other.circle
        and joined(one.sides) == joined(other.sides)
    )


def changed_point(before: Figure, after: Figure) -> Point | None:
    """The point of the given figure at which it was changed first: a point or letter that is not where it was, else the end of
    a lost or added side, else the middle of the circle."""
    points, letters = after.at, dict(after.letters)
    for name, point in before.points:
        if points.get(name) != point or letters.get(name) != dict(before.letters).get(name):
            return point
    sides = sorted(joined(before.sides) ^ joined(after.sides))
    if sides:
        return min(sides[0], key=lambda end: (end not in before.at.values(), end))
    new = sorted(set(after.points) - set(before.points))
    circle = before.circle or after.circle
    return new[0][1] if new else circle[0] if circle and before.circle != after.circle else None


def changed_points(before: Figure, after: Figure) -> frozenset[Point]:
    """All points at which a figure was changed: old and new places of points and of what bears another letter, ends of sides that
    were lost or added, the middle of another circle."""
    moved = set(before.points) ^ set(after.points)
    relettered = {name for name, _ in set(before.letters) ^ set(after.letters)}
    bearing = {figure.at[name] for figure in (before, after) for name in relettered if name in figure.at}
    ends = {end for side in joined(before.sides) ^ joined(after.sides) for end in side}
    middles = {circle[0] for circle in (before.circle, after.circle) if circle and before.circle != after.circle}
    return frozenset({point for _, point in moved} | bearing | ends | middles)


def wrong_points(before: Sheet, due: Sheet, after: Sheet) -> frozenset[Point]:
    """Marks, and ends of lines, of one sheet and not the other of the fault that comes first: what is lost, or else what is there and
    should not be."""
    if gone := lost(before, after):
        return gone
    lines = joined(after.lines)
    ends = {end for line in lines - joined(due.lines) for end in line}
    explained = {end for line in joined(due.lines) for end in line} | due.marks
    return frozenset((ends - explained or ends) | (after.marks - due.marks))


def lost(before: Sheet, after: Sheet) -> frozenset[Point]:
    """The marks, and the ends of lines, of one sheet that the one after it does not show any more."""
    lines = joined(after.lines)
    ends = {end for line in before.lines if not any(covers(other, line) for other in lines) for end in line}
    return frozenset(ends | (before.marks - after.marks))


def nearest_point(points: Iterable[Point], square: Square) -> Point | None:
    """The point nearest to the middle of a square: how damage to a square is named. None where there is none."""
    return nearest(points, (square[0] + 0.5, square[1] + 0.5))


def nearest(points: Iterable[Point], spot: tuple[float, float]) -> Point | None:
    """The point nearest to a (row, column) on the paper, of two the first in reading order. None where there is none."""
    return min(points, key=lambda p: (dist(p, spot), p), default=None)


def joined(lines: Iterable[Segment]) -> frozenset[Segment]:
    """The same ink in as few segments as possible: those on one line that touch or overlap become one."""
    done: list[Segment] = []
    for line in sorted(set(lines)):  # by their first end, so that each one only ever meets what begins before it
        last = next((k for k, other in enumerate(done) if _collinear(other, line) and line[0] <= other[1]), None)
        if last is None:
            done.append(line)
        else:
            done[last] = (done[last][0], max(done[last][1], line[1]))
    return frozenset(done)


def _turn(p: Point, q: Point, r: Point) -> int:
    return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])


def _collinear(one: Segment, other: Segment) -> bool:
    return _turn(*one, other[0]) == 0 == _turn(*one, other[1])


def covers(whole: Segment, part: Segment) -> bool:
    """Whether one segment contains another."""
    return _collinear(whole, part) and whole[0] <= part[0] and part[1] <= whole[1]


def _shared(one: Segment, other: Segment) -> int:
    return len(set(one) & set(other))


def _apart(one: Segment, other: Segment) -> float:
    """How far the ends of two segments are from each other, in squares, paired the better way."""
    return min(dist(one[0], other[0]) + dist(one[1], other[1]), dist(one[0], other[1]) + dist(one[1], other[0]))


def _misplaced_end(line: Segment, meant: Segment) -> Point:
    """The end of a line that is not where it was meant to be; of two such ends the one that is further off."""
    p, q = line
    straight = dist(p, meant[0]) + dist(q, meant[1]) <= dist(p, meant[1]) + dist(q, meant[0])
    ends = zip(line, meant if straight else meant[::-1], strict=True)
    return max(ends, key=lambda pair: (pair[0] not in meant, dist(*pair)))[0]


def _wrong_end(line: Segment, fine: Iterable[Point], before: Sheet) -> Point:
    """The end of a line that should not be there: the one that no right line or mark explains, else the one off the figure."""
    left = [end for end in line if end not in fine]
    return left[0] if len(left) == 1 else _free_end(line, before)


def _free_end(line: Segment, sheet: Sheet) -> Point:
    """The end of a line that is no point of the figure, if there is just one such; else the lower or right one."""
    off = [end for end in line if end not in sheet.figure.at.values()]
    return off[0] if len(off) == 1 else line[1]


def segments_between(points: Iterable[Point]) -> list[Segment]:
    """All segments between different ones of some points, in order."""
    ordered = sorted(set(points))
    return [segment(p, q) for k, p in enumerate(ordered) for q in ordered[k + 1 :]]
