"""A decoder at work: token ids to hidden states to logits, what it has read remembered by content, rows side by side."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache
from transformers.models.emu3.modeling_emu3 import Emu3ForCausalLM

from unimm.emu3.cache import side_by_side
from unimm.emu3.config import LanguageConfig

REMEMBERED = 32768
"""Tokens whose keys and values a decoder remembers between calls (128 KiB each at the published size in bf16)."""


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Prefix:
    """A decoder's state after some chunks: keys and values, and the last hidden state [1, 1, hidden]. Never changed."""

    key: str = ""
    length: int = 0
    cache: Cache | None = None
    hidden: Tensor | None = None


class Language:
    """A decoder with its ids. ``awake`` is called before every pass: whoever moves decoders about brings this one back then."""

    def __init__(self, net: Emu3ForCausalLM, config: LanguageConfig, remembered: int = REMEMBERED) -> None:
        self.net, self.config, self.ids, self.remembered = net, config, config.ids, remembered
        self.awake: Callable[[], None] = _nothing
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()

    @property
    def device(self) -> torch.device:
        return self.net.device

    def states(self, ids: Tensor, cache: Cache | None = None, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """Last hidden states [B, n, hidden] of ids [B, n] behind what ``cache`` holds, which grows.

        ``mask`` is additive, [B, 1, n, cached + n]; without one every token sees all before it.
        """
        self.awake()
        device = self.device
        out = self.net.model(
            input_ids=ids.to(device), past_key_values=cache, use_cache=cache is not None, attention_mask=mask,
            position_ids=None if positions is None else positions.to(device),
        )  # fmt: skip
        return out.last_hidden_state

    def logits(self, hidden: Tensor, rows: slice = slice(None)) -> Tensor:
        """Logits [..., rows] in fp32 of hidden states [..., hidden], for a part of the vocabulary at a part of the cost."""
        head = self.net.lm_head
        if type(head) is nn.Linear:
            return F.linear(hidden, head.weight[rows]).float()
        return head(hidden)[..., rows].float()

    def padded_states(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Last hidden states [B, S, hidden] of left-padded sequences of the given lengths, each as if it were alone."""
        gaps = gap_mask(lengths, 0, self.net.lm_head.weight)
        least = torch.finfo(gaps.dtype).min
        ahead = torch.full((ids.shape[1], ids.shape[1]), least, dtype=gaps.dtype, device=gaps.device).triu(1)
        return self.states(ids, mask=torch.maximum(gaps + ahead, gaps.new_tensor(least)), positions=positions_of(lengths))

    def read(self, chunks: Sequence[Sequence[int]]) -> Prefix:
        """The state after all chunks of ids, from the longest remembered beginning.

        Chunks are always read in the same passes, so a remembered state and one computed anew are equal bit for bit. What
        ends with the last of several chunks is not remembered: those words differ from call to call, and its keys and values
        would be a second copy of all before them.
        """
        keys = [""]
        for chunk in chunks:
            keys.append(hashlib.sha256(f"{keys[-1]}|{','.join(map(str, chunk))}".encode()).hexdigest())
        known = next((count for count in range(len(chunks), 0, -1) if keys[count] in self._prefixes), 0)
        prefix = self._prefixes[keys[known]] if known else Prefix()
        if known:
            self._prefixes.move_to_end(prefix.key)
        for count in range(known, len(chunks)):
            prefix = self._extend(prefix, chunks[count], keys[count + 1])
            if count + 1 < max(len(chunks), 2):
                self._remember(prefix)
        return prefix

    def _extend(self, prefix: Prefix, chunk: Sequence[int], key: str) -> Prefix:
        cache = DynamicCache(config=self.config.text)
        if prefix.cache is not None:  # a layer grows by making new tensors, so the old ones can be shared
            cache.layers = [copy.copy(layer) for layer in prefix.cache.layers]
        hidden = self.states(torch.tensor([list(chunk)]), cache)
        return Prefix(key, prefix.length + len(chunk), cache, hidden[:, -1:].clone())

    def _remember(self, prefix: Prefix) -> None:
        self._prefixes[prefix.key] = prefix
        while sum(known.length for known in self._prefixes.values()) > self.remembered:
            self._prefixes.popitem(last=False)

    def forget(self) -> None:
        """Give the memory of remembered states back."""
        self._prefixes.clear()


class Rows:
    """Texts going on side by side in one batch, after prefixes of their own: the guidance branches of a picture, or one text.

    ``hidden`` [rows, 1, hidden] is the state at the end; ``room`` tokens fit behind it.
    """

    def __init__(self, language: Language, prefixes: Sequence[Prefix], room: int) -> None:
        self.language, self.passes = language, 0
        lengths = [prefix.length for prefix in prefixes]
        self.cache = side_by_side([prefix.cache for prefix in prefixes], lengths, room)
        self.hidden = torch.cat([prefix.hidden for prefix in prefixes])
        self._next = torch.tensor(lengths)[:, None]
        self._gaps = gap_mask(lengths, room, self.hidden) if min(lengths) < max(lengths) else None

    def read(self, ids: Sequence[int]) -> Tensor:
        """Every row reads the same ids, in one pass; hidden states [rows, n, hidden]."""
        count, mask = len(ids), None
        total = self.cache.get_seq_length() + count
        if self._gaps is not None:
            mask = self._gaps[..., :total].expand(-1, -1, count, -1)
            if count > 1:
                ahead = torch.ones(count, count, dtype=torch.bool, device=mask.device).triu(1)
                mask = mask.clone()
                mask[..., -count:] = mask[..., -count:].masked_fill(ahead, torch.finfo(mask.dtype).min)
        states = self.language.states(
            torch.tensor([list(ids)]).expand(len(self._next), -1), self.cache, mask, self._next + torch.arange(count)
        )  # fmt: skip
        self._next = self._next + count
        self.passes += 1
        self.hidden = states[:, -1:]
        return states


def positions_of(lengths: Sequence[int]) -> Tensor:
    """Positions [rows, longest] of left-padded sequences: each counts from its own beginning, padding has 1."""
    longest = max(lengths)
    behind = torch.arange(longest) - (longest - torch.tensor(lengths)[:, None])
    return behind.masked_fill(behind < 0, 1)


def gap_mask(lengths: Sequence[int], room: int, like: Tensor) -> Tensor:
    """Additive mask [rows, 1, 1, longest + room] that hides what lies before each row's beginning."""
    longest = max(lengths)
    mask = torch.zeros(len(lengths), 1, 1, longest + room, dtype=like.dtype, device=like.device)
    for row, length in enumerate(lengths):
        mask[row, ..., : longest - length] = torch.finfo(like.dtype).min
    return mask
