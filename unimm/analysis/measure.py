"""A model's curves over several documents: numbers for people, for files and for the plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimm.analysis.attention import Attention, attention_of
from unimm.analysis.intensity import intensity
from unimm.analysis.reference import TASKS, Published, distances, pearson, published
from unimm.analysis.spans import Span, mark, shown
from unimm.document import Document
from unimm.errors import BadInput
from unimm.model import Options, Want
from unimm.train.alignment import TARGETS


@dataclass(frozen=True)
class Sample:
    """One document's interaction by columns ("all", "no first", "no marks"): a value a layer each; and its spans.

    ``even`` is what all columns would get if every row spread its attention evenly over what it may see: the mass grows
    with the number of columns, so this tells how much of a level is size alone.
    """

    spans: dict[str, str]
    curves: dict[str, tuple[float, ...]]
    even: float
    parts: tuple[tuple[str, int], ...]
    note: str


@dataclass(frozen=True)
class Measured:
    """One task's samples; the columns "all" make its main curve."""

    want: Want
    samples: tuple[Sample, ...]

    @property
    def curve(self) -> list[float]:
        return self.mean("all")

    def columns(self) -> list[str]:
        """Kinds of columns that every sample has."""
        return [name for name in self.samples[0].curves if all(name in sample.curves for sample in self.samples)]

    def mean(self, columns: str) -> list[float]:
        return self._stacked(columns).mean(0).tolist()

    def spread(self, columns: str) -> list[float]:
        """Standard deviation over the samples, a value a layer; 0 for a single one."""
        return self._stacked(columns).std(0, correction=0).tolist()

    def _stacked(self, columns: str) -> Tensor:
        return torch.tensor([sample.curves[columns] for sample in self.samples])

    def targets(self) -> tuple[list[float], list[float]]:
        """The released targets and Huber widths, scaled to this depth."""
        target, width = TARGETS["code"][self.want].at(len(self.curve))
        return target.tolist(), width.tolist()

    @property
    def even(self) -> float:
        """Mean over the samples of the mass under even attention."""
        return sum(sample.even for sample in self.samples) / len(self.samples)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, rounded to what is worth reading."""
        target, width = self.targets()
        curves = {name: {"mean": _round(self.mean(name)), "spread": _round(self.spread(name))} for name in self.columns()}
        return {
            "rows": "picture rows on words" if self.want == "image" else "answer rows on pictures",
            "layers": len(self.curve), "parts": dict(self.samples[0].parts), "note": self.samples[0].note,
            "samples": [sample.spans for sample in self.samples], "curves": curves, "even_attention": round(self.even, 5),
            "targets": {"table": "released code, scaled to this depth", "target": _round(target), "width": _round(width)},
            "mean_distance_to": {name: round(value, 4) for name, value in distances(self.curve, self.want).items()},
        }  # fmt: skip


def _round(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]


def measure(model: object, want: Want, documents: Sequence[Document], options: Options = Options()) -> Iterator[Sample]:
    """The samples of ``documents``, one after the other; raises ``BadInput`` or ``ModelUnavailable`` as ``attention_of`` does."""
    for document in documents:
        attention = attention_of(model, document, want, options)
        columns = _columns(attention)
        curves, even = _curves(attention, list(columns.values()))
        yield Sample(
            {"rows": shown(attention.output), **{f"columns, {name}": shown(spans) for name, spans in columns.items()}},
            dict(zip(columns, curves, strict=True)),
            even,
            attention.parts,
            attention.note,
        )


def _columns(attention: Attention) -> dict[str, tuple[Span, ...]]:
    """Kinds of columns to measure, less those that leave nothing."""
    found = {"all": attention.keys()}
    for name, how in {"no first": {"first": False}, "no marks": {"marks": False}}.items() if attention.want == "image" else ():
        try:
            spans = attention.keys(**how)
        except BadInput:
            continue
        if spans not in found.values():
            found[name] = spans
    return found


def _curves(attention: Attention, columns: list[tuple[Span, ...]]) -> tuple[list[tuple[float, ...]], float]:
    """One pass for all kinds of columns: a value a layer each; and the mass of the first kind under even attention."""
    rows: list[list[float]] = []
    even: list[float] = []

    def reduce(layer: Tensor) -> None:
        queries = mark([attention.output], layer.shape[-2]).to(layer.device)
        keys = [mark([spans], layer.shape[-1]).to(layer.device) for spans in columns]
        rows.append([float(intensity(layer[None], queries, one)) for one in keys])
        if not even:
            visible = layer[:1] > 0
            even.append(float(intensity((visible / visible.sum(-1, keepdim=True).clamp(min=1))[None], queries, keys[0])))

    attention.visit(reduce)
    return list(zip(*rows, strict=True)), even[0]


def report(name: str, measured: Sequence[Measured]) -> dict[str, Any]:
    """Everything as plain data: both tasks, how they oppose each other, and the published models beside."""
    both = {one.want: one.curve for one in measured}
    return {
        "model": name,
        "tasks": {TASKS[one.want]: one.to_dict() for one in measured},
        "pearson_drawing_understanding": _correlation(both["image"], both["text"]) if len(both) == 2 else None,
        "published": {row.name: _beside(row) for row in published()},
    }


def _beside(row: Published) -> dict[str, Any]:
    return {"layers": row.layers, "spread": row.spread, "pearson_drawing_understanding": _correlation(row.drawing, row.understanding)}


def _correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    value = pearson(one, other)
    return None if value is None else round(value, 3)
