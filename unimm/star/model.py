"""STAR's modules and how they are joined: base, stack, adapter, head and VQ."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.backbone import build_base, build_stack, decode, see
from unimm.star.config import StarConfig
from unimm.star.heads import ChangeHead, CodeHead, JoinedHead
from unimm.star.inspector import DAMAGED, FAULTY, MARKED, SEES, WHOLE, Inspector
from unimm.star.layout import DRAWN, SEEN, SOURCE
from unimm.star.vq import VQModel


class Adapter(nn.Module):
    """Codebook rows [..., code] to base embeddings [..., hidden]: linear layers with GELU between."""

    def __init__(self, code: int, hidden: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(code, hidden)]
        for _ in range(depth - 1):
            layers += [nn.GELU(), nn.Linear(hidden, hidden)]
        self.layers = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)


class Places(nn.Module):
    """Learned row and column embeddings of picture cells; cell -1 (no picture) gets nothing."""

    def __init__(self, rows: int, hidden: int) -> None:
        super().__init__()
        self.row = nn.Embedding(rows, hidden)
        self.column = nn.Embedding(rows, hidden)
        nn.init.normal_(self.row.weight, std=0.02)
        nn.init.normal_(self.column.weight, std=0.02)

    def forward(self, cell: Tensor, columns: int) -> Tensor:
        known = cell.clamp(min=0)
        return (self.row(known // columns) + self.column(known % columns)) * (cell >= 0)[..., None]


class Star(nn.Module):
    """The network alone: no sampling, no text.

    ``base`` understands and is frozen once it does; ``stack``, ``pixel_adapter``, ``pixel_output_head`` (and the places)
    draw; ``pixel_encoder`` is the VQ. Fact sheet: star, sections 1 to 4.
    """

    def __init__(self, config: StarConfig) -> None:
        super().__init__()
        self.config = config
        self.base = build_base(config)
        self.stack = build_stack(config)
        hidden = self.hidden
        self.pixel_adapter = Adapter(config.vq.codebook_dim, hidden, config.adapter_depth)
        self.pixel_output_head = nn.Linear(hidden, config.vq.codebook_size)
        self.pixel_encoder = VQModel(config.vq)
        if config.code_head:
            self.pixel_code_head = CodeHead(config.vq.codebook_dim, hidden)
        if config.copies:
            self.pixel_copy_gate = nn.Linear(hidden, 1)
            nn.init.zeros_(self.pixel_copy_gate.weight)
            nn.init.constant_(self.pixel_copy_gate.bias, 5.0)
        if config.change_head:
            self.pixel_change_head = ChangeHead(hidden, config.vq.codebook_size, config.vq.codebook_dim)
        if config.fault_head:
            self.fault_head = nn.Linear(hidden, 2)
        self.joined_head: JoinedHead | None = None
        if config.stack_reads:
            self.stack_reader = nn.Linear(hidden, hidden, bias=False)
            nn.init.zeros_(self.stack_reader.weight)
        if config.grid_rows:
            self.seen_places = Places(config.grid_rows, hidden)
            self.source_places = Places(config.grid_rows, hidden)
            self.drawn_places = Places(config.grid_rows, hidden)
        if config.inspector:
            self.inspector = Inspector(config.inspector)

    @property
    def hidden(self) -> int:
        return self.base.config.text_config.hidden_size

    @property
    def device(self) -> torch.device:
        return self.pixel_output_head.bias.device

    @torch.no_grad()
    def settle(self) -> Star:
        """Join the heads over the codebook, for a network that is not trained any more; returns the network."""
        self.eval().requires_grad_(False)
        if self.config.code_head and self.config.change_head:
            table = self.pixel_encoder.quantize.embedding.weight
            self.joined_head = JoinedHead(self.pixel_output_head, self.pixel_code_head, self.pixel_change_head, table)
        return self

    def words(self, ids: Tensor) -> Tensor:
        return self.base.model.language_model.embed_tokens(ids)

    def see(self, pixels: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] to base embeddings [N, cells, hidden], places included."""
        seen = see(self.base.model.visual, pixels)
        if self.config.grid_rows:
            columns = pixels.shape[3] // self.base.model.visual.patch_size
            seen = seen + self.seen_places(torch.arange(seen.shape[1], device=seen.device), columns)
        return seen

    def drawn(self, ids: Tensor) -> Tensor:
        """VQ ids [...] to base embeddings [..., hidden]."""
        return self.pixel_adapter(self.pixel_encoder.codes(ids))

    def embed(
        self, ids: Tensor, kind: Tensor, slot: Tensor, cell: Tensor, columns: int, seen: Tensor | None, codes: Tensor | None
    ) -> Tensor:
        """Base inputs [B, L, hidden] of a laid out sequence (see ``layout``).

        ``ids``, ``kind``, ``slot``, ``cell`` are [B, L]; ``seen`` [B, slots, hidden] holds the vision tower's tokens,
        ``codes`` [B, slots] the VQ ids that ``slot`` points into; either may be None where the sequence has none.
        """
        embeds = self.words(ids)
        if seen is not None:
            picked = seen.gather(1, slot.clamp(max=seen.shape[1] - 1)[..., None].expand(-1, -1, seen.shape[2]))
            embeds = torch.where((kind == SEEN)[..., None], picked.to(embeds.dtype), embeds)
        if codes is not None:
            pixels = self.drawn(codes.gather(1, slot.clamp(max=codes.shape[1] - 1)))
            embeds = torch.where(((kind == SOURCE) | (kind == DRAWN))[..., None], pixels.to(embeds.dtype), embeds)
        if self.config.grid_rows:
            nowhere = torch.full_like(cell, -1)
            embeds = embeds + self.source_places(torch.where(kind == SOURCE, cell, nowhere), columns)
            embeds = embeds + self.drawn_places(torch.where((kind != SOURCE) & (kind != SEEN), cell, nowhere), columns)
        return embeds

    def understand(self, embeds: Tensor, position: Tensor, mask: Tensor | None, cache: object = None) -> Tensor:
        """The base's states [B, L, ...] (see ``states``). ``position`` is [3, B, L]."""
        early = bool(self.config.stack_reads)
        return self.states(decode(self.base.model.language_model, embeds, position, mask, cache, output_hidden_states=early))

    def states(self, out: Any) -> Tensor:
        """What later parts read of a pass through the base: its last hidden states [B, L, hidden], after the final norm.

        With ``stack_reads``, those of that layer stand behind them, rms-normed: [B, L, 2 hidden].
        """
        if not self.config.stack_reads:
            return out.last_hidden_state
        early = F.rms_norm(out.hidden_states[self.config.stack_reads], (self.hidden,))
        return torch.cat([out.last_hidden_state, early], -1)

    def draw(self, hidden: Tensor, position: Tensor, mask: Tensor | None, cache: object = None) -> Tensor:
        """The stack's hidden states [B, L, hidden] over the base's states."""
        if self.config.stack_reads:
            last, early = hidden.split(self.hidden, -1)
            hidden = last + self.stack_reader(early)
        return decode(self.stack, hidden, position, mask, cache).last_hidden_state

    def word_logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary from the base's states [..., hidden or 2 hidden]."""
        return self.base.lm_head(hidden[..., : self.hidden])

    def doubts(self, hidden: Tensor) -> Tensor:
        """How likely cells are to be wrong [...], from the base's states [..., hidden or 2 hidden] at a picture that it judges."""
        return _chance(self.fault_head(hidden[..., : self.hidden]))

    def damage(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """What the inspector sees of the cells of ``after``: how likely each is FAULTY [N, cells], and what is new in it, or else what it
        is if it is FAULTY [N, cells] (a number of SEES). Pictures are [N, 3, H, W] in [-1, 1]."""
        logits = self.inspector(before, after).float()
        rare = F.one_hot(torch.tensor(WHOLE), len(SEES)).to(logits) * math.log(FAULT_WEIGHT)  # as often as it is, not as it was learnt
        chances = (logits + rare).softmax(-1)
        new, faulty = chances[..., MARKED:], chances[..., FAULTY]
        kinds = torch.where(new.amax(-1) > 0.5, new.argmax(-1) + MARKED, faulty.argmax(-1) + DAMAGED)
        return faulty.sum(-1), kinds

    def lean(self, source: Tensor | None) -> Tensor | None:
        """What ``pixel_logits`` can be given for the source's VQ ids [...] instead of working it out anew; None where it is nothing."""
        return None if source is None or self.joined_head is None else self.joined_head.lean(source)

    def pixel_logits(self, hidden: Tensor, source: Tensor | None = None, lean: Tensor | None = None) -> Tensor:
        """Logits over the codebook [..., codes] from stack states [..., hidden].

        ``source`` [...] are the source's VQ ids at the places that are drawn, -1 where there is none; read with ``copies`` and
        ``change_head`` only. ``lean`` is what ``lean`` has said of them.
        """
        if self.joined_head is not None:
            logits = self.joined_head(hidden, self.lean(source) if lean is None else lean)
        else:
            logits = self._heads(hidden, source)
        if self.config.copies and source is not None:
            bonus = self.pixel_copy_gate(hidden) * (source >= 0)[..., None]
            logits = logits.scatter_add(-1, source.clamp(min=0)[..., None], bonus.to(logits.dtype))
        return logits

    def _heads(self, hidden: Tensor, source: Tensor | None) -> Tensor:
        """The heads over the codebook one by one, as they are trained."""
        logits = self.pixel_output_head(hidden)
        if self.config.code_head:
            table = self.pixel_encoder.quantize.embedding.weight
            logits = logits + self.pixel_code_head(hidden, table.to(hidden.dtype))
        if self.config.change_head:
            logits = logits + self.pixel_change_head(hidden, source)
        return logits


FAULT_WEIGHT = 4.0
"""How much more a wrong cell counts than a right one where the fault head is trained; its chances are without that."""


def _chance(logits: Tensor) -> Tensor:
    """The chance of the second of two classes [..., 2], which counted FAULT_WEIGHT times as much in training."""
    first, second = logits.float().unbind(-1)
    return (second - first - math.log(FAULT_WEIGHT)).sigmoid()


BASE_PARTS = ("base.", "seen_places.", "fault_head.")
"""Prefixes of the parameters that understand; drawing stages leave them alone."""


def is_base(name: str) -> bool:
    return name.startswith(BASE_PARTS)


def pictures_to_pixels(pictures: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in [-1, 1]."""
    return rearrange(pictures.float() / 127.5 - 1, "n h w c -> n c h w")
