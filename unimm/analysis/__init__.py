"""Cross-modal interaction: how much of its attention a model spends on the other modality, layer by layer.

Data flow (fact sheet: aia, sections 2 and 6)::

    model + document --> family's ``attention_maps`` --> maps, one layer at a time + spans (words, pictures, output)
                                                           |
    spans --> rows and columns -------------------> ``interaction``: mass on the columns, mean over rows and heads
                                                           |
    published curves, step targets --> ``reference`` ------+--> ``python -m unimm.analysis``: numbers (JSON) and a plot

Drawing is measured as picture rows that look at the prompt's words, understanding as answer rows that look at the
prompt's pictures. The loss that steers these numbers is ``unimm.train.alignment``.
"""

from __future__ import annotations

from unimm.analysis.attention import Attends, Attention, attention_of
from unimm.analysis.intensity import decode_curve, intensity, interaction, per_step
from unimm.analysis.spans import Span, Spans, mark, runs, without_first

__all__ = [
    "Attends", "Attention", "Span", "Spans", "attention_of", "decode_curve", "intensity", "interaction", "mark", "per_step", "runs",
    "without_first",
]  # fmt: skip
