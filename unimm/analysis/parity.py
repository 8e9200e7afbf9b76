"""Parity checks of the interaction and of its loss: attention maps in, curves, penalties and gradients out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unimm.analysis.intensity import decode_curve, interaction
from unimm.analysis.spans import Spans, all_drawing, released_drawing, released_picture, runs, without_first
from unimm.model import Want
from unimm.parity import EXACT, Case, Compared, Golden, Suite, distance
from unimm.train.alignment import TARGETS, WEIGHTS, alignment_loss, penalties

MASS = 1e-6
TOKEN_LOSS = 1e-5
GRADIENT = 1e-5
"""Relative: what is compared is the ratio of the two norms with 1."""


def _parameters(cases: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: row for name, row in cases["meta"].items() if not name.startswith("targets_")}


def _also(case: Case, name: str, actual: Any, expected: Any, tolerance: float = EXACT) -> None:
    """Hold numbers of ``cases.json``, or a part of a tensor, against ours."""
    case.compared.append(Compared(name, distance(torch.as_tensor(actual), torch.as_tensor(expected)), tolerance))


def _tables(case: Case, want: Want, layers: int) -> None:
    """Every table of the folder against ours, and the mean penalty that the printed ones give."""
    for name, row in case.golden.cases["meta"].items():
        if found := re.fullmatch(r"targets_(\w+)", name):
            target, width = TARGETS[found[1]][want].at(layers, scaled=False)
            _also(case, f"{name}.target", target, row[case.name]["target"], MASS)
            _also(case, f"{name}.delta", width, row[case.name]["delta"], MASS)
            case.compare(f"huber_mean.{found[1]}", penalties(case["intensity"], target, width).mean()[None], MASS)


def _term(case: Case, want: Want, queries: Sequence[Spans], keys: Sequence[Spans], token_loss: Tensor) -> None:
    """Interaction, penalties, the loss under every switch setting, and its gradient on each layer's map."""
    maps = case["attentions"].clone().requires_grad_()
    mass = interaction(maps, queries, keys)
    case.compare("intensity", mass, MASS)
    _tables(case, want, len(maps))
    target, width = TARGETS["code"][want].at(len(maps), scaled=False)
    case.compare("huber", penalties(mass, target, width), MASS)
    _also(case, "weight", WEIGHTS[want], case.parameters["weight"])
    for name, on in case.parameters["use_attn"].items():
        term = alignment_loss(mass, target, width, torch.tensor(on))
        (slope,) = torch.autograd.grad(term, maps, retain_graph=True)
        norms = f"grad_norm_per_layer.{name}"
        ours, theirs = slope.flatten(1).norm(dim=1), case[norms]
        _also(case, norms, torch.where(ours == theirs, 1.0, ours / theirs), torch.ones_like(theirs), GRADIENT)
        _also(case, f"loss.{name} (aia)", term, case[f"loss.{name}"][1], MASS)
        case.compare(f"loss.{name}", torch.stack([token_loss, term, token_loss + WEIGHTS[want] * term]), TOKEN_LOSS)


def _drawing(shared: Golden, case: Case) -> None:
    seen, labels, maps = case["attention_mask"], case["labels"], case["attentions"]
    codes = labels.shape[1]
    queries, keys = released_drawing(seen, codes)
    _also(case, "query_span", queries, [[span] for span in case.parameters["query_span"]])
    _also(case, "key_span", keys, [[span] for span in case.parameters["key_span"]])
    before = case["logits"][:, -codes - 1 : -1]
    _term(case, "image", queries, keys, F.cross_entropy(before.flatten(0, 1), labels.flatten()))
    rows, words = all_drawing(seen, codes)
    case.compare("intensity_all_text_all_image", interaction(maps, rows, words), MASS)
    case.compare("intensity_without_first_token", interaction(maps, rows, [without_first(spans) for spans in words]), MASS)


def _understanding(shared: Golden, case: Case) -> None:
    labels, picture = case["labels"], case["image_mask"]
    case.seen.add("attention_mask")  # padding has no mass in these maps, and the spans do not need it
    queries, keys = [runs(row != -100) for row in labels], released_picture(picture)
    for ours, theirs in zip(queries, case.parameters["query_spans"], strict=True):
        _also(case, "query_spans", ours, theirs)
    _also(case, "key_span", keys, [[span] for span in case.parameters["key_span"]])
    _term(case, "text", queries, keys, F.cross_entropy(case["logits"][:, :-1].flatten(0, 1), labels[:, 1:].flatten()))
    exact = [runs(row) for row in picture.bool()]
    case.compare("intensity_exact_image_keys", interaction(case["attentions"], queries, exact), MASS)


def _decode(shared: Golden, case: Case) -> None:
    steps = [case[f"step{number}"] for number in range(case.parameters["steps"])]
    case.compare("gen_curve", decode_curve(steps, (0, case.parameters["prompt_len"])), MASS)
    case.compare("und_curve", decode_curve(steps, tuple(case.parameters["und_span"])), MASS)


SUITE = Suite(
    open=lambda golden: golden,
    checks={"gen": _drawing, "und": _understanding, "decode": _decode},
    parameters=_parameters,
)
