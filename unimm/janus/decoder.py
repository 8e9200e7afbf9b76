"""The network's moves: embed, see, extend a state by some positions, read a head. No sampling, no documents."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F
from transformers import Cache, DynamicCache, JanusForConditionalGeneration, StaticCache


@dataclass(frozen=True)
class State:
    """Everything read so far, as a value: keys and values, the newest hidden state [rows, width], positions read.

    ``mask`` [rows, length] is 0 on the padding at the left of rows of different length; None means there is none.
    Extending makes a new state; tensors are shared, never copied.
    """

    cache: Cache | None = None
    hidden: Tensor | None = None
    length: int = 0
    mask: Tensor | None = None
    key: str = ""

    @property
    def rows(self) -> int:
        return 0 if self.hidden is None else self.hidden.shape[0]


def positions_of(mask: Tensor) -> Tensor:
    """Positions [rows, n] that count what a mask [rows, n] lets through; padding stands at 1, where it does no harm."""
    return (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)


class Decoder:
    """Janus-Pro without words: ids, pixels and tensors only. All methods expect ``torch.inference_mode`` or gradients of the caller's."""

    def __init__(self, net: JanusForConditionalGeneration) -> None:
        self.net = net
        self.text, self.codec = net.model.language_model, net.model.vqmodel
        self.side = net.config.vision_config.image_size
        self.grid = net.config.vq_config.num_patches
        self.cells = self.grid**2
        self.patches = net.model.vision_model.embeddings.num_positions

    @property
    def device(self) -> torch.device:
        return self.net.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.codec.post_quant_conv.weight.dtype

    def words(self, ids: Tensor) -> Tensor:
        """Ids [rows, n] to embeddings [rows, n, width]."""
        return self.text.embed_tokens(ids.to(self.device))

    def tower(self, pixels: Tensor) -> Tensor:
        """Pixels [b, 3, side, side] to the vision tower's normed features [b, patches, tower width]."""
        return self.net.model.vision_model(pixels.to(self.device, self.dtype)).last_hidden_state

    def see(self, pixels: Tensor) -> Tensor:
        """Pixels [b, 3, side, side] to embeddings [b, patches, width]."""
        return self.net.model.aligner(self.tower(pixels))

    def mixed(self, ids: Tensor, seen: Tensor, placeholder: int) -> Tensor:
        """Embeddings of ids [rows, n] with pictures ``seen`` [b, patches, width] in the placeholders' places, in order."""
        inside = rearrange(ids.to(self.device) == placeholder, "rows n -> rows n 1")
        return self.words(ids).masked_scatter(inside, seen)

    def codes(self, ids: Tensor) -> Tensor:
        """VQ codes [rows, n] to embeddings [rows, n, width]."""
        return self.net.prepare_embeddings_for_image_generation(ids.to(self.device))

    def extend(self, state: State, embeds: Tensor, mask: Tensor | None = None) -> State:
        """The state after ``embeds`` [rows, n, width]; ``mask`` [rows, n] marks padding before the first position of a row."""
        return self.run(replace(state, cache=twin(state.cache)), embeds, mask)[0]

    def run(self, state: State, embeds: Tensor, mask: Tensor | None = None) -> tuple[State, Tensor]:
        """Like ``extend``, in the state's own cache, which changes; also gives all hidden states [rows, n, width]."""
        rows, n = embeds.shape[:2]
        if mask is None and state.mask is not None:
            mask = torch.ones(rows, n, dtype=state.mask.dtype)
        whole = None
        if mask is not None:
            whole = mask if state.mask is None else torch.cat([state.mask, mask], 1)
            positions = positions_of(whole)[:, state.length :].to(self.device)
        else:
            positions = torch.arange(state.length, state.length + n, device=self.device)[None]
        cache = state.cache if state.cache is not None else DynamicCache(config=self.text.config)
        seen = None if whole is None else whole.to(self.device)
        out = self.text(inputs_embeds=embeds, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True)
        hidden = out.last_hidden_state
        return State(cache, hidden[:, -1].clone(), state.length + n, whole, state.key), hidden

    def word_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., width] to fp32 logits [..., words]."""
        return self.net.lm_head(hidden).float()

    def code_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., width] to fp32 logits [..., codes]."""
        return self.net.model.generation_head(hidden).float()

    def latents(self, pixels: Tensor) -> Tensor:
        """Pixels [b, 3, side, side] to what the codec compares with its codebook [b, code width, grid, grid]."""
        return self.codec.quant_conv(self.codec.encoder(pixels.to(self.device, self.dtype)))

    def nearest(self, latents: Tensor) -> Tensor:
        """Ids [b, cells] of the codes at the smallest angle to latents [b, code width, grid, grid]."""
        book = F.normalize(self.codec.quantize.embedding.weight.float(), dim=-1)
        return (F.normalize(rearrange(latents.float(), "b c h w -> b (h w) c"), dim=-1) @ book.T).argmax(-1)

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [b, 3, side, side] to VQ ids [b, cells]."""
        return self.nearest(self.latents(pixels))

    def vectors(self, ids: Tensor) -> Tensor:
        """VQ ids [b, n] with n up to all cells to unit code vectors [b, code width, grid, grid]; cells without an id are zero."""
        book = F.normalize(self.codec.quantize.embedding(ids.to(self.device)).float(), dim=-1).to(self.dtype)
        book = F.pad(book, (0, 0, 0, self.cells - ids.shape[1]))
        return rearrange(book, "b (h w) c -> b c h w", h=self.grid)

    def decode(self, ids: Tensor) -> Tensor:
        """VQ ids [b, n] to pixels [b, 3, side, side] around [-1, 1]; where n is not all cells, rows without codes are grey."""
        pixels = self.codec.decoder(self.codec.post_quant_conv(self.vectors(ids)))
        rows = ids.shape[1] // self.grid * (pixels.shape[2] // self.grid)
        pixels[:, :, rows:] = 0
        return pixels

    def forced(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Logits [rows, cells, codes] that prompts [rows, n] give for every place of a given picture, codes [1 or rows, cells]."""
        if codes.shape[0] == 1:
            codes = repeat(codes, "1 n -> rows n", rows=rows.shape[0])
        embeds = torch.cat([self.words(rows), self.codes(codes[:, :-1])], 1)
        hidden = self.text(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return self.code_logits(hidden[:, rows.shape[1] - 1 :])


def twin(cache: Cache | None) -> Cache | None:
    """A growing cache of its own over the same tensors."""
    if cache is None:
        return None
    other = DynamicCache()
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other


def with_room(state: State, decoder: Decoder, more: int) -> State:
    """The state in a cache of fixed size with room for ``more`` positions, which later passes fill in place."""
    cache = StaticCache(config=decoder.text.config, max_cache_len=state.length + more)
    for target, source in zip(cache.layers, state.cache.layers, strict=True):
        target.update(source.keys, source.values)
    return replace(state, cache=cache)


def own(state: State) -> State:
    """The state in a cache that may change without touching anyone else's."""
    return replace(state, cache=twin(state.cache))
