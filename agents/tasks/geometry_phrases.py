"""What the kinds of geometry question have in common: the ways they are asked, and the sides of their figures."""

from __future__ import annotations

import random

TRIANGLE, QUADRILATERAL = ("AB", "BC", "CA"), ("AB", "BC", "CD", "DA")
LOOSE = "not to scale . "
FLAT = "The figure would be too flat to draw in; move {} further away."


def ask(rng: random.Random, what: str, before: str = "") -> str:
    """``what`` as a question, in one of a few ways."""
    return before + rng.choice((f"{what} ?", f"what is the {what} ?", f"find the {what} ."))


def long(rng: random.Random, what: str, before: str = "") -> str:
    return before + rng.choice((f"how long is {what} ?", f"what is the length of {what} ?", f"find the length of {what} ."))


def scaled(rng: random.Random) -> tuple[int, str, tuple[tuple[str, str, int], ...]]:
    """How many units a square is: (units, the words that say so, the given number)."""
    units = rng.randint(2, 5) if rng.random() < 0.4 else 1
    return (units, f"1 square = {units} . ", (("square", "", units),)) if units > 1 else (1, "", ())


def shuffled(rng: random.Random, roles: str) -> str:
    return " ".join(rng.sample(roles, len(roles)))


def around(rng: random.Random, ring: str = "ABCD") -> str:
    """A quadrilateral's corners in turn, from any of them, either way round."""
    ring = ring[::-1] if rng.random() < 0.5 else ring
    start = rng.randrange(len(ring))
    return " ".join(ring[start:] + ring[:start])
