"""Janus-Pro's parity checks: one function per group of a golden folder; sizes and settings come from the folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from PIL import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from unimm.janus import attention, checkpoint
from unimm.janus.canvas import Canvas, write
from unimm.janus.config import JanusOptions
from unimm.janus.decoder import Decoder, State, positions_of
from unimm.janus.generate import JanusModel
from unimm.janus.pixels import to_uint8, vision_pixels
from unimm.janus.processor import guidance_rows, pieces
from unimm.janus.tokenizer import SpecialIds, load_words
from unimm.parity import EXACT, Case, Check, Compared, Golden, Suite, distance
from unimm.train.alignment import TARGETS, alignment_loss

FLOAT = 2e-4
INTENSITY = 1e-5
GRADIENT = 1e-4
"""Relative: what is compared is the ratio of two norms with 1."""


@dataclass
class Shared:
    """What the checks share: the model of the folder in fp32, and its special ids."""

    golden: Golden

    @cached_property
    def model(self) -> JanusModel:
        with torch.inference_mode(False):
            return JanusModel.load(self.golden.folder, dtype=torch.float32)

    @property
    def decoder(self) -> Decoder:
        return self.model.decoder

    @cached_property
    def special(self) -> SpecialIds:
        return load_words(checkpoint.home(self.golden.folder), self.golden.cases).special

    def seen(self, pixels: Tensor) -> Tensor:
        """Embeddings of pictures [b, patches, width] from pixels [b, 3, h, w] or [b, 1, 3, h, w]."""
        return self.decoder.see(pixels.flatten(0, -4))


def _also(case: Case, name: str, actual: Any, expected: Any, tolerance: float = EXACT) -> None:
    """Hold numbers of ``cases.json`` against ours."""
    case.compared.append(Compared(name, distance(torch.as_tensor(actual), torch.as_tensor(expected)), tolerance))


def _und(shared: Shared, case: Case) -> None:
    """Tower, aligner, template of placeholders, word logits and greedy words of a left-padded batch."""
    decoder, ids, mask = shared.decoder, case["input_ids"], case["attention_mask"]
    pixels = case["pixel_values"].flatten(0, 1)
    case.compare("vit_out", decoder.tower(pixels), FLOAT)
    seen = decoder.see(pixels)
    case.compare("image_embeds", seen, FLOAT)
    embeds = decoder.mixed(ids, seen, shared.special.image)
    case.compare("inputs_embeds", embeds, FLOAT)
    case.compare("position_ids", positions_of(mask))
    state, hidden = decoder.run(State(), embeds, mask)
    inside = rearrange(mask, "rows n -> rows n 1").bool()
    case.compare("logits", torch.where(inside, decoder.word_logits(hidden), case["logits"]), FLOAT)
    words = write(decoder, state, JanusOptions(temperature=0), None, case["greedy_ids"].shape[1], never=(shared.special.eos,))
    drawn, logits = zip(*words, strict=True)
    case.compare("greedy_ids", torch.stack(drawn, 1))
    case.compare("greedy_logits", torch.stack(logits, 1), FLOAT)


def _vq(shared: Shared, case: Case) -> None:
    decoder = shared.decoder
    latents = decoder.latents(case["pixel_values"])
    case.compare("pre_quant", latents, FLOAT)
    case.compare("ids", decoder.nearest(latents))
    case.compare("quant", decoder.vectors(case["ids"]), FLOAT)
    case.compare("decoded", decoder.decode(case["ids"]), FLOAT)
    pixels = decoder.decode(case["random_ids"])
    case.compare("random_decoded", pixels, FLOAT)
    case.compare("random_uint8", to_uint8(pixels), 1)


def _gen(shared: Shared, case: Case) -> None:
    """Guided greedy drawing of every prompt and weight, seeded sampling, a teacher-forced pass, decoding curves."""
    for name in case.tensors:
        if found := re.fullmatch(r"(prompt\d+)\.cfg([\d.]+)\.greedy_ids", name):
            _greedy(shared, case, found[1], float(found[2]), name.removesuffix("greedy_ids"))
    if "sample.ids" in case:
        row = case.golden.cases["meta"]["gen_sample"]
        options = JanusOptions(guidance=row["cfg"], temperature=row["temperature"], think=False)
        canvas = _canvas(shared, case["prompt0.input_ids"])
        _finish(canvas, options, row["torch_manual_seed"])
        case.compare("sample.ids", canvas.ids[None])
    if "tf.image_ids" in case:
        _teacher_forced(shared, case)


def _canvas(shared: Shared, prompt: Tensor) -> Canvas:
    rows = torch.tensor(guidance_rows(prompt[0].tolist(), shared.special))
    return Canvas(shared.decoder, shared.decoder.extend(State(), shared.decoder.words(rows)))


def _finish(canvas: Canvas, options: JanusOptions, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Draw to the end; raw and guided logits of every step."""
    steps = [(canvas.raw, canvas.logits) for _ in canvas.fill(options, torch.Generator().manual_seed(seed))]
    return [raw for raw, _ in steps], [logits for _, logits in steps]


def _greedy(shared: Shared, case: Case, prompt: str, weight: float, name: str) -> None:
    ids = case[f"{prompt}.input_ids"]
    canvas = _canvas(shared, ids)
    raw, guided = _finish(canvas, JanusOptions(temperature=0, guidance=weight), 0)
    case.compare(f"{name}greedy_ids", canvas.ids[None])
    case.compare(f"{name}raw_logits", torch.stack(raw)[: len(case[f"{name}raw_logits"])], FLOAT)
    case.compare(f"{name}guided_logits", torch.stack(guided)[: len(case[f"{name}guided_logits"])], FLOAT)
    case.compare(f"{name}image", shared.decoder.decode(canvas.ids[None]), FLOAT)
    looked = attention.look_drawing(shared.decoder, ids, canvas.ids[None])
    case.compare(f"{name}intensity_per_step", looked.steps(), INTENSITY)
    case.compare(f"{name}intensity", looked.curve()[:, 0], INTENSITY)


def _teacher_forced(shared: Shared, case: Case) -> None:
    codes = case["tf.image_ids"]
    rows = torch.tensor(guidance_rows(case["prompt0.input_ids"][0].tolist(), shared.special))
    logits = shared.decoder.forced(rows, codes)
    case.compare("tf.image_embeds", shared.decoder.codes(codes), FLOAT)
    case.compare("tf.logits_cond", logits[:1], FLOAT)
    case.compare("tf.logits_uncond", logits[1:], FLOAT)
    case.compare("tf.nll_cond", F.cross_entropy(logits[:1].mT, codes, reduction="none"), FLOAT)


def _prep(shared: Shared, case: Case) -> None:
    for name in case.tensors:
        if name.endswith(".rgb_uint8"):
            expected = name.replace("rgb_uint8", "pixel_values")
            made = vision_pixels(PILImage.fromarray(case[name].numpy()), case[expected].shape[-1], shared.model.min_side)
            case.compare(expected, made[None], 1e-6)


def _templates(shared: Shared, case: Case) -> None:
    """The exact strings of conversations, and the marks that open a picture."""
    for row in case.parameters["rows"]:
        text = "".join(pieces([tuple(message) for message in row["messages"]], row["system"]))
        if row["kind"].startswith("generation"):
            text += "<begin_of_image>"
        case.compared.append(Compared(row["kind"], 0.0 if text == row["text"] else float("inf"), EXACT))


def _aia(shared: Shared, case: Case) -> None:
    """Decoding curve of understanding, and the alignment term with its gradients."""
    special = shared.special
    if "und.input_ids" in case:
        ids, answer, seen = case["und.input_ids"], case["und.greedy_ids"], shared.seen(case["und.pixel_values"])
        state = shared.decoder.extend(State(), shared.decoder.mixed(ids, seen, special.image))
        words = write(shared.decoder, state, JanusOptions(temperature=0), None, answer.shape[1], never=(special.eos,))
        case.compare("und.greedy_ids", torch.stack([newest for newest, _ in words], 1))
        looked = attention.look_answering(shared.decoder, ids, seen, answer, special.begin, special.image)
        _also(case, "und.key_span", looked.keys[0][0], case.golden.cases["meta"]["aia_und_key_span"])
        case.compare("und.intensity_per_step", looked.steps(), INTENSITY)
        case.compare("und.intensity", looked.curve()[:, 0], INTENSITY)
    if "loss.gen.input_ids" in case:
        _term_drawing(shared, case)
    if "loss.und.input_ids" in case:
        _term_answers(shared, case)


def _term_drawing(shared: Shared, case: Case) -> None:
    decoder, ids, mask = shared.decoder, case["loss.gen.input_ids"], case["loss.gen.attention_mask"]
    row, codes = case.golden.cases["meta"]["aia_loss_gen"], decoder.encode(case["loss.gen.images"])
    case.compare("loss.gen.image_ids", codes)
    rates = {"all": torch.ones(len(ids)), "drop1": torch.tensor([1.0] + [0.0] * (len(ids) - 1))}
    with _slopes(shared) as weights:
        looked = attention.look_training_drawing(decoder, ids.clone(), mask.clone(), codes.clone())
        logits = decoder.code_logits(looked.hidden[:, ids.shape[1] - 1 : -1])
        token_loss = F.cross_entropy(logits.flatten(0, 1), codes.clone().flatten())
        _term(case, "loss.gen", "image", looked, token_loss, row["lambda"], weights, {f".{name}": on for name, on in rates.items()})
    _also(case, "loss.gen.front_key_span", [spans[0] for spans in looked.keys], row["front_key_span"])
    _also(case, "loss.gen.end_query_span", [spans[0] for spans in looked.queries], row["end_query_span"])


def _term_answers(shared: Shared, case: Case) -> None:
    decoder, labels, row = shared.decoder, case["loss.und.labels"], case.golden.cases["meta"]["aia_loss_und"]
    ids, mask, image = case["loss.und.input_ids"], case["loss.und.attention_mask"], shared.special.image
    with _slopes(shared) as weights:
        seen = shared.seen(case["loss.und.images"])
        looked = attention.look_training_answers(decoder, ids.clone(), mask.clone(), labels.clone(), seen, image)
        token_loss = F.cross_entropy(decoder.word_logits(looked.hidden[:, :-1]).flatten(0, 1), labels[:, 1:].flatten())
        _term(case, "loss.und", "text", looked, token_loss, row["lambda"], weights, {"": torch.ones(len(ids))})
    _also(case, "loss.und.front_key_span", [spans[0] for spans in looked.keys], row["front_key_span"])
    for ours, theirs in zip(looked.queries, row["end_query_spans"], strict=True):
        _also(case, "loss.und.end_query_spans", ours, theirs)


@contextmanager
def _slopes(shared: Shared) -> Iterator[list[Tensor]]:
    """The query projections of all layers, with gradients inside the block."""
    with torch.inference_mode(False), torch.enable_grad():
        weights = [layer.self_attn.q_proj.weight.requires_grad_() for layer in shared.decoder.text.layers]
        try:
            yield weights
        finally:
            for weight in weights:
                weight.requires_grad_(False)


def _term(
    case: Case, name: str, want: str, looked: attention.Looked, token_loss: Tensor, weight: float, weights: list[Tensor],
    switches: Mapping[str, Tensor],
) -> None:  # fmt: skip
    """Interaction, the term, and the norm of its gradient at every query projection, under every switch of samples."""
    mass = looked.curve()
    case.compare(f"{name}.intensity", mass, INTENSITY)
    target, width = TARGETS["code"][want].at(len(mass), scaled=False)
    for switch, on in switches.items():
        term = alignment_loss(mass, target, width, on)
        slopes = torch.autograd.grad(term, weights, retain_graph=True)
        case.compare(f"{name}{switch}.values", torch.stack([token_loss, term, token_loss + weight * term]), FLOAT)
        _also(case, f"{name}{switch}.values (aia)", term, case[f"{name}{switch}.values"][1], INTENSITY)
        norms = case[f"{name}{switch}.q_proj_grad_norms"]
        ratio = torch.stack([slope.norm() for slope in slopes]) / norms
        _also(case, f"{name}{switch}.q_proj_grad_norms", ratio, torch.ones_like(norms), GRADIENT)


def _parameters(cases: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {"templates": {"rows": cases["meta"]["templates"]}} if "templates" in cases.get("meta", {}) else {}


_CHECKS: dict[str, Check] = {"und": _und, "vq": _vq, "gen": _gen, "prep": _prep, "templates": _templates}

SUITE = Suite(
    open=Shared,
    checks={name: torch.inference_mode()(check) for name, check in _CHECKS.items()} | {"aia": torch.no_grad()(_aia)},
    parameters=_parameters,
)
