"""Changes to a scene out of free words."""

from __future__ import annotations

from dataclasses import replace

from agents.tasks.compose_edits import CORNERS, Edit, Verb
from agents.tasks.compose_lexicon import CAN, CHANGES, Token
from agents.tasks.compose_nouns import ADJECTIVES, STARTS, Noun, misplaced, take
from agents.tasks.compose_says import name
from agents.tasks.maze_words import cell_at
from agents.tasks.scene import Slot
from unimm.errors import BadInput


def _end(rest: list[Token]) -> None:
    if rest:
        raise BadInput(f"I do not understand '{rest[0].word}' at this place. {CHANGES}")


def _target(words: list[Token], several: bool = False, loose: bool = False) -> tuple[Noun, list[Token]]:
    """What is to be changed."""
    noun, rest = take(words, loose)
    if rest and (rest[0].part == "side" or [token.part for token in rest[:2]] == ["that", "is"]) and several:
        raise BadInput(f"Say which {noun.words} by shape, colour and size, not by the place.")
    if noun.plural and noun.count is None:
        noun.every = True
    if (noun.count or 1) > 1 or (noun.every and not several):
        raise BadInput(f"One thing at a time: 'the {name(noun.kind)}'. {CHANGES}")
    return noun, rest


def _remove(words: list[Token]) -> Edit:
    noun, rest = _target(words, several=True, loose=True)
    _end(rest)
    return Edit("remove", noun.kind, every=noun.every)


def is_change(words: list[Token]) -> bool:
    """Whether things are named and then what they become."""
    if words[0].part not in STARTS:
        return False
    noun, rest = take(words)
    return bool(rest) and (rest[0].part in ("to", *ADJECTIVES) or (noun.definite and rest[0].part == "number"))


def change(words: list[Token]) -> Edit:
    if words[0].part not in STARTS:
        raise BadInput(f"Say it as 'make the star red' or 'make all stars bigger'. {CHANGES}")
    noun, rest = _target(words, several=True)
    rest = rest[1:] if rest and rest[0].part == "to" else rest
    rest = rest[1:] if len(rest) > 1 and rest[0].word in ("a", "an") and rest[1].part in ADJECTIVES else rest
    if not rest:
        raise BadInput(f"Say what the {noun.words} should become, such as 'red' or 'bigger'. {CHANGES}")
    if any(token.part == "shape" for token in rest[:2]):
        raise BadInput(f"A thing cannot get another shape. {CHANGES}")
    if rest[0].part not in ADJECTIVES:
        raise misplaced(rest[0])
    _end(rest[1:])
    verb: Verb = "recolour" if rest[0].part == "colour" else "resize"
    return Edit(verb, noun.kind, rest[0].value, every=noun.every)


def _where(words: list[Token], edit: Edit) -> Edit | None:
    """The edit with the place that all the words say; None where they say no place."""
    if words and words[0].part == "to":
        words = words[1:]
    if words and words[0].part == "the" and len(words) > 1 and words[1].part == "corner":
        words = words[1:]
    if words and words[0].part in ("corner", "slot"):
        _end(words[1:])
        place: Slot | None = CORNERS[words[0].value] if words[0].part == "corner" else cell_at(words[0].value)
        return replace(edit, place=place)
    if len(words) > 1 and words[0].part == "side":
        other, rest = take(words[1:])
        if (other.count or 1) > 1 or other.every or (rest and edit.verb != "add"):
            raise BadInput(f"Name one thing to put it beside: 'the {name(other.kind)}'. {CHANGES}")
        return replace(edit, relation=words[0].value, other=other.kind) if not rest else None
    return None


def _move(words: list[Token]) -> Edit:
    if (edit := move_or_none(words)) is None:
        raise BadInput("Say where to: a corner such as 'top left', a place from a1 to d4, or 'left of the star'.")
    return edit


def move_or_none(words: list[Token]) -> Edit | None:
    noun, rest = take(words)
    if not rest or rest[0].part not in ("to", "corner", "slot", "side"):
        return None
    if not any(token.part in ("corner", "slot") for token in rest) and any(token.part == "number" for token in rest):
        return None
    noun, rest = _target(words)
    return _where(rest, Edit("move", noun.kind))


def _swap(words: list[Token]) -> Edit:
    one, rest = _target(words)
    if not rest or rest[0].part != "and":
        raise BadInput(f"Swap the {name(one.kind)} with what? {CHANGES}")
    two, rest = _target(rest[1:])
    _end(rest)
    if one.kind == two.kind:
        raise BadInput("Name two different things to swap.")
    return Edit("swap", one.kind, other=two.kind)


def _add(words: list[Token]) -> Edit:
    edit = addition(words, True)
    if edit is None:
        raise BadInput(f"I can add one thing at a time, such as 'add a red circle left of the star'. {CAN}")
    return edit


EDITS = {"add": _add, "remove": _remove, "move": _move, "swap": _swap}


def addition(words: list[Token], anywhere: bool) -> Edit | None:
    """One new thing and where it goes in a scene that is there; None for anything else. ``anywhere``: the place may be left out."""
    if words[0].part not in ("number", "size", "colour", "shape", "any"):
        return None
    noun, rest = take(words)
    if noun.plural:
        return None
    edit = Edit("add", noun.kind)
    if not rest:
        return edit if anywhere else None
    if rest[0].part == "side" and not (len(rest) > 1 and rest[1].part == "the") and not anywhere:
        return None
    return _where(rest, edit)
