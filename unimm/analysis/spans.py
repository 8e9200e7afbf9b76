"""Which positions of a sequence count: half-open spans, and masks made of them.

A span is ``(start, stop)``. Positions are those of the padded sequence, so left padding only shifts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unimm.errors import BadInput

Span = tuple[int, int]
Spans = Sequence[Span]
"""All spans of one sample; several (the answers of several turns) are taken together."""


def mark(samples: Sequence[Spans], length: int) -> Tensor:
    """Mask [B, length] of the positions inside the spans of each of B samples; raises ``BadInput`` for a span outside.

    A position that two spans share counts once.
    """
    marks = torch.zeros(len(samples), length, dtype=torch.bool)
    for row, spans in zip(marks, samples, strict=True):
        for start, stop in spans:
            if not 0 <= start < stop <= length:
                raise BadInput(f"The span {start}-{stop} does not lie in a sequence of {length} positions. Check where it counts from.")
            row[start:stop] = True
    return marks


def runs(mask: Tensor) -> tuple[Span, ...]:
    """The spans of a mask [length]: its unbroken runs, in order. Inverse of ``mark`` for one sample."""
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff()
    return tuple(zip((edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist(), strict=True))


def less(spans: Spans, others: Spans) -> tuple[Span, ...]:
    """The positions of ``spans`` that are not in ``others``."""
    length = max((stop for _, stop in (*spans, *others)), default=0)
    return runs(mark([spans], length)[0] & ~mark([others], length)[0])


def without_first(spans: Spans) -> tuple[Span, ...]:
    """The spans less their very first position: the usual attention sink, whose mass says nothing about the words."""
    (start, stop), *rest = sorted(spans)
    return tuple(rest) if stop - start == 1 else ((start + 1, stop), *rest)


def size(spans: Spans) -> int:
    """How many positions the spans hold."""
    return sum(stop - start for start, stop in spans)


def shown(spans: Spans) -> str:
    """Spans for people: ``1-41, 106-110 (45 positions)``, half open."""
    return f"{', '.join(f'{start}-{stop}' for start, stop in spans) or 'none'} ({size(spans)} positions)"


def released_drawing(seen: Tensor, codes: int) -> tuple[list[Spans], list[Spans]]:
    """Query and key spans of the released training code for drawing (fact sheet: aia, section 2.1).

    ``seen`` [B, L] is the attention mask of left-padded text and, behind it, ``codes`` picture tokens. Queries are all
    codes but the last; keys are shifted by one to the left of the real text: they hold one padded place or none of it, and
    leave the begin-of-image token out.
    """
    words = seen.shape[1] - codes
    starts = seen[:, :words].int().argmax(1).tolist()
    return [((words, words + codes - 1),) for _ in starts], [((max(start - 1, 0), words - 1),) for start in starts]


def all_drawing(seen: Tensor, codes: int) -> tuple[list[Spans], list[Spans]]:
    """Query and key spans of the plain definition: all picture rows, all real words. Arguments as ``released_drawing``."""
    words = seen.shape[1] - codes
    starts = seen[:, :words].int().argmax(1).tolist()
    return [((words, words + codes),) for _ in starts], [((start, words),) for start in starts]


def released_picture(picture: Tensor) -> list[Spans]:
    """Key spans of the released training code for understanding: from begin-of-image on, as long as the picture.

    ``picture`` [B, L] marks the picture's tokens. The span is one off: it holds the begin mark and not the last picture token.
    """
    return [tuple((start - 1, stop - 1) for start, stop in runs(row)) for row in picture.bool()]
