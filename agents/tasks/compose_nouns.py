"""How things are named in free words: "two big red circles", "the star that is blue"."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.tasks.compose_lexicon import CAN, Token
from agents.tasks.compose_rules import Kind
from agents.tasks.compose_says import name
from unimm.errors import BadInput

ADJECTIVES = ("size", "colour")
STARTS = ("number", "the", "all", "size", "colour", "shape", "any")
"""Parts of speech that things can begin with."""


@dataclass
class Noun:
    """Things as they were named: "two red circles" has a count, "the circle" is definite."""

    kind: Kind
    count: int | None = None
    definite: bool = False
    every: bool = False
    plural: bool = False
    named: bool = False
    """Whether the shape was named, or "thing" said for it."""
    more: Kind | None = None
    groups: list[int] = field(default_factory=list)
    """Which groups of the request it stands for, once that is known."""

    @property
    def words(self) -> str:
        return name(self.kind, self.plural)


def misplaced(token: Token) -> BadInput:
    return BadInput(f"I do not understand '{token.word}' at this place. {CAN}")


def take(words: list[Token], loose: bool = False) -> tuple[Noun, list[Token]]:
    """The things that the words begin with, and the rest. ``loose``: adjectives may stand behind, as in "a circle large and red"."""
    noun, said, start = Noun(Kind()), dict[str, str](), words
    while words and words[0].part in ("number", "the", "all"):
        if words[0].part == "number":
            noun.count = int(words[0].value)
        noun.definite |= words[0].part == "the"
        noun.every |= words[0].part == "all"
        words = words[1:]
    while words and words[0].part in ADJECTIVES:
        describe(said, words[0])
        words = words[1:]
    if words and (words[0].part in ("shape", "any") or (said and words[0].word == "one")):
        noun.plural = words[0].plural
        if words[0].part == "shape":
            said["shape"] = words[0].value
        words, noun.named = words[1:], True
    while (size := _behind(words, loose)) > 0:
        describe(said, words[size - 1])
        words = words[size:]
    if not noun.named and not said:
        raise misplaced(words[0]) if words else BadInput(f"{repr(start[0].word) + ' what?' if start else 'A thing is missing.'} {CAN}")
    noun.kind = Kind(said.get("shape"), said.get("colour"), said.get("size"))
    if noun.count is not None and not noun.named:
        raise nameless(noun)
    noun.plural |= noun.every or (noun.count or 1) > 1
    return noun, words


def nameless(noun: Noun) -> BadInput:
    return BadInput(f"'{noun.words.removesuffix(' thing')}' what? Name the shape, or say 'thing'.")


def describe(said: dict[str, str], token: Token) -> None:
    if said.get(token.part, token.value) != token.value:
        raise BadInput(f"A thing has one {token.part}: say either {said[token.part]} or {token.value}.")
    said[token.part] = token.value


def _behind(words: list[Token], loose: bool) -> int:
    """How many words an adjective behind its noun takes: "that is red", "in red", "and large"; 0 where there is none."""
    parts = [token.part for token in words[:4]]
    if parts[:2] == ["that", "is"] and parts[2:3] and parts[2] in ADJECTIVES:
        return 3
    if words and words[0].word == "in" and parts[1:2] == ["colour"]:
        return 2
    if loose and parts and parts[0] in ADJECTIVES:
        return 1
    if loose and parts[:1] == ["and"] and parts[1:2] and parts[1] in ADJECTIVES and words[0].word == "and":
        return 2 if parts[2:3] not in (["shape"], ["any"], ["size"], ["colour"]) else 0
    return 0
