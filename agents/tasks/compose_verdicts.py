"""What the model says of a scene, read again: whether its own words bear out its verdict.

A reply tells what is seen and what is wanted, thing by thing, before it concludes. Where a request's conclusion does not follow from both,
they count and not the conclusion: to count six things among others is harder than to name them, and the reply shows both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from agents.tasks.compose_looks import ORDINALS, UNCLEAR
from agents.tasks.compose_rules import FIRST, RELATIONS, Group, Kind, Relation, Request, Verdict, judge, repaired
from agents.tasks.compose_words import PLAN, parse_things, parse_verdict, plan_words, verdict_words
from agents.tasks.maze_words import cell_name
from agents.tasks.scene import SIDE, Scene, Slot

LIKELY = 0.15
"""Chance of the most doubted token from which a sheet is taken for broken. Fitted on drawings of the split val."""
_ITEMS = re.compile(r"\bsee : ([^.]*) \.")
_SEEN = re.compile(r"\bsee : (?P<seen>[^.]*) \. want : (?P<wanted>[^.]*) \.")
_ENDS = re.compile(r"\b(?:correct|wrong) \..*", re.IGNORECASE | re.DOTALL)
_GROUP = re.compile(rf"(?:{'|'.join(ORDINALS)}) (?P<count>\d) (?P<kind>\w+ \w+ \w+)")
_RELATION = re.compile(rf"(?P<first>{'|'.join(ORDINALS)}) (?P<word>{'|'.join(RELATIONS)}) (?P<second>{'|'.join(ORDINALS)})")
_NOT = re.compile(r"not (?P<kind>\w+ \w+ \w+)")
_ELSEWHERE = ("unreadable", "stayed", "changed")
"""Faults that the things seen and the things wanted say nothing about."""


def objection(text: str, damage: Sequence[float] = (), kinds: Sequence[str] = ()) -> str:
    """A reply as a redraw is told it: with the verdict that follows from what it sees and wants, and what that puts right.

    ``damage`` has the chances of the sheet's tokens not to be whole, four of them a slot. What is broken has no name, whatever the words
    call it; so that comes before all else. ``kinds`` say nothing here.
    """
    if damage and max(damage) > LIKELY:
        return _broken(text, _slot_of(damage.index(max(damage)), math.isqrt(len(damage))))
    return _reread(text)


def _slot_of(token: int, side: int) -> Slot:
    row, column = divmod(token, side)
    return row * SIDE // side, column * SIDE // side


def _broken(text: str, slot: Slot) -> str:
    """The reply with the verdict that what is in a slot cannot be read, and a plan for it: its own, or to draw there again what it saw, or,
    where it saw nothing and has no plan, to clear it."""
    if not _ENDS.search(text):
        return text
    verdict, said = verdict_words(Verdict(False, "unreadable", slot)), PLAN.search(text)
    seen = _ITEMS.search(" ".join(text.lower().split()))
    things = parse_things(" , ".join(item for item in seen[1].split(" , ") if item.split()[-1] == cell_name(slot))) if seen else None
    thing = things.at(slot) if things else None
    plan = said[0] if said else ""
    if cell_name(slot) not in plan and (thing or not plan):
        plan = plan_words(Scene(), Scene((thing,) if thing else ()), unclear=(slot,))
    return " ".join(filter(None, (_ENDS.sub(verdict, text), plan)))


def _reread(text: str) -> str:
    ok, fault, where = parse_verdict(text)
    told = _told(text)
    if told is None or fault in _ELSEWHERE or not (ok or fault):
        return text
    request, scene = told
    held = judge(request, Scene(), scene)
    if (held.ok, held.fault, held.where) == (ok, fault, where) or held.ok or held.fault in _ELSEWHERE:
        return text
    concluded = verdict_words(Verdict(False, held.fault, held.where))
    return " ".join(filter(None, (_ENDS.sub(concluded, text), _plan(text, request, scene, held))))


def _plan(text: str, request: Request, scene: Scene, held: Verdict) -> str:
    """The reply's own plan, if it has one that puts right what is wrong; else what puts right that one thing, if it is a matter of one."""
    said = PLAN.search(text)
    thing = scene.at(held.where) if held.where else None
    if thing is None or held.fault == "place" or (said and cell_name(thing.slot) in said[0]):
        return said[0] if said else ""
    mended = repaired(FIRST, request, scene) if held.fault in ("colour", "shape", "size") else scene.without(thing.slot)
    return plan_words(Scene((thing,)), Scene(tuple(filter(None, [(mended or scene).at(thing.slot)]))))


def _told(text: str) -> tuple[Request, Scene] | None:
    """What a reply to a request wants and sees; None where it is about an edit, sees what it cannot name, or is no such reply."""
    told = _SEEN.search(" ".join(text.lower().split()))
    scene = parse_things(told["seen"]) if told and UNCLEAR not in told["seen"] else None
    request = _request(told["wanted"]) if told else None
    return (request, scene) if request and scene is not None else None


def _request(words: str) -> Request | None:
    """The inverse of ``want_words`` for a request; None for other words."""
    groups, relations, absent = list[Group](), list[Relation](), list[Kind]()
    for item in words.split(" , "):
        if group := _GROUP.fullmatch(item):
            groups.append(Group(int(group["count"]), _kind(group["kind"])))
        elif relation := _RELATION.fullmatch(item):
            relations.append(Relation(ORDINALS.index(relation["first"]), relation["word"], ORDINALS.index(relation["second"])))
        elif without := _NOT.fullmatch(item):
            absent.append(_kind(without["kind"]))
        else:
            return None
    known = all(max(relation.first, relation.second) < len(groups) for relation in relations)
    return Request(tuple(groups), tuple(relations), tuple(absent)) if known else None


def _kind(words: str) -> Kind:
    colour, shape, size = (None if word == "any" else word for word in words.split())
    return Kind(shape, colour, size)
