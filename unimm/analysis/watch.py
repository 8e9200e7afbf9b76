"""Seeing the attention maps of a forward pass without keeping them: each goes to a function as soon as it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from unimm.errors import BadInput

Each = Callable[[Tensor], None]
"""Gets one layer's map [B, H, queries, keys]."""


def maps_of(attentions: Sequence[nn.Module], each: Each) -> AbstractContextManager[None]:
    """``eager_maps`` or ``fused_maps``, as the configuration of these transformers modules asks for."""
    return (eager_maps if attentions[0].config._attn_implementation == "eager" else fused_maps)(attentions, each)


@contextmanager
def eager_maps(attentions: Sequence[nn.Module], each: Each) -> Iterator[None]:
    """Call ``each`` with the map of every pass through ``attentions``: modules that return (output, map), as eager attention does."""

    def hand_over(module: nn.Module, inputs: Any, output: Any) -> None:
        if output[1] is None:
            raise BadInput("This attention keeps no maps. Build or set the model with eager attention.")
        each(output[1])

    hooks = [module.register_forward_hook(hand_over) for module in attentions]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def fused_maps(modules: Sequence[nn.Module], each: Each) -> Iterator[None]:
    """Call ``each`` with the map of every fused attention inside ``modules`` (layers, or the attention of each).

    The fused kernel returns no map, so it is worked out beside it from the same queries, keys and mask; the pass's own
    result stays what it was. Other fused attention (a vision tower's) is left alone.
    """
    inside = _Fused(each)

    def enter(module: nn.Module, inputs: Any) -> None:
        inside.depth += 1

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        inside.depth -= 1

    hooks = [module.register_forward_pre_hook(enter) for module in modules]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in modules]
    try:
        with inside:
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Fused(TorchFunctionMode):
    """Looks at calls of the fused kernel; a mode belongs to its thread and to its ``with`` block, nothing is patched."""

    def __init__(self, each: Each) -> None:
        super().__init__()
        self.each, self.depth = each, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention and self.depth:
            self.each(attention_map(*args, **kwargs))
        return func(*args, **kwargs)


def attention_map(
    query: Tensor, key: Tensor, value: Tensor | None = None, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """The probabilities [B, H, queries, keys] behind ``scaled_dot_product_attention`` of the same arguments, in fp32."""
    if enable_gqa or key.shape[-3] != query.shape[-3]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query.float() @ key.float().transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1), -torch.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1).nan_to_num()  # a row that sees nothing (padding) has no mass
