"""Races of Janus-Pro's fast ways against the obvious ones, on random weights; every pair must give the same tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import JanusConfig, JanusForConditionalGeneration, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

from unimm.document import Document, Image, Text
from unimm.janus.canvas import Canvas
from unimm.janus.checkpoint import untied
from unimm.janus.config import JanusOptions, SpecialIds
from unimm.janus.decoder import Decoder, State, own
from unimm.janus.generate import JanusModel
from unimm.janus.processor import guidance_rows, text_chunks
from unimm.janus.tokenizer import ToyWords
from unimm.sampling import guided
from unimm.timing import Race, race

GREEDY = JanusOptions(temperature=0.0, think=False)
SPECIAL = SpecialIds(1000, 1001, 1002, 1003, 1004, 1005)


@dataclass(frozen=True)
class Size:
    """Width, layers and heads of the decoder, codes a side, tokens of a prompt."""

    width: int
    layers: int
    heads: int
    grid: int
    prompt: int


SIZES = {"small": Size(64, 2, 2, 4, 12), "middle": Size(768, 6, 8, 8, 32)}


def random_model(size: Size) -> JanusModel:
    """A Janus-Pro of random weights, seeded; words are made up."""
    side, width = 16 * size.grid, size.width
    config = untied(JanusConfig(
        text_config=LlamaConfig(
            vocab_size=1006, hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=size.layers,
            num_attention_heads=size.heads, max_position_embeddings=4096,
        ),
        vision_config=JanusVisionConfig(
            hidden_size=width // 2, num_hidden_layers=2, num_attention_heads=size.heads, image_size=side, patch_size=16,
            projection_dim=width, num_image_tokens=size.grid**2,
        ),
        vq_config=JanusVQVAEConfig(
            num_embeddings=1024, base_channels=32, latent_channels=32, num_res_blocks=1, projection_dim=width, image_token_embed_dim=width,
        ),
        image_token_id=SPECIAL.image,
    ))  # fmt: skip
    torch.manual_seed(5)
    net = JanusForConditionalGeneration(config).eval().requires_grad_(False)
    with torch.no_grad():
        net.model.generation_head.vision_head.weight.mul_(8)  # spread logits, so that the likeliest code is not a matter of rounding
        net.model.generation_embeddings.weight.mul_(20)
    return JanusModel(net, ToyWords(SPECIAL, 1000))


def prompt_of(size: Size) -> list[int]:
    """Ids of a prompt, seeded."""
    words = torch.randint(0, 1000, (size.prompt - 2,), generator=torch.Generator().manual_seed(1)).tolist()
    return [SPECIAL.bos, *words, SPECIAL.begin]


def one_batch(decoder: Decoder, rows: Tensor, static: bool = False) -> Tensor:
    """Codes [cells] of a greedy picture, as the model draws it."""
    with torch.inference_mode():
        canvas = Canvas(decoder, decoder.extend(State(), decoder.words(rows)), static)
    for _ in canvas.fill(GREEDY, torch.Generator()):
        pass
    return canvas.ids


def two_passes(decoder: Decoder, rows: Tensor) -> Tensor:
    """The same, each branch of the guidance with passes and a cache of its own."""
    with torch.inference_mode():
        states = [own(decoder.extend(State(), decoder.words(row[None]))) for row in rows]
        ids: list[Tensor] = []
        while True:
            cond, uncond = (decoder.code_logits(state.hidden[0]) for state in states)
            ids.append(guided(cond, uncond, GREEDY.guidance).argmax())
            if len(ids) == decoder.cells:
                return torch.stack(ids)
            states = [decoder.run(state, decoder.codes(ids[-1].view(1, 1)))[0] for state in states]


def no_cache(decoder: Decoder, rows: Tensor) -> Tensor:
    """The same, everything read anew for every code."""
    with torch.inference_mode():
        embeds, ids = decoder.words(rows), []
        while True:
            cond, uncond = decoder.code_logits(decoder.extend(State(), embeds).hidden)
            ids.append(guided(cond, uncond, GREEDY.guidance).argmax())
            if len(ids) == decoder.cells:
                return torch.stack(ids)
            embeds = torch.cat([embeds, decoder.codes(ids[-1].view(1, 1)).expand(2, -1, -1)], 1)


def conversations(size: Size, count: int = 3) -> list[Document]:
    """One conversation at its first, second … question; each picture stays in view."""
    side, documents, document = 16 * size.grid, [], Document()
    for number in range(count):
        shade = bytes([40 * number + 20]) * (side * side * 3)
        document = document.user(Image(side, side, shade), Text(f"question {number}"))
        documents.append(document)
        document = document.assistant(Text(f"answer {number}"))
    return documents


def read_all(model: JanusModel, documents: list[Document], remembered: int) -> list[Tensor]:
    """The last hidden state after each of the documents, by a model that has seen none of them."""
    fresh = JanusModel(model.decoder.net, model.words, remembered=remembered)
    with torch.inference_mode():
        return [fresh.reader.read(text_chunks(document, fresh.words)).hidden for document in documents]


def same(slow: Tensor, fast: Tensor) -> str:
    """The contract of all races; raises ``AssertionError`` where a token differs."""
    if not slow.equal(fast):
        raise AssertionError(f"{int((slow != fast).sum())} of {len(slow)} tokens differ between two ways that must agree.")
    return "identical tokens"


def same_states(slow: list[Tensor], fast: list[Tensor]) -> str:
    """Equal hidden states, bit for bit."""
    if not all(one.equal(other) for one, other in zip(slow, fast, strict=True)):
        raise AssertionError("A remembered prefix differs from one that is read anew.")
    return "identical states"


def races(repeat: int = 3, size: str = "middle") -> Iterator[Race]:
    """Time them; sizes are the rows of ``SIZES``."""
    row = SIZES[size]
    model = random_model(row)
    decoder, rows = model.decoder, torch.tensor(guidance_rows(prompt_of(row), SPECIAL))
    batch = ("one batch", lambda: one_batch(decoder, rows))
    yield race("janus", "guidance", ("two passes", lambda: two_passes(decoder, rows)), batch, same, repeat)
    yield race("janus", "drawing with a cache", ("no cache", lambda: no_cache(decoder, rows)), batch, same, repeat)
    asked = conversations(row)
    remembers = ("remembered prefixes", lambda: read_all(model, asked, 4096))
    yield race("janus", "reading a conversation", ("read anew", lambda: read_all(model, asked, 0)), remembers, same_states, repeat)


if __name__ == "__main__":
    for timed in races():
        print(timed.line(), flush=True)
