"""What is fixed about Janus-Pro by its release: sizes behind names, token ids, words of its template, and how it samples."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from unimm.model import Options, option

SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
)
"""Opens every conversation that asks for text; a picture is drawn without it (fact sheet, 1.4)."""

USER, ASSISTANT = "<|User|>", "<|Assistant|>"
THINK = "Say in one or two sentences what the picture should show."
"""Asked after the visitor's words when the model is to think before it draws."""

CONTEXT = 4096
"""Tokens the release was trained on; the config names more positions than that."""

GUIDANCE = 5.0


@dataclass(frozen=True)
class Tower:
    """A SigLIP tower: pixels of a patch's side, width, layers, heads, width of the MLP over the tower's."""

    patch: int
    width: int
    layers: int
    heads: int
    mlp_ratio: float


@dataclass(frozen=True)
class Codec:
    """A VQ codec: channels at full resolution, their multiples a level, residual blocks a level, latent channels."""

    channels: int
    multiples: tuple[int, ...]
    blocks: int
    latent: int


TOWERS = {"siglip_large_patch16_384": Tower(16, 1024, 24, 16, 4.0)}
CODECS = {"VQ-16": Codec(128, (1, 1, 2, 2, 4), 2, 256)}
"""The original config gives only these names (fact sheet, 1.1)."""


@dataclass(frozen=True)
class SpecialIds:
    """Token ids with a meaning of their own (fact sheet, 1.1); ``mark`` in a field's metadata is how the tokenizer writes it."""

    bos: int = field(default=100000, metadata={"mark": "<｜begin▁of▁sentence｜>"})
    eos: int = field(default=100001, metadata={"mark": "<｜end▁of▁sentence｜>"})
    pad: int = field(default=100015, metadata={"mark": "<｜▁pad▁｜>"})
    begin: int = field(default=100016, metadata={"mark": "<begin_of_image>"})
    image: int = field(default=100581, metadata={"mark": "<image_placeholder>"})
    end: int = field(default=100593, metadata={"mark": "<end_of_image>"})


MARKS: dict[str, str] = {row.name: row.metadata["mark"] for row in fields(SpecialIds)}


@dataclass(frozen=True)
class Published:
    """A released size: where it is, billions of parameters, and KV cache per token in KiB at bf16."""

    original: str
    native: str
    parameters: float
    kv_kib: int


PUBLISHED = {
    "janus-pro-1b": Published("deepseek-ai/Janus-Pro-1B", "deepseek-community/Janus-Pro-1B", 2.08, 192),
    "janus-pro-7b": Published("deepseek-ai/Janus-Pro-7B", "deepseek-community/Janus-Pro-7B", 7.41, 480),
}
LICENCE = "DeepSeek model licence"


@dataclass(frozen=True)
class JanusOptions(Options):
    """How Janus-Pro samples, by default as released (fact sheet, 1.5 and 1.6)."""

    temperature: float = option(1.0, 0.0, 2.0, "0 always takes the likeliest code; higher is bolder.")
    text_temperature: float = option(0.1, 0.0, 2.0, "The same for words.")
    guidance: float = option(GUIDANCE, 1.0, 20.0, "How strongly the words steer the picture; 1 is off.")
    top_k: int = option(0, 0, 65536, "Keep only the k likeliest codes; 0 keeps all, as released.")
    max_tokens: int = option(512, 1, 4096, "The longest text to write.")
    text_top_p: float = option(0.95, 0.01, 1.0, "Keep the likeliest words up to this probability.")
    preview_rows: int = option(4, 0, 64, "Show the picture after every so many rows of codes; 0 shows it when it is done.")
    static_cache: bool = field(default=False, metadata={"help": "Keep keys and values in memory of a fixed size."})


def from_options(options: Options) -> JanusOptions:
    """The same for this model: what plain ``Options`` leave at their own defaults for guidance and top-k becomes the release's.

    ``JanusOptions`` mean what they say and come back as they are.
    """
    if isinstance(options, JanusOptions):
        return options
    given = {row.name: getattr(options, row.name) for row in fields(Options)}
    if options.guidance == Options.guidance:
        given["guidance"] = GUIDANCE
    if options.top_k == Options.top_k:
        given["top_k"] = 0
    return JanusOptions(**given, text_top_p=1.0)
