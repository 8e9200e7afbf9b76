"""Models of published size with random weights, and the same at toy size: what speed and memory can be measured on.

Every one is put together by its family's own classes and filled through ``weights.build``, so what runs is what would run
with the published files. Words mean nothing: stand-ins take the place of tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unimm import weights
from unimm.errors import BadInput
from unimm.model import UnifiedModel

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Where:
    """Size ("published" or "toy"), device and dtype of a model to make."""

    size: str = "published"
    device: str = "cpu"
    dtype: torch.dtype = torch.bfloat16

    @property
    def toy(self) -> bool:
        return self.size == "toy"

    def state(self, make: Make, seed: int = 0, dtype: torch.dtype | None = None) -> weights.State:
        """Random weights for every tensor of a module: matrices by their width, norms one, biases zero."""
        with weights.Unfilled():
            module = make()
        generator = torch.Generator(self.device).manual_seed(seed)
        made: dict[int, Tensor] = {}
        state: weights.State = {}
        for key, value in module.state_dict(keep_vars=True).items():
            if id(value) not in made:
                made[id(value)] = self._random(key, value, generator, dtype or self.dtype)
            state[key] = made[id(value)]
        return state

    def _random(self, key: str, value: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        if not value.is_floating_point():
            return torch.zeros(value.shape, dtype=value.dtype, device=self.device)
        if value.ndim < 2:
            ones = not key.endswith(("bias", "running_mean"))
            return (torch.ones if ones else torch.zeros)(value.shape, dtype=dtype, device=self.device)
        width = value[0].numel() if "embed" not in key else value.shape[-1]
        return torch.empty(value.shape, dtype=dtype, device=self.device).normal_(0, width**-0.5, generator=generator)

    def module(self, make: Make, what: str, dtype: torch.dtype | None = None) -> Any:
        """A module with random weights, as ``weights.build`` makes it from files."""
        kind = dtype or self.dtype
        return weights.build(make, self.state(make, dtype=kind), what, self.device, kind)


def _star(size: str, where: Where) -> UnifiedModel:
    from unimm.star import released
    from unimm.star.big import ReleasedStarModel
    from unimm.star.config import CONFIGS, StarConfig, qwen
    from unimm.star.decoder_config import DecoderConfig
    from unimm.star.folder import Released
    from unimm.star.model import Star
    from unimm.star.processor import SpecialIds
    from unimm.star.words import Letters

    config = CONFIGS[size]
    if where.toy:
        eyes = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "fullatt_block_indexes": [1]}
        base = qwen(64, 128, 2, 2, 1, 151936, True, **eyes)
        base["text_config"]["rope_parameters"]["mrope_section"] = [4, 6, 6]
        small = (1,) * 5
        vq = replace(config.vq, ch=32, encoder_ch_mult=small, decoder_ch_mult=small, num_res_blocks=1, z_channels=32, codebook_size=64,
                     codebook_dim=32, attn_heads=1)  # fmt: skip
        config = StarConfig(config.name, base, vq, stack_layers=1, adapter_depth=2, picture=64)
    special = SpecialIds()
    marks = [getattr(special, name) for name in SpecialIds.__dataclass_fields__ if name != "newline"]
    words = Letters(config.base["text_config"]["vocab_size"], marks, special.newline)
    star = released.build(config, where.state(lambda: Star(config)), where.device, where.dtype)
    parts = Released(config, special, {}, {}, words, DecoderConfig(), {}, None, "it is not part of this measurement")
    return ReleasedStarModel(star, parts)


def _bagel(where: Where) -> UnifiedModel:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from unimm.bagel.autoencoder import Autoencoder
    from unimm.bagel.checkpoint import Checkpoint
    from unimm.bagel.config import AutoencoderSize, BagelConfig, LanguageSize, VisionSize, with_tables
    from unimm.bagel.generate import BagelModel
    from unimm.bagel.model import Bagel
    from unimm.bagel.tokenizer import MARKS, Marks, Words

    config = BagelConfig()
    if where.toy:
        sizes = LanguageSize(64, 128, 2, 4, 2, 300), VisionSize(32, 64, 2, 2), AutoencoderSize(ch=32, num_res_blocks=1)
        config = with_tables(BagelConfig(*sizes), 4, 10)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(list(MARKS))
    words = Words(tokenizer, tokenizer, Marks(*(tokenizer.token_to_id(mark) for mark in MARKS)))
    autoencoder = where.module(lambda: Autoencoder(config.autoencoder), "autoencoder", torch.float32)
    return BagelModel(Checkpoint(config, where.module(lambda: Bagel(config), "BAGEL"), autoencoder, words))


def _mmada(name: str, where: Where) -> UnifiedModel:
    from unimm.mmada.backbone import Backbone
    from unimm.mmada.config import PUBLISHED, SpecialIds, VQConfig
    from unimm.mmada.model import MmadaModel
    from unimm.mmada.vq import MagvitV2
    from unimm.mmada.words import Letters

    config, vq = PUBLISHED["mmada-8b"], VQConfig()
    if where.toy:
        config = replace(config, width=64, layers=2, heads=4, kv_heads=4, hidden=112, rows=328, context=640, codes=64, slots=16, mask=236,
                         eos=201)  # fmt: skip
        vq = VQConfig(ch=32, decoder_ch=32, bits=6, encoder_blocks=(1,) * 5, decoder_blocks=(1,) * 5)
    pictures = where.module(lambda: MagvitV2(vq), "picture tokenizer", torch.float32)
    words = Letters(SpecialIds.placed(config.eos, config.mask))
    return MmadaModel(where.module(lambda: Backbone(config), "MMaDA"), pictures, words, name)


def _janus(name: str, where: Where) -> UnifiedModel:
    from transformers import JanusForConditionalGeneration

    from unimm.janus.checkpoint import Checkpoint, build, original_config
    from unimm.janus.config import SpecialIds
    from unimm.janus.generate import JanusModel
    from unimm.janus.tokenizer import ToyWords

    width, layers, heads, inner = (2048, 24, 16, 5632) if name.endswith("1b") else (4096, 30, 32, 11008)
    tower, image, dims = "siglip_large_patch16_384", 384, None
    if where.toy:
        width, layers, heads, inner, image = 64, 2, 2, 128, 64
        dims = {"vit": {"patch": 16, "width": 32, "layers": 2, "heads": 2, "mlp_ratio": 2.0},
                "vq": {"ch": 32, "mult": [1] * 5, "res": 1, "z": 32}}  # fmt: skip
    language = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": inner,
                "vocab_size": 102400, "max_position_embeddings": 16384}  # fmt: skip
    config = original_config({
        "vision_config": {"params": {"image_size": image, "model_name": tower, "select_layer": -1}},
        "aligner_config": {"params": {"n_embed": width, "depth": 2}}, "gen_aligner_config": {"params": {"n_embed": width, "depth": 2}},
        "gen_vision_config": {"cls": "VQ-16", "params": {"image_token_size": 16384, "n_embed": 8}},
        "gen_head_config": {"params": {"image_token_embed": width}}, "language_config": language,
    }, dims)  # fmt: skip
    state = where.state(lambda: JanusForConditionalGeneration(config))
    return JanusModel(build(Checkpoint(config, state), where.device, where.dtype), ToyWords(SpecialIds(), 90000), name=name)


def _emu3(where: Where) -> UnifiedModel:
    from transformers.models.emu3.configuration_emu3 import Emu3TextConfig, Emu3VQVAEConfig
    from transformers.models.emu3.modeling_emu3 import Emu3ForCausalLM, Emu3VQVAE

    from unimm.emu3.codec import Codec
    from unimm.emu3.config import PIXELS, PUBLISHED, PUBLISHED_IDS, Ids, LanguageConfig
    from unimm.emu3.generate import Emu3Model
    from unimm.emu3.language import Language
    from unimm.emu3.pair import Pair
    from unimm.emu3.tokenizer import ToyWords
    from unimm.memory import free_bytes

    codes, base, mult = (64, 32, [1, 2]) if where.toy else (32768, 256, [1, 2, 2, 4])
    width, layers, heads, inner = (64, 2, 4, 144) if where.toy else (4096, 32, 32, 14336)
    ids = Ids(**PUBLISHED_IDS, visual=PUBLISHED_IDS["eoi"] + 1, codes=codes)
    text = Emu3TextConfig(
        vocab_size=ids.visual + codes, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads // 4, max_position_embeddings=131072, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        pad_token_id=ids.pad, bos_token_id=ids.bos, eos_token_id=ids.eos,
    )  # fmt: skip
    vq = Emu3VQVAEConfig(
        codebook_size=codes, base_channels=base, channel_multiplier=mult, hidden_size=base * mult[-1], attn_resolutions=[len(mult) - 1],
    )  # fmt: skip
    area = 384 if where.toy else PUBLISHED["gen"]["area"]
    codec = Codec(where.module(lambda: Emu3VQVAE(vq), "codec", torch.float32), (area, area) if where.toy else PIXELS)
    config = LanguageConfig(text, ids, area)

    def decoder(side: str) -> Language:
        return Language(where.module(lambda: Emu3ForCausalLM(text), f"decoder ({side})"), config)

    room = max(free_bytes().values())
    hold = where.toy or room > 42e9
    pair = Pair({side: partial(decoder, side) for side in ("chat", "gen")}, where.device, hold)
    return Emu3Model(pair, codec, ToyWords(ids.pad), area, {})


MAKERS: dict[str, Callable[[Where], UnifiedModel]] = {
    "star-3b": partial(_star, "3b"), "star-7b": partial(_star, "7b"), "bagel-7b-mot": _bagel,
    "mmada-8b-base": partial(_mmada, "mmada-8b-base"), "mmada-8b-mixcot": partial(_mmada, "mmada-8b-mixcot"),
    "janus-pro-1b": partial(_janus, "janus-pro-1b"), "janus-pro-7b": partial(_janus, "janus-pro-7b"), "emu3": _emu3,
}  # fmt: skip
"""How each published model is made."""


def make(name: str, where: Where = Where()) -> UnifiedModel:
    """A model with random weights; raises ``BadInput`` for an unknown name or size."""
    if name not in MAKERS:
        raise BadInput(f"There is no published model {name!r}. Choose one of: {', '.join(MAKERS)}.")
    if where.size not in ("published", "toy"):
        raise BadInput(f"There is no size {where.size!r}. Choose published or toy.")
    return MAKERS[name](where)
