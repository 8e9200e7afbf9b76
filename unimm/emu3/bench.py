"""Races of Emu3's fast ways against the obvious ones, on random weights; what they give must be the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.models.emu3.configuration_emu3 import Emu3TextConfig, Emu3VQVAEConfig
from transformers.models.emu3.modeling_emu3 import Emu3ForCausalLM, Emu3VQVAE

from unimm.emu3.codec import Codec
from unimm.emu3.config import Ids, LanguageConfig
from unimm.emu3.draw import Canvas, guide
from unimm.emu3.grammar import Grid, allowed, header, picture_ids
from unimm.emu3.language import Language, Rows
from unimm.emu3.tokenizer import ToyWords
from unimm.model import Options
from unimm.timing import Race, race

GREEDY = Options(temperature=0)
WEIGHT = 3.0
WORDS, CODES = 200, 1024
CLOSE = 1e-3
"""How far pixels in [-1, 1] may lie apart; a grey level is eight times as much."""


@dataclass(frozen=True)
class Size:
    """Width, layers and heads of the decoder; rows and columns of a picture; tokens of a prompt; channels of the codec."""

    width: int
    layers: int
    heads: int
    grid: Grid
    prompt: int
    channels: int


SIZES = {"small": Size(64, 2, 4, Grid(3, 4), 9, 32), "middle": Size(512, 4, 8, Grid(6, 6), 48, 64)}


def random_language(size: Size, remembered: int = 0) -> Language:
    """A decoder of random weights, seeded; grouped keys and values as published."""
    visual = WORDS + 9
    ids = Ids(pad=WORDS, eol=WORDS + 1, eof=WORDS + 2, bos=WORDS + 3, eos=WORDS + 4, img=WORDS + 5, boi=WORDS + 6, eoi=WORDS + 7,
              visual=visual, codes=CODES)  # fmt: skip
    text = Emu3TextConfig(
        vocab_size=visual + CODES, hidden_size=size.width, intermediate_size=size.width * 7 // 2, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=max(size.heads // 4, 1), max_position_embeddings=4096,
        pad_token_id=ids.pad, bos_token_id=ids.bos, eos_token_id=ids.eos,
    )  # fmt: skip
    torch.manual_seed(7)
    net = Emu3ForCausalLM(text).eval().requires_grad_(False)
    with torch.no_grad():  # spread logits, so that the likeliest code is not a matter of rounding
        net.lm_head.weight.mul_(10)
        net.model.embed_tokens.weight.mul_(20)
    return Language(net, LanguageConfig(text, ids, 0), remembered)


def prompts_of(size: Size, language: Language) -> list[list[int]]:
    """A prompt and a shorter negative one, seeded, both with the picture's header."""
    opening = header(size.grid, language.ids, ToyWords(WORDS).encode)
    words = torch.randint(11, WORDS, (2, size.prompt), generator=torch.Generator().manual_seed(1)).tolist()
    return [[language.ids.bos, *words[0], *opening], [language.ids.bos, *words[1][: size.prompt // 2], *opening]]


def one_batch(language: Language, prompts: list[list[int]], grid: Grid) -> Tensor:
    """Codes [cells] of a greedy picture, as the model draws it."""
    with torch.inference_mode():
        canvas = Canvas(Rows(language, [language.read([row]) for row in prompts], grid.length), grid)
    list(canvas.fill(GREEDY, WEIGHT, torch.Generator()))
    return canvas.codes


@torch.inference_mode()
def two_passes(language: Language, prompts: list[list[int]], grid: Grid) -> Tensor:
    """The same, each branch with passes and a cache of its own, every token read."""
    branches = [Rows(language, [language.read([row])], grid.length) for row in prompts]
    codes: list[int] = []
    for offset in range(1, (grid.columns + 1) * grid.rows + 1):
        token = allowed(offset, grid, language.ids)
        if token is None:
            logits = torch.cat([language.logits(rows.hidden[:, -1]) for rows in branches])[:, language.ids.visual_slice]
            codes.append(int(guide(logits, WEIGHT).argmax()))
            token = language.ids.visual + codes[-1]
        if len(codes) < grid.cells:
            for rows in branches:
                rows.read([token])
    return torch.tensor(codes)


@torch.inference_mode()
def no_cache(language: Language, prompts: list[list[int]], grid: Grid) -> Tensor:
    """The same, everything read anew for every code."""
    sequences, codes = [list(row) for row in prompts], []
    for offset in range(1, (grid.columns + 1) * grid.rows + 1):
        token = allowed(offset, grid, language.ids)
        if token is None:
            hidden = torch.cat([language.states(torch.tensor([row]))[:, -1] for row in sequences])
            codes.append(int(guide(language.logits(hidden, language.ids.visual_slice), WEIGHT).argmax()))
            token = language.ids.visual + codes[-1]
        for row in sequences:
            row.append(token)
    return torch.tensor(codes)


def questions(size: Size, language: Language, count: int = 3) -> list[list[list[int]]]:
    """Chunks of conversations about one picture, each with another question."""
    side = 2 * size.grid.rows
    codes = torch.randint(CODES, (side, side), generator=torch.Generator().manual_seed(3)).tolist()
    picture = picture_ids(codes, language.ids, ToyWords(WORDS).encode)
    return [[[language.ids.bos, 11, 12], picture, [20 + number, 21, 22]] for number in range(count)]


@torch.inference_mode()
def read_all(language: Language, asked: list[list[list[int]]], remembered: int) -> Tensor:
    """The last hidden state of each conversation, read by a model that has seen none of them."""
    fresh = Language(language.net, language.config, remembered)
    return torch.cat([fresh.read(chunks).hidden for chunks in asked])


def random_codec(size: Size) -> Codec:
    """A codec of random weights, seeded, four frames a code."""
    torch.manual_seed(8)
    config = Emu3VQVAEConfig(
        codebook_size=CODES, base_channels=size.channels, channel_multiplier=[1, 2], num_res_blocks=1, hidden_size=2 * size.channels,
        attn_resolutions=[1],
    )  # fmt: skip
    return Codec(Emu3VQVAE(config).eval().requires_grad_(False), (1, 1))


def same(slow: Tensor, fast: Tensor) -> str:
    """Equal codes; raises ``AssertionError`` where one differs."""
    if not slow.equal(fast):
        raise AssertionError(f"{int((slow != fast).sum())} of {len(slow)} codes differ between two ways that must agree.")
    return "identical tokens"


def same_states(slow: Tensor, fast: Tensor) -> str:
    """Hidden states that are equal bit for bit; raises ``AssertionError`` where they are not."""
    if not slow.equal(fast):
        raise AssertionError("A remembered prefix differs from one that is read anew.")
    return "identical states"


def close(slow: Tensor, fast: Tensor) -> str:
    """Pixels that agree to rounding; raises ``AssertionError`` where they do not."""
    apart = float((slow - fast).abs().max())
    if not apart <= CLOSE:
        raise AssertionError(f"Pixels differ by {apart:.1e} between two ways that must agree.")
    return f"pixels within {apart:.0e} of [-1, 1]"


def races(repeat: int = 3, size: str = "middle") -> Iterator[Race]:
    """Time them; sizes are the rows of ``SIZES``."""
    row = SIZES[size]
    language = random_language(row)
    prompts = prompts_of(row, language)
    batch = ("one batch", lambda: one_batch(language, prompts, row.grid))
    yield race("emu3", "guidance", ("two passes", lambda: two_passes(language, prompts, row.grid)), batch, same, repeat)
    yield race("emu3", "drawing with a cache", ("no cache", lambda: no_cache(language, prompts, row.grid)), batch, same, repeat)
    asked = questions(row, language)
    remembers = ("remembered prefixes", lambda: read_all(language, asked, 32768))
    yield race("emu3", "questions about a picture", ("read anew", lambda: read_all(language, asked, 0)), remembers, same_states, repeat)
    codec = random_codec(row)
    codes = torch.randint(CODES, (1, 2 * row.grid.rows, 2 * row.grid.columns), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        still = ("its one frame", lambda: codec.decode(codes))
        yield race("emu3", "codes to a picture", ("all frames", lambda: codec.net.decode(codes)), still, close, repeat)


if __name__ == "__main__":
    for timed in races():
        print(timed.line(), flush=True)
