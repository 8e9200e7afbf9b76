"""What a request or an edit asks for, clause by clause, in plain words and as questions."""

from __future__ import annotations

from agents.tasks.compose_asks import Ask
from agents.tasks.compose_edits import Edit, corner_of
from agents.tasks.compose_phrases import PLURALS
from agents.tasks.compose_rules import Kind, Relation, Request
from agents.tasks.maze_words import cell_name

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_SIDES = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def name(kind: Kind, plural: bool = False, anything: str = "thing") -> str:
    """A kind in plain words, the size first."""
    shape = kind.shape or anything
    return " ".join(filter(None, (kind.size, kind.colour, PLURALS[shape] if plural else shape)))


def _short(request: Request, index: int) -> str:
    """A group by its shape alone where that tells it from the others."""
    group = request.groups[index]
    alike = [other for other in request.groups if other is not group and other.kind.shape in (group.kind.shape, None)]
    return name(Kind(group.kind.shape) if group.kind.shape and not alike else group.kind, group.count > 1)


def _pair(request: Request, relation: Relation) -> tuple[str, str]:
    return f"the {_short(request, relation.first)}", f"{_SIDES[relation.word]} the {_short(request, relation.second)}"


def clauses(ask: Ask) -> tuple[str, ...]:
    """What is asked for, in the order of ``Verdict.checks``: "two red circles", "the circles left of the square", "nothing red"."""
    if isinstance(ask, Edit):
        return (_edit(ask),)
    return (
        *(f"{_NUMBERS[group.count]} {name(group.kind, group.count > 1)}" for group in ask.groups),
        *(" ".join(_pair(ask, relation)) for relation in ask.relations),
        *(f"nothing {kind.colour}" if kind == Kind(colour=kind.colour) else f"no {name(kind, True)}" for kind in ask.absent),
    )


def questions(ask: Ask) -> tuple[str, ...]:
    """The same as questions in the words of the model: "how many red circles ?", "are the circles left of the square ?"."""
    if isinstance(ask, Edit):
        return _edit_questions(ask)
    pairs = [("are" if ask.groups[relation.first].count > 1 else "is", *_pair(ask, relation)) for relation in ask.relations]
    return (
        *(f"how many {name(group.kind, True, 'shape')} ?" for group in ask.groups),
        *(f"{' '.join(words)} ?" for words in pairs),
        *(f"how many {name(kind, True, 'shape')} ?" for kind in ask.absent),
    )


def _place(edit: Edit) -> str:
    if edit.place is not None:
        corner = corner_of(edit.place)
        return f"in the {corner} corner" if corner else f"at {cell_name(edit.place)}"
    return f"{_SIDES[edit.relation]} the {name(edit.other)}" if edit.relation and edit.other else ""


def _edit(edit: Edit) -> str:
    what = f"{'all' if edit.every else 'the'} {name(edit.kind, edit.every)}"
    if edit.verb == "add":
        return f"one {name(edit.kind)} more {_place(edit)}".strip()
    if edit.verb == "remove":
        return f"{what} away"
    if edit.verb == "recolour":
        return f"{what} {edit.value} instead"
    if edit.verb == "resize":
        return f"{what} {edit.value} instead"
    if edit.verb == "move":
        return f"{what} {_place(edit)} instead"
    return f"{what} and the {name(edit.other or Kind())} in each other's place"


def _edit_questions(edit: Edit) -> tuple[str, ...]:
    named = name(edit.kind, edit.every)
    if edit.verb in ("add", "remove"):
        return (f"how many {name(edit.kind, True, 'shape')} ?",)
    if edit.verb in ("recolour", "resize"):
        return (f"{'are' if edit.every else 'is'} the {named} {edit.value} now ?",)
    if edit.verb == "move":
        return (f"is the {named} {_place(edit)} now ?",)
    return (f"have the {named} and the {name(edit.other or Kind())} changed place ?",)
