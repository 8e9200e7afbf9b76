"""Emu3's parity checks: one function per group of a golden folder; sizes, ids and settings come from the folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image as PILImage

from unimm.analysis import Span, per_step
from unimm.analysis.intensity import interaction
from unimm.emu3.attention import look
from unimm.emu3.checkpoint import Found, build_codec, build_language, find
from unimm.emu3.codec import Codec, to_uint8
from unimm.emu3.config import Ids
from unimm.emu3.draw import Canvas, guide, token_ids
from unimm.emu3.grammar import Grid, allowed, drawn_grid, header, offset_of, picture_ids, read_size
from unimm.emu3.language import Language, Rows, positions_of
from unimm.emu3.write import write
from unimm.errors import BadInput
from unimm.model import Options
from unimm.parity import EXACT, Case, Check, Compared, Golden, Suite, distance, registrar

GREEDY = Options(temperature=0)
FLOATS = 2e-4
"""Logits, log-scores and pixels."""
INTENSITY = 1e-5


@dataclass
class Shared:
    """What the checks share: the folder's weights in fp32, and its digits for the size of a picture."""

    golden: Golden

    @cached_property
    def found(self) -> Found:
        return find(self.golden.folder)

    @cached_property
    def language(self) -> Language:
        config = self.found.language("chat")
        return Language(build_language(self.found.sides["chat"], config, dtype=torch.float32), config)

    @cached_property
    def codec(self) -> Codec:
        dims = self.golden.cases["dims"]
        codec = build_codec(self.found.codec, self.language.config.area)
        return Codec(codec.net, (dims["min_pixels"], dims["max_pixels"]))

    @property
    def ids(self) -> Ids:
        return self.language.ids

    def encode(self, size: str) -> list[int]:
        """Ids of a size like "4*5"."""
        tokens = self.golden.cases["tokens"]
        return [tokens["star"] if letter == "*" else tokens["digit0"] + int(letter) for letter in size]


CHECKS: dict[str, Check] = {}
check = registrar(CHECKS)




def same(case: Case, name: str, actual: Any, expected: Any) -> None:
    """Hold whole numbers against a table of the folder."""
    case.compared.append(Compared(name, distance(torch.tensor(actual), torch.tensor(expected)), EXACT))


# --- the codec


@check("vq")
def _vq(shared: Shared, case: Case) -> None:
    codec = shared.codec
    latents = codec.latents(case["image"])
    case.compare("image_latents", latents, FLOATS)
    case.compare("image_codes", codec.nearest(latents).squeeze(1))
    case.compare("image_codes", codec.encode(case["image"]))
    case.compare("image_decoded", codec.decode(case["image_codes"]), FLOATS)
    if "video" in case:
        case.compare("video_codes", codec.nearest(codec.clip_latents(case["video"])))
        case.compare("video_decoded", codec.decode_clip(case["video_codes"]), FLOATS)
    if "random_codes" in case:
        pixels = codec.decode(case["random_codes"])
        case.compare("random_decoded", pixels, FLOATS)
        for values in (case["random_decoded"], pixels):
            case.compare("random_uint8", to_uint8(values[0]))


@check("prep")
def _prep(shared: Shared, case: Case) -> None:
    for name in case.tensors:
        if name.endswith(".rgb_uint8"):
            pixels = shared.codec.prepare(PILImage.fromarray(case[name].numpy()))
            case.compare(name.replace("rgb_uint8", "pixel_values"), pixels, FLOATS)


# --- words


@check("und")
def _und(shared: Shared, case: Case) -> None:
    language, mask = shared.language, case["attention_mask"]
    lengths = mask.sum(1).tolist()
    rows = [row[-length:] for row, length in zip(case["input_ids"].tolist(), lengths, strict=True)]
    pictures = shared.codec.encode(case.other("vq")["image"]).tolist()
    rebuilt = [_with_picture(shared, row, codes) for row, codes in zip(rows, pictures, strict=True)]
    longest = max(map(len, rebuilt))
    case.compare("input_ids", torch.tensor([[language.ids.pad] * (longest - len(row)) + row for row in rebuilt]))
    case.compare("position_ids", positions_of(lengths))

    expected = case["logits"]
    batch = language.logits(language.padded_states(case["input_ids"], lengths))
    alone = torch.stack([torch.cat([expected[number, : longest - len(row)], language.logits(language.states(torch.tensor([row])))[0]])
                         for number, row in enumerate(rows)])  # fmt: skip
    for logits in (batch, alone):
        case.compare("logits", torch.where(mask[..., None].bool(), logits, expected), FLOATS)
    case.compare("greedy_ids", torch.tensor([_continue(shared, row, case["greedy_ids"].shape[1]) for row in rows]))


def _with_picture(shared: Shared, row: list[int], codes: list[list[int]]) -> list[int]:
    """A row whose picture is made anew from codes."""
    begin, end = row.index(shared.ids.boi), row.index(shared.ids.eoi)
    return [*row[:begin], *picture_ids(codes, shared.ids, shared.encode), *row[end + 1 :]]


def _continue(shared: Shared, row: list[int], count: int) -> list[int]:
    """New text after a row, the end of the sequence forbidden; read in chunks as the model does."""
    language, end = shared.language, row.index(shared.ids.eoi) + 1
    may = torch.ones(language.config.text.vocab_size, dtype=torch.bool)
    may[shared.ids.eos] = False
    rows = Rows(language, [language.read([row[:end], row[end:]])], count)
    writing = write(rows, may, GREEDY, torch.Generator())
    return [next(writing)[0] for _ in range(count)]


# --- pictures


@check("gen")
def _gen(shared: Shared, case: Case) -> None:
    prompts = [case[name][0].tolist() for name in ("prompt_ids", "negative_ids")]
    grid = Grid(*shared.golden.cases["grid"]["generation"])
    opening = header(grid, shared.ids, shared.encode)
    for name, row in zip(("prompt_ids", "negative_ids"), prompts, strict=True):
        case.compare(name, torch.tensor([[*row[: row.index(shared.ids.boi)], *opening]]))
    for name in case.tensors:
        if found := re.fullmatch(r"(cfg([\d.]+))\.greedy_ids", name):
            _drawn(shared, case, found[1], float(found[2]), prompts, grid)


def _branches(shared: Shared, prompts: list[list[int]], room: int) -> Rows:
    return Rows(shared.language, [shared.language.read([row]) for row in prompts], room)


def _drawn(shared: Shared, case: Case, name: str, weight: float, prompts: list[list[int]], grid: Grid) -> None:
    canvas = Canvas(_branches(shared, prompts, grid.length), grid)
    list(canvas.fill(GREEDY, weight, torch.Generator()))
    ids = token_ids(canvas.codes, grid, canvas.rows)
    case.compare(f"{name}.greedy_ids", torch.tensor([ids]))
    case.compare(f"{name}.codes", canvas.picture())
    case.compare(f"{name}.image", shared.codec.decode(canvas.picture()), FLOATS)

    count = case[f"{name}.cond_logits"].shape[0]
    rows = _branches(shared, prompts, count)
    logits = shared.language.logits(torch.cat([rows.hidden, rows.read(ids[: count - 1])], 1))
    case.compare(f"{name}.cond_logits", logits[0], FLOATS)
    case.compare(f"{name}.uncond_logits", logits[1], FLOATS)
    case.compare(f"{name}.guided_log_scores", guide(logits.log_softmax(-1), weight), FLOATS)

    length = len(prompts[0])
    _compare_curves(shared, case, f"{name}.", [*prompts[0], *ids[:-1]], (length, length + len(ids) - 1), (0, length))


# --- what looks at what


@check("aia")
def _aia(shared: Shared, case: Case) -> None:
    spans = shared.golden.cases["meta"]["aia_und"]
    row, keys = case["und.input_ids"][0].tolist(), tuple(spans["key_span"])
    same(case, "key_span", [row.index(shared.ids.boi), row.index(shared.ids.eoi)], list(keys))
    _compare_curves(shared, case, "und.", row, tuple(spans["query_span"]), keys)


def _compare_curves(shared: Shared, case: Case, prefix: str, ids: list[int], queries: Span, keys: Span) -> None:
    """How much of each query's attention goes to the keys, averaged over heads, query by query and over all."""
    maps = look(shared.language, ids)
    stack = torch.stack([layer[0] for layer in maps])
    case.compare(f"{prefix}intensity_per_step", per_step((stack[:, :, at] for at in range(*queries)), keys), INTENSITY)
    case.compare(f"{prefix}intensity", interaction(maps, [[queries]], [[keys]])[:, 0], INTENSITY)


# --- tables


@check("prefix_table")
def _prefix_table(shared: Shared, case: Case) -> None:
    grid, table = Grid(*shared.golden.cases["grid"]["generation"]), case.parameters["rows"]
    prompt = case.other("gen")["prompt_ids"][0].tolist()
    first = offset_of(prompt, shared.ids)
    found = [allowed(first + count, grid, shared.ids) for count in range(len(table))]
    same(case, "table", [-1 if row is None else row for row in found], [-1 if row == "V" else row for row in table])
    tokens = shared.golden.cases["tokens"]
    named = {name: getattr(shared.ids, name) for name in ("pad", "bos", "eos", "eol", "eof", "img", "boi", "eoi")}
    same(case, "tokens", [*named.values(), shared.ids.visual], [*(tokens[name] for name in named), tokens["vis0"]])
    known = {name: token for name, token in shared.golden.cases["vocabulary_map"].items() if name != "<image>"}
    ours = shared.ids.vocabulary_map()
    same(case, "vocabulary_map", [ours.get(name, -1) for name in known], list(known.values()))


@check("generate_size")
def _generate_size(shared: Shared, case: Case) -> None:
    rows = case.parameters["rows"]
    grids = [drawn_grid(ratio, area, 8) for ratio, area, _, _ in rows]
    same(case, "table", [[grid.rows, grid.columns] for grid in grids], [row[2:] for row in rows])


@check("smart_resize")
def _smart_resize(shared: Shared, case: Case) -> None:
    rows = case.parameters["rows"]
    same(case, "table", [read_size(high, wide, 8, 512 * 512, 1024 * 1024) for high, wide, _, _ in rows], [row[2:] for row in rows])


def _tables(cases: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables among the folder's facts are cases too."""
    return {name: {"rows": cases["meta"][name]} for name in ("prefix_table", "generate_size", "smart_resize") if name in cases["meta"]}


def _open(golden: Golden) -> Shared:
    if "tokens" not in golden.cases:
        raise BadInput(f"{golden.folder}/cases.json is not of an Emu3: it names no tokens.")
    return Shared(golden)


SUITE = Suite(open=_open, checks=CHECKS, parameters=_tables)
