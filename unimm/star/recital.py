"""What a model is about to write, guessed from what it wrote before: a verdict repeats most of the thought that it holds a picture against.

A guess costs nothing where it is right and little where it is wrong: several words are checked in one pass (``star.speculate``).
"""

from __future__ import annotations

from collections.abc import Sequence

from unimm.star.speculate import next_run

FIRST_RUN = 6
"""How many words are guessed at once to begin with."""
PUT_IN = 1
"""How many words may be put in before nothing is guessed until the texts meet again."""


class Recital:
    """A place in an earlier text, which goes on with it word by word, stays where something is put in, and moves where they meet again."""

    def __init__(self, earlier: Sequence[int] = ()) -> None:
        self.earlier = list(earlier)
        self._at, self._run, self._last, self._strange = 0, FIRST_RUN, -1, 0

    def follow(self, token: int) -> None:
        """Take note of a word that was written."""
        at = self._at + 1 if self.earlier[self._at : self._at + 1] == [token] else self._meeting(token)
        self._strange = self._strange + 1 if at == self._at else 0
        self._at, self._last = at, token

    def _meeting(self, token: int) -> int:
        """Where the earlier text has this word and the one before it, from here on if it can be; else here."""
        places = range(1, len(self.earlier))
        met = [at + 1 for at in places if self.earlier[at] == token and self.earlier[at - 1] == self._last]
        return next((at for at in met if at > self._at), met[0] if met else self._at)

    def guess(self, most: int) -> list[int]:
        """The words that come next, if the text goes on as the earlier one; none where it has not for a while."""
        return [] if self._strange > PUT_IN else self.earlier[self._at : self._at + max(0, min(self._run, most))]

    def learn(self, stood: int, guessed: int) -> None:
        """Guess more or less from now on, after so many of the guessed words ``stood``."""
        if guessed:
            self._run = next_run(self._run, stood, guessed)
