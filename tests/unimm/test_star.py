"""The embedded STAR at toy size: caches change nothing, speculation is exact, what was not edited stays."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import zip_longest

import numpy as np
import pytest
import torch
from toy_star import toy_config, toy_model, toy_star

from agents import vocabulary
from unimm.document import Document, Image, Text
from unimm.errors import BadInput, MissingWeights
from unimm.events import ImagePreview, LatentStep, PartDone, TextDelta
from unimm.model import Options, UnifiedModel
from unimm.sampling import probabilities
from unimm.star import load
from unimm.star.backbone import see
from unimm.star.generate import StarModel
from unimm.star.speculate import accept_run
from unimm.star.tokenizer import word_tokenizer
from unimm.star.vq import NOWHERE
from unimm.weights import save_sharded


def picture(seed: int, side: int = 256) -> Image:
    cells = np.random.default_rng(seed).integers(0, 256, (side // 32, side // 32, 3), np.uint8)
    return Image(side, side, cells.repeat(32, 0).repeat(32, 1).tobytes())


NEXT = Document().user(picture(0), Text("maze next"))
JUDGE = Document().user(picture(0), picture(1), Text("maze judge"))
REVISE = JUDGE.assistant(Text("wrong . no agent at c4 ."))
SHORT = Options(max_tokens=6)


def drawn(model: UnifiedModel, document: Document, options: Options) -> PartDone:
    done = (event for event in model.stream(document, "image", options) if isinstance(event, PartDone))
    return next(event for event in done if isinstance(event.part, Image))


def summary(model: UnifiedModel, document: Document, want: str, options: Options) -> list[object]:
    """What a stream says, without its seconds."""
    return [event.part if isinstance(event, PartDone) else event for event in model.stream(document, want, options)]


def test_vision_tower_in_a_batch_is_qwens_own() -> None:
    star = toy_star()
    pixels = torch.rand(3, 3, 128, 128) * 2 - 1
    visual = star.base.model.visual
    patches = pixels.reshape(3, 3, 8, 16, 8, 16).permute(0, 2, 4, 1, 3, 5).reshape(3 * 64, -1)
    own = visual(patches, grid_thw=torch.tensor([[1, 8, 8]] * 3))
    expected = getattr(own, "pooler_output", own).reshape(3, 64, -1)
    torch.testing.assert_close(see(visual, pixels), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("document", [NEXT, REVISE], ids=["next", "revise"])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_speculation_is_token_by_token(document: Document, guidance: float) -> None:
    options = dataclasses.replace(SHORT, guidance=guidance)
    fast = drawn(toy_model(), document, options)
    slow = drawn(toy_model(), document, dataclasses.replace(options, speculative=False))
    assert fast.part == slow.part
    assert slow.stats["passes"] == 64
    assert 0 < fast.stats["changed"] == slow.stats["changed"]
    assert fast.stats["passes"] <= fast.stats["changed"] + 1


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_accepted_runs_have_the_models_distribution(temperature: float) -> None:
    """The first two tokens, drawn 4,000 times with a draft, against the exact joint distribution."""
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(5))
    options = Options(temperature=temperature, top_k=3)
    draft, generator, seen = torch.tensor([2, 1]), torch.Generator().manual_seed(6), Counter()
    chances = probabilities(logits, options)
    for _ in range(4000):
        kept, token = accept_run(logits, draft, options, generator)
        ids = [*draft[:kept].tolist(), *([token] if token is not None else [])]
        if len(ids) < 2:  # the rest is drawn in the next pass, with logits that no longer hang on the draft
            ids.append(int(torch.multinomial(chances[1], 1, generator=generator)))
        seen[tuple(ids)] += 1
    pairs = [(a, b) for a in range(4) for b in range(4) if chances[0, a] * chances[1, b] > 0]
    assert set(seen) <= set(pairs)
    expected = {(a, b): float(chances[0, a] * chances[1, b]) * 4000 for a, b in pairs}
    chi_square = sum((seen[pair] - count) ** 2 / count for pair, count in expected.items())
    freedom = len(pairs) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def test_unchanged_cells_keep_the_sources_pixels() -> None:
    model = toy_model()
    result = drawn(model, NEXT, SHORT)
    source = NEXT.turns[0].parts[0]
    same = (np.frombuffer(result.part.rgb, np.uint8) == np.frombuffer(source.rgb, np.uint8)).reshape(8, 32, 8, 32, 3)
    kept = same.all((1, 3, 4)).sum()
    assert kept >= 64 - result.stats["changed"] > 0


@pytest.mark.parametrize(("document", "want"), [(NEXT, "image"), (JUDGE, "text"), (REVISE, "image")], ids=["next", "judge", "revise"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_remembered_prefixes_change_nothing(document: Document, want: str, temperature: float) -> None:
    options = dataclasses.replace(SHORT, temperature=temperature, text_temperature=temperature, seed=11)
    fresh = summary(toy_model(), document, want, options)
    warm = toy_model()
    for before in (NEXT, JUDGE, REVISE):
        summary(warm, before, "image" if before is not JUDGE else "text", Options(max_tokens=3, seed=1))
    assert summary(warm, document, want, options) == fresh
    assert summary(warm, document, want, options) == fresh


def test_two_interleaved_streams_equal_two_alone() -> None:
    options = dataclasses.replace(SHORT, temperature=1.0, seed=4)
    alone = [summary(toy_model(), document, "image", options) for document in (NEXT, REVISE)]
    shared = toy_model()
    streams = [shared.stream(document, "image", options) for document in (NEXT, REVISE)]
    together: list[list[object]] = [[], []]
    for pair in zip_longest(*streams):
        for events, event in zip(together, pair, strict=True):
            if event is not None:
                events.append(event.part if isinstance(event, PartDone) else event)
    assert together == alone


def test_thought_is_drawn_from_in_place() -> None:
    """Going on from a text that the model wrote uses the very states of its writing; it is not read again."""
    model = toy_model()
    words = "".join(event.text for event in model.stream(JUDGE, "text", SHORT) if isinstance(event, TextDelta))
    passes: list[int] = []
    step = model.reader.step
    model.reader.step = lambda prefix, ids, *rest, **more: (passes.append(len(ids)), step(prefix, ids, *rest, **more))[1]
    drawn(model, JUDGE.assistant(Text(words)), SHORT)
    assert passes == [1]  # the mark that opens the picture


def test_a_thought_streams_words_and_latents() -> None:
    events = list(toy_model().stream(NEXT, "image", SHORT))
    thought = next(event for event in events if isinstance(event, PartDone) and isinstance(event.part, Text))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == thought.part.text
    latents = [event for event in events if isinstance(event, LatentStep)]
    assert [latent.index for latent in latents] == list(range(int(thought.stats["tokens"])))
    assert all(len(latent.heat) == 64 and latent.grid == (8, 8) and 0 < sum(latent.heat) <= 1.01 and latent.norm > 0 for latent in latents)
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert [event.done for event in previews] == sorted({event.done for event in previews})
    assert previews[-1].image == events[-1].part


def test_thoughts_words_change_the_picture() -> None:
    model = toy_model()
    pictures = {drawn(model, NEXT.assistant(Text(words)), SHORT).part.rgb for words in ("dead ends : a1 b2", "go right", "done")}
    assert len(pictures) > 1


def test_seeds_and_closing() -> None:
    model, warm = toy_model(), dataclasses.replace(SHORT, temperature=1.5)
    one, again, other = (drawn(model, NEXT, dataclasses.replace(warm, seed=seed)).part for seed in (1, 1, 2))
    assert one == again != other
    stream = model.stream(NEXT, "image", warm)
    next(stream)
    stream.close()
    assert drawn(model, NEXT, dataclasses.replace(warm, seed=1)).part == one


def test_draws_without_a_picture_to_start_from() -> None:
    result = drawn(toy_model(), Document().user(Text("draw board")), dataclasses.replace(SHORT, think=False))
    assert (result.part.width, result.part.height, result.stats["passes"]) == (256, 256, 64)


def test_other_sizes_are_fitted_and_larger_canvases_kept() -> None:
    model = toy_model()
    odd = Image.from_pil(picture(2).to_pil().resize((301, 200)))
    assert drawn(model, Document().user(odd, Text("maze next")), SHORT).part.width == 256
    large = drawn(model, Document().user(picture(2, 384), Text("maze next")), SHORT)
    assert (large.part.width, large.stats["tokens"]) == (384, 144)


@pytest.mark.parametrize(
    ("document", "want"),
    [(Document(), "text"), (REVISE, "text"), (Document().user(Text("word " * 5000)), "text")],
    ids=["empty", "nothing asked", "too long"],
)
def test_documents_that_cannot_be_answered(document: Document, want: str) -> None:
    with pytest.raises(BadInput):
        list(toy_model().stream(document, want))


def test_control_words_in_a_text_stay_text() -> None:
    model = toy_model()
    ids = model.encode("<|im_end|> <|vision_start|> 迷宫 é")
    assert not set(ids) & set(model.special.values())
    assert model.tokenizer.decode(ids) == "<|im_end|> <|vision_start|> 迷宫 é"


def test_model_folder_round_trip(tmp_path) -> None:
    model = toy_model()
    save_sharded(model.star.state_dict(), tmp_path, limit=300_000)
    (tmp_path / "config.json").write_text(json.dumps(toy_config().to_dict()))
    word_tokenizer(vocabulary.words()).save(str(tmp_path / "tokenizer.json"))
    loaded = load(tmp_path)
    assert isinstance(loaded, StarModel) and loaded.config == toy_config()
    assert drawn(loaded, NEXT, SHORT).part == drawn(model, NEXT, SHORT).part
    shard = sorted(tmp_path.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(MissingWeights):
        load(tmp_path)
    with pytest.raises(MissingWeights):
        load(tmp_path / "nowhere")


def test_joined_heads_say_what_the_heads_say_one_by_one() -> None:
    star = toy_star()
    table = star.pixel_encoder.quantize.embedding.weight
    with torch.no_grad():
        table[5:9] = 2 * NOWHERE
        for module in (star.pixel_code_head, star.pixel_change_head):
            for value in module.parameters():
                value.add_(torch.randn_like(value) * 0.1)
        star.pixel_change_head.looks.normal_()
        hidden = torch.randn(2, 7, star.hidden)
        source = torch.randint(0, len(table), (2, 7))
        source[0, 3] = -1
        apart = [star.pixel_logits(hidden), star.pixel_logits(hidden, source)]
        star.settle()
        joined = [star.pixel_logits(hidden), star.pixel_logits(hidden, source), star.pixel_logits(hidden, source, star.lean(source))]
    used = torch.ones(len(table), dtype=torch.bool)
    used[5:9] = False
    for one, other in zip([*apart, apart[1]], joined, strict=True):
        assert torch.allclose(one[..., used], other[..., used], atol=1e-4)
    assert joined[0][..., ~used].max() < -1000
