"""Requests and edits out of free words of the world's vocabulary, and back into plain clauses and questions."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import combinations, product

from agents.tasks.compose_asks import Ask
from agents.tasks.compose_chinese import in_english_order
from agents.tasks.compose_lexicon import CAN, CHANGES, Token, normalise, tokens
from agents.tasks.compose_nouns import ADJECTIVES, STARTS, Noun, describe, misplaced, nameless, take
from agents.tasks.compose_parse_edits import EDITS, addition, change, is_change, move_or_none
from agents.tasks.compose_rules import MOST, Group, Kind, Relation, Request, layout
from agents.tasks.compose_says import clauses, name, questions
from agents.tasks.scene import COLOURS, SHAPES, SIZES, Thing
from unimm.errors import BadInput

__all__ = ["clauses", "normalise", "parse", "questions"]


def parse(text: str, editing: bool = False) -> Ask:
    """What a text asks for. With ``editing`` there is a scene, and "draw a red circle" adds to it.

    Raises ``BadInput`` that says what can be drawn and which word was not understood, or what is contradictory or ambiguous.
    """
    words = tokens(normalise(text))
    if any(token.part.startswith("zh") for token in words):
        words = in_english_order(words)
    while words and words[0].part in ("fill", "and"):
        words = words[1:]
    words = [token for token in words if token.part != "fill"]
    if not words:
        raise BadInput(f"Say what to draw. {CAN}")
    if words[0].part != "verb":
        edit = addition(words, False)
        return edit if edit and (editing or not edit.relation) else _request(words)
    verb, rest = words[0].value, words[1:]
    if not rest:
        raise BadInput(f"'{words[0].word}' what? {CAN}")
    if verb in EDITS:
        return EDITS[verb](rest)
    numbered = rest[0].part == "number"
    if verb == "turn" or (verb in ("make", "paint") and not (verb == "paint" and numbered) and is_change(rest)):
        return change(rest)
    if verb == "put" and not numbered and (edit := move_or_none(rest)):
        return edit
    return addition(rest, editing and verb in ("draw", "put", "paint")) or _request(rest)


@dataclass
class _Said:
    """What a request names so far."""

    nouns: list[Noun] = field(default_factory=list)
    relations: list[tuple[list[Noun], str, Noun]] = field(default_factory=list)
    absent: list[Kind] = field(default_factory=list)


def _request(words: list[Token]) -> Request:
    said = _collect(words)
    groups = _groups(said)
    relations = tuple(
        Relation(first, word, second)
        for subjects, word, target in said.relations
        for first, second in product((group for noun in subjects for group in noun.groups), target.groups)
    )
    request = Request(tuple(groups), tuple(dict.fromkeys(relations)), tuple(dict.fromkeys(said.absent)))
    _check(request)
    return request


def _collect(words: list[Token]) -> _Said:
    """Walk through the words: things, relations between them, things that must not be there."""
    said, subjects, run, denied, fresh, listed = _Said(), list[Noun](), list[Noun](), False, False, False
    while words:
        token, parts = words[0], [other.part for other in words[:3]]
        if token.part == "and":
            if token.word == "or" and not denied:
                raise BadInput("Say which of them: I cannot choose at an 'or'.")
            listed, words = token.word == ",", words[1:]
        elif token.part == "no":
            denied, fresh, listed, words = True, True, False, words[1:]
        elif token.part == "that" and parts[1:2] == ["is"]:
            words = words[1:]
        elif token.part in ("is", "to") and parts[1:2] == ["side"]:
            if token.word == "are" and len(subjects) == 1 and not subjects[0].plural:
                subjects = run
            words = words[1:]
        elif token.part == "is" and parts[1:2] and parts[1] in ADJECTIVES and len(subjects) == 1:
            extra = dict[str, str]()
            describe(extra, words[1])
            subjects[0].more, words = Kind(None, extra.get("colour"), extra.get("size")), words[2:]
        elif token.part == "side" and subjects and not denied and len(words) > 1 and words[1].part in STARTS:
            target, words = take(words[1:], True)
            said.nouns.append(target)
            said.relations.append((subjects, token.value, target))
            if words and words[0].part in ("that", "side"):
                subjects = [target]
            run = []
        elif token.part in STARTS:
            noun, words = take(words, True)
            bare = noun.count is None and not noun.definite and not noun.every
            if denied and (fresh or (bare and (not listed or noun.plural or not noun.named))):
                if noun.kind == Kind() or (noun.count or 1) > 1:
                    raise BadInput("Say what must not be there by colour, shape or size, such as 'no red' or 'no stars'.")
                said.absent.append(noun.kind)
            elif bare and not noun.named:
                raise nameless(noun)
            else:
                denied, subjects, run = False, [noun], [*run, noun]
                said.nouns.append(noun)
            fresh = False
        elif token.part == "side":
            raise BadInput(f"'{token.word}' needs a thing on both sides, such as 'a star {token.word} a cross'.")
        elif token.part in ("corner", "slot", "verb"):
            raise BadInput(f"I do not understand '{token.word}' in a request for several things. {CHANGES}")
        else:
            raise misplaced(token)
    if denied and fresh:
        raise BadInput("Say what must not be there, such as 'no red' or 'no stars'.")
    return said


def _groups(said: _Said) -> list[Group]:
    """The groups of things, and for every noun the groups that it stands for."""
    related = [noun for subjects, _, target in said.relations for noun in (*subjects, target)]
    groups = list[Group]()
    fixed = [noun for noun in said.nouns if noun.count is not None and not noun.definite and not noun.every]
    for noun in fixed:
        groups = _named(groups, noun, related)
    bare = [noun for noun in said.nouns if not any(noun is other for other in fixed)]
    for noun in bare:
        noun.groups = _meant(groups, noun)
        if noun.groups and (noun.definite or noun.every or any(noun is other for other in related)):
            continue
        if fixed and (noun.definite or noun.every):
            raise BadInput(f"There is no '{noun.words}' among the things that you named. Name it first: 'a {name(noun.kind)}'.")
        if noun.plural and noun.count is None:
            raise BadInput(f"Say how many {noun.words}: a number from one to six.")
        groups = _named(groups, noun, related)
    for noun in said.nouns:
        for index in noun.groups if noun.more is not None else ():
            groups[index] = replace(groups[index], kind=_narrower(groups[index].kind, noun.more))
    return groups


def _narrower(kind: Kind, more: Kind) -> Kind:
    for part in ("colour", "size"):
        one, two = getattr(kind, part), getattr(more, part)
        if one and two and one != two:
            raise BadInput(f"The {name(kind)} cannot be {two} as well.")
    return Kind(kind.shape, kind.colour or more.colour, kind.size or more.size)


def _named(groups: list[Group], noun: Noun, related: list[Noun]) -> list[Group]:
    """The groups with a new one; one of the same kind is added to where nothing is said about its place."""
    count = noun.count or 1
    same = next((index for index, group in enumerate(groups) if group.kind == noun.kind), None)
    if same is None or noun.more is not None:
        noun.groups = [len(groups)]
        return [*groups, Group(count, noun.kind)]
    if any(noun is other or same in other.groups for other in related):
        raise BadInput(f"I cannot tell which {name(noun.kind)} is meant. Say 'the' for one that was named, or tell them apart by colour.")
    noun.groups = [same]
    return [*groups[:same], replace(groups[same], count=groups[same].count + count), *groups[same + 1 :]]


def _meant(groups: list[Group], noun: Noun) -> list[int]:
    """The groups that a noun stands for: the one of exactly that kind, else the only one that is of that kind, or all."""
    exact = [index for index, group in enumerate(groups) if group.kind == noun.kind]
    inside = [index for index, group in enumerate(groups) if _within(group.kind, noun.kind)]
    hits = exact or inside
    if len(hits) > 1 and not (noun.every or (noun.plural and noun.count is None)):
        listed = " or ".join(f"the {name(groups[index].kind, groups[index].count > 1)}" for index in hits)
        raise BadInput(f"'{noun.words}' can be several of the things that you named. Say {listed}.")
    if len(hits) == 1 and noun.count not in (None, groups[hits[0]].count) and noun.definite:
        raise BadInput(f"You asked for {groups[hits[0]].count} {noun.words} first and for {noun.count} then.")
    return hits


def _within(kind: Kind, wider: Kind) -> bool:
    pairs = ((kind.shape, wider.shape), (kind.colour, wider.colour), (kind.size, wider.size))
    return all(outer is None or inner == outer for inner, outer in pairs)


def _check(request: Request) -> None:
    """Raises ``BadInput`` for what no sheet can show or what cannot be told."""
    total = sum(group.count for group in request.groups)
    if not request.groups:
        raise BadInput(f"Say what to draw beside what must not be there. {CAN}")
    if total > MOST:
        raise BadInput(f"That is {total} things; at most {MOST} fit on one sheet. Ask for fewer.")
    for one, two in combinations(request.groups, 2):
        if one.kind.meets(two.kind):
            pair = " and ".join(f"'{name(group.kind, group.count > 1)}'" for group in (one, two))
            raise BadInput(f"{pair} could be the same thing. Say for both what tells them apart, such as the colour.")
    if any(relation.first == relation.second for relation in request.relations):
        raise BadInput("Nothing can be beside itself. Name two different things.")
    everything = [Thing((0, 0), *look) for look in product(SHAPES, COLOURS, SIZES)]
    for index, group in enumerate(request.groups):
        if not any(request.fits(index, thing) for thing in everything):
            raise BadInput(f"You ask for {clauses(Request((group,)))[0]} and for {_denied(request, group.kind)}. Leave one of them out.")
    if layout(random.Random(0), request) is None:
        raise BadInput("No sheet can show all of that at once: the places contradict each other. Leave one of them out.")


def _denied(request: Request, kind: Kind) -> str:
    words = [clauses(Request((), (), (absent,)))[0] for absent in request.absent if absent.meets(kind)]
    return " and ".join(words)
