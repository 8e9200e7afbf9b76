"""What the model says of a board, held against what it sees in the pixels: a cell that the words pass can be wrong for all that."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agents.tasks.maze_rules import Verdict
from agents.tasks.maze_words import parse_verdict, verdict_words

LIKELY = 0.5
"""Chance of the most doubted cell from which a board that the words pass is taken for wrong."""
_FAULTS = {"missed": "dead_end_missed", "overdone": "route_greyed"}


def objection(text: str, damage: Sequence[float] = (), kinds: Sequence[str] = ()) -> str:
    """A reply as a redraw is told it: its own verdict, or, where it passes the board, what is seen in the most doubted cell.

    ``damage`` has the chances of the board's cells to be wrong, ``kinds`` what each then is.
    """
    if not damage or max(damage) <= LIKELY or not parse_verdict(text)[0]:
        return text
    at = damage.index(max(damage))
    return verdict_words(Verdict(False, _FAULTS.get(kinds[at], "unreadable"), divmod(at, math.isqrt(len(damage)))))
