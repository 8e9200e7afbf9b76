"""What a model has to show of its attention, and which models can."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from unimm.analysis.spans import Span, less
from unimm.document import Document
from unimm.errors import BadInput, ModelUnavailable
from unimm.model import Options, Want

ADAPTERS = {f"unimm.{family}": f"unimm.{family}.attention" for family in ("star", "bagel", "mmada", "janus", "emu3")}
"""Package of a model's class -> module with ``attention_maps(model, document, want, options)``; imported when needed."""


@dataclass(frozen=True)
class Attention:
    """One teacher-forced pass over a document and what the model wrote or drew after it.

    ``visit`` runs the pass and hands over the map [H, S, S] of one layer after the other (probabilities after softmax), so
    that no two have to be in memory; a map of the new rows only is [H, rows, S], and ``output`` counts in those rows.
    ``text`` and ``picture`` are the spans of the prompt's words and of its pictures, ``output`` those of the rows that write
    the answer (``want="text"``) or draw (``want="image"``); ``marks`` are those positions among ``text`` that are template
    or markers. ``parts`` names runs of layers, bottom first, where a model has more than one kind. ``note`` says how the
    spans were chosen.
    """

    want: Want
    visit: Callable[[Callable[[Tensor], None]], None]
    text: tuple[Span, ...]
    picture: tuple[Span, ...]
    output: tuple[Span, ...]
    marks: tuple[Span, ...] = ()
    parts: tuple[tuple[str, int], ...] = ()
    note: str = ""

    @property
    def maps(self) -> list[Tensor]:
        """All maps [H, S, S] at once; ``visit`` is kinder to memory."""
        kept: list[Tensor] = []
        self.visit(kept.append)
        return kept

    def keys(self, first: bool = True, marks: bool = True) -> tuple[Span, ...]:
        """The columns of the other modality: words where a picture is drawn, pictures where an answer is written.

        Of words, ``first=False`` leaves out the sequence's first token, ``marks=False`` the template and markers. Raises
        ``BadInput`` where nothing is left.
        """
        if self.want == "text":
            return _some(self.picture, "picture")
        spans = self.text if marks else less(self.text, self.marks)
        return _some(spans if first else less(spans, ((0, 1),)), "words")


def _some(spans: tuple[Span, ...], what: str) -> tuple[Span, ...]:
    if not spans:
        raise BadInput(f"The prompt has no {what} to look at. Add some to the document.")
    return spans


@runtime_checkable
class Attends(Protocol):
    """A model that shows its attention: answers or draws after ``document``, then passes over the whole once more."""

    def attention_maps(self, document: Document, want: Want, options: Options = Options()) -> Attention: ...


def attention_of(model: object, document: Document, want: Want, options: Options = Options()) -> Attention:
    """The attention of any model that can show it; raises ``ModelUnavailable`` for one that cannot."""
    if isinstance(model, Attends):
        return model.attention_maps(document, want, options)
    family = ".".join(type(model).__module__.split(".")[:2])
    if family not in able():
        name, known = getattr(model, "name", type(model).__name__), ", ".join(package.removeprefix("unimm.") for package in able())
        raise ModelUnavailable(f"{name} does not show its attention. Models that do: {known}; or give its class a method attention_maps.")
    return importlib.import_module(ADAPTERS[family]).attention_maps(model, document, want, options)


def able() -> list[str]:
    """Packages whose models show their attention."""
    return [package for package, module in ADAPTERS.items() if importlib.util.find_spec(package) and importlib.util.find_spec(module)]
