"""Chinese requests and edits in the order of English ones."""

from __future__ import annotations

from agents.tasks.compose_lexicon import CHANGES, Token
from unimm.errors import BadInput


def in_english_order(words: list[Token]) -> list[Token]:
    """Chinese words clause by clause in the order of English ones, particles left out."""
    clause, done = list[Token](), list[Token]()
    for token in (*words, Token("and", "", ",")):
        if token.word == ",":
            done += [*_clause([other for other in clause if other.part != "fill"]), token]
            clause = []
        else:
            clause.append(token)
    return done[:-1]


def _clause(words: list[Token]) -> list[Token]:
    if words and words[0].part == "zh take":
        verb = next((at for at, token in enumerate(words) if token.part == "verb"), None)
        if verb is None:
            raise BadInput(f"Say what to do with it. {CHANGES}")
        words = [words[verb], *words[1:verb], Token("to", "", words[verb].word), *words[verb + 1 :]]
    side = next((at for at, token in enumerate(words) if token.part == "zh side"), None)
    while side is not None:
        marks = [at for at, token in enumerate(words[:side]) if token.part in ("zh at", "to")]
        link = Token("side", words[side].value, words[side].word)
        if marks:
            words = [*words[: marks[-1]], link, *words[marks[-1] + 1 : side], *words[side + 1 :]]
        elif side + 1 < len(words) and words[side + 1].part == "zh is":
            words = [*words[side + 2 :], link, *words[:side]]
        else:
            raise BadInput(f"'{link.word}' of what? Say 圆 在 星 的 {link.word}.")
        side = next((at for at, token in enumerate(words) if token.part == "zh side"), None)
    words = [token for token in words if token.part not in ("zh of", "zh at", "zh is")]
    verb = next((at for at, token in enumerate(words) if token.part == "verb" and at), None)
    if verb is not None and words[0].part in ("side", "corner", "slot"):
        words = [*words[verb:], *words[:verb]]
    if words and words[0].part == "verb" and words[0].value in ("remove", "swap"):
        words = [token for token in words if token.part != "to"]
    while len(words) > 1 and words[0].part == "verb" and words[1:2] and words[-1].part == "to":
        words = words[:-1]
    return _single(words)


def _single(words: list[Token]) -> list[Token]:
    """Without a "to" that stands before a place or another "to"."""
    parts = [*(token.part for token in words[1:]), "end"]
    return [token for at, token in enumerate(words) if token.part != "to" or parts[at] not in ("to", "side")]
