"""The embedded model's decoder: what it may change, what it must not, and that its stage trains nothing else."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_star import toy_config, toy_star

from agents import vocabulary
from agents.teaching import decoder_pairs
from agents.teaching.decoder_stage import export_decoder, plan_for
from unimm.document import Document, Image, Text
from unimm.errors import BadInput, MissingWeights
from unimm.events import ImagePreview, PartDone
from unimm.model import Options
from unimm.star import load
from unimm.star.config import CONFIGS, StarConfig
from unimm.star.decoder_config import SharpenerConfig
from unimm.star.generate import StarModel
from unimm.star.options import TinyOptions
from unimm.star.pictures import from_tokens
from unimm.star.sharpen import Box, Finish, Sharpener, sharpened
from unimm.star.tokenizer import word_tokenizer
from unimm.star.vq import VQModel
from unimm.train.decoder import MISTAKEN, DecoderTrainer, Pair, batches, cropped, gathered, trains_decoder
from unimm.train.loop import run_stage
from unimm.weights import save_sharded

SMALL = SharpenerConfig.row(
    codes=8, scale=2, hidden_size=32, num_layers=2, num_refiner_layers=0, num_attention_heads=2, num_kv_heads=1, multiple_of=16,
    ffn_dim_multiplier=0.5, axes_dim_rope=(4, 6, 6), finish=4,
)  # fmt: skip
CONFIG = dataclasses.replace(toy_config(), decoder=SMALL)
SHORT = TinyOptions(max_tokens=4)


def toy_sharpener() -> Sharpener:
    """Random weights, the last layer too, so that every pixel it may change does change."""
    torch.manual_seed(3)
    sharpener = Sharpener(CONFIG)
    torch.nn.init.normal_(sharpener.lumina.norm_out.linear_2.weight, std=0.1)
    return sharpener.eval()


def toy_model(sharpener: Sharpener | None = None) -> StarModel:
    return StarModel(toy_star(), word_tokenizer(vocabulary.words()), sharpener)


def picture(seed: int, columns: int = 8) -> Image:
    cells = np.random.default_rng(seed).integers(0, 256, (columns, columns, 3), np.uint8)
    return Image(32 * columns, 32 * columns, cells.repeat(32, 0).repeat(32, 1).tobytes())


def levels(image: Image) -> np.ndarray:
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def asked(seed: int = 0) -> Document:
    return Document().user(picture(seed), Text("maze next"))


def drawn(model: StarModel, options: Options, document: Document | None = None) -> tuple[list[ImagePreview], PartDone]:
    events = list(model.stream(document or asked(), "image", options))
    return [event for event in events if isinstance(event, ImagePreview)], events[-1]


@pytest.fixture
def edit() -> tuple[torch.Tensor, torch.Tensor, Image]:
    """Ids, the source's ids and the source: a few cells in two corners differ."""
    source = picture(5)
    source_ids = torch.randint(0, 24, (64,), generator=torch.Generator().manual_seed(1))
    ids = source_ids.clone()
    ids[[9, 10, 54]] = (ids[[9, 10, 54]] + 1) % 24
    return ids, source_ids, source


def test_only_cells_whose_token_changed_take_other_pixels(edit: tuple[torch.Tensor, torch.Tensor, Image]) -> None:
    ids, source_ids, source = edit
    kept = ids.clone()
    pictures = list(sharpened(toy_sharpener(), toy_star().pixel_encoder, CONFIG, ids, 8, source, source_ids, 3, 0))
    assert len(pictures) == 3 and torch.equal(ids, kept)
    for shown in pictures:
        differs = (levels(shown) != levels(source)).reshape(8, 32, 8, 32, 3).any((1, 3, 4)).flatten()
        assert np.flatnonzero(differs).tolist() == [9, 10, 54]


def test_the_work_is_bounded_by_what_changed() -> None:
    changed = torch.zeros(8, 8, dtype=torch.bool)
    changed[3, 6] = True
    assert Box.around(changed) == Box(2, 5, 5, 8)
    changed[0, 0] = True
    assert Box.around(changed) == Box(0, 0, 5, 8)


def test_same_seed_same_picture() -> None:
    model = toy_model(toy_sharpener())
    options = [dataclasses.replace(SHORT, seed=seed) for seed in (1, 1, 2)]
    one, again, other = (drawn(model, row)[1].part for row in options)
    assert one == again != other


def test_refinement_streams_after_the_tokens() -> None:
    previews, done = drawn(toy_model(toy_sharpener()), dataclasses.replace(SHORT, refine=3))
    assert [preview.done for preview in previews[-4:]] == [64, 65, 66, 67] and {preview.total for preview in previews} == {67}
    assert previews[-1].image == done.part
    assert len({preview.image for preview in previews[-4:]}) == 4
    assert done.stats["refined"] == 3


def test_the_tokens_do_not_hang_on_the_decoder() -> None:
    """With and without it the same thought is written and the same tokens are drawn; no steps show the VQ's pixels."""
    plain, sharp = toy_model(), toy_model(toy_sharpener())
    before, old = drawn(plain, SHORT)
    after, new = drawn(sharp, SHORT)
    off, none = drawn(sharp, dataclasses.replace(SHORT, refine=0))
    assert old.part == none.part != new.part
    assert old.stats["changed"] == new.stats["changed"] and old.stats["passes"] == new.stats["passes"]
    shown = [[preview.image for preview in previews] for previews in (before, off, after[: len(before)])]
    assert shown[0] == shown[1] == shown[2]


def test_an_untrained_decoder_shows_the_vqs_pixels_and_hardly_any_of_the_source(edit: tuple[torch.Tensor, torch.Tensor, Image]) -> None:
    ids, source_ids, source = edit
    vq = toy_star().pixel_encoder
    shown = list(sharpened(Sharpener(CONFIG).eval(), vq, CONFIG, ids, 8, source, source_ids, 2, 0))[-1]
    plain = from_tokens(ids, vq, CONFIG, 8, source, source_ids)
    assert np.abs(levels(shown).astype(int) - levels(plain)).max() <= 20
    alone = list(sharpened(Sharpener(CONFIG).eval(), vq, CONFIG, ids, 8, None, None, 2, 0))[-1]
    assert np.abs(levels(alone).astype(int) - levels(from_tokens(ids, vq, CONFIG, 8, None, None))).max() <= 1


@pytest.mark.parametrize("columns", [8, 12, 16])
def test_every_canvas_is_refined(columns: int) -> None:
    document = Document().user(picture(1, columns), Text("maze next")).assistant(Text("go right ."))
    _, done = drawn(toy_model(toy_sharpener()), SHORT, document)
    assert done.part.width == 32 * columns and done.stats["refined"] == SHORT.refine
    ids = torch.zeros(columns * columns, dtype=torch.long)
    whole = list(sharpened(toy_sharpener(), toy_star().pixel_encoder, CONFIG, ids, columns, None, None, 1, 0))
    assert [image.width for image in whole] == [32 * columns]


def test_options_are_bounded_and_shared_ones_are_taken() -> None:
    assert TinyOptions.from_options(Options(seed=7, guidance=2.0)) == TinyOptions(seed=7, guidance=2.0)
    with pytest.raises(BadInput):
        TinyOptions(refine=-1)


def test_the_embedded_models_row_fits_its_vq_and_is_small() -> None:
    tiny = CONFIGS["tiny"]
    assert StarConfig.from_dict(json.loads(json.dumps(tiny.to_dict()))).decoder == tiny.decoder
    sharpener, ids = Sharpener(tiny).eval(), torch.arange(64)
    assert sum(parameter.numel() for parameter in sharpener.parameters()) < 2_000_000
    other = torch.where(ids == 9, 1, ids)
    shown = list(sharpened(sharpener, VQModel(tiny.vq), tiny, other, 8, picture(0), ids, 1, 0))
    assert [image.width for image in shown] == [256]


def saved(folder: Path, sharpener: Sharpener | None, config: StarConfig) -> Path:
    save_sharded(toy_star().state_dict(), folder)
    if sharpener:
        save_sharded(sharpener.state_dict(), folder, "diffusion_decoder")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    word_tokenizer(vocabulary.words()).save(str(folder / "tokenizer.json"))
    return folder


def test_folders_with_and_without_a_decoder_load(tmp_path: Path) -> None:
    bare = load(saved(tmp_path / "bare", None, CONFIG))
    full = load(saved(tmp_path / "full", toy_sharpener(), CONFIG))
    assert bare.sharpener is None and drawn(bare, SHORT)[1].part == drawn(toy_model(), SHORT)[1].part
    assert drawn(full, SHORT)[1].part == drawn(toy_model(toy_sharpener()), SHORT)[1].part
    old = {key: value for key, value in toy_config().to_dict().items() if key != "decoder"}
    (tmp_path / "bare" / "config.json").write_text(json.dumps(old))
    assert load(tmp_path / "bare").config.decoder is None
    shard = next((tmp_path / "full").glob("diffusion_decoder-*"))
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(MissingWeights):
        load(tmp_path / "full")


def test_the_stage_trains_the_decoder_alone(tmp_path: Path) -> None:
    star = toy_star()
    kept = {name: value.clone() for name, value in star.state_dict().items()}
    plan, trainer = plan_for(star.pixel_encoder, CONFIG, 0.01, 1e-2, 1)
    before = {name: value.clone() for name, value in trainer.sharpener.state_dict().items()}
    few = gathered([Pair(None, np.full((96, 96, 3), 200, np.uint8))] * 2)
    plan = dataclasses.replace(plan, batches=lambda seed: itertools.repeat(few), examine=lambda *_: {})
    run_stage(plan, trainer, tmp_path)
    assert all(torch.equal(star.state_dict()[name], value) for name, value in kept.items())
    assert any(not torch.equal(trainer.sharpener.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.requires_grad == trains_decoder(name) for name, parameter in trainer.named_parameters())
    folder = saved(tmp_path / "model", None, CONFIG)
    export_decoder(tmp_path, folder, torch.float32)
    own = load(folder).sharpener.state_dict()
    assert all(torch.equal(own[name], value) for name, value in trainer.sharpener.state_dict().items())


def test_codes_that_are_told_count_and_the_others_the_vq_tells() -> None:
    """Cut to the same part as the pictures; where the codes are those of the picture before, that is kept, whatever was to be drawn."""
    vq, (before, after) = toy_star().pixel_encoder, (levels(picture(seed)) for seed in (1, 2))
    codes = np.arange(128).reshape(2, 8, 8) % 24
    codes[1, 4:] = codes[0, 4:]
    told, part = Pair(before, after, codes), cropped(random.Random(0), Pair(before, after, codes), 3, 5, 32)
    at = np.argwhere(codes[0] == part.codes[0, 0, 0])
    assert part.codes.shape == (2, 3, 5) and any((codes[:, r : r + 3, c : c + 5] == part.codes).all() for r, c in at if r < 6 and c < 4)
    trainer = DecoderTrainer(vq, CONFIG).eval()
    draft, alone = (trainer.draft(gathered(pairs))[0] for pairs in ([told, Pair(before, after)], [Pair(before, after)]))
    assert torch.equal(draft.codes[1], alone.codes[0])
    assert torch.equal(draft.codes[0].flatten(1).T, vq.codes(torch.from_numpy(codes[1].ravel()[None]))[0])
    assert torch.equal(draft.kept[0, 0] > 0, torch.from_numpy(codes[0] == codes[1]))


def test_it_can_learn_a_batch() -> None:
    torch.manual_seed(0)
    rng = random.Random(1)
    pairs = (decoder_pairs.sheet_pair(rng, "train") for _ in itertools.count())
    trainer = DecoderTrainer(toy_star().pixel_encoder, CONFIG)
    optimizer, errors = torch.optim.AdamW(trainer.sharpener.parameters(), 4e-3), []
    batch = next(batches(pairs, 32, 9, seed=3))
    for _ in range(40):
        loss, numbers = trainer(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        errors.append(numbers["error"])
    assert sum(errors[-5:]) < 0.6 * sum(errors[:5])


def test_what_finishes_a_picture_takes_pixels_from_the_source_where_there_is_one() -> None:
    torch.manual_seed(0)
    finish = Finish(4)
    picture, drawn, source = torch.rand(3, 2, 3, 32, 32)
    stays = torch.full((2, 1, 32, 32), -1.0)
    assert 0 < (finish(picture, drawn, source, stays) - picture).abs().max() < 0.1
    finish.say.bias.data[0] = 30.0
    assert torch.allclose(finish(picture, drawn, source, stays), source, atol=1e-5)
    assert torch.allclose(finish(picture, drawn, source, 0 * stays), picture, atol=1e-5)


def test_training_goes_on_from_a_decoder_that_is_given() -> None:
    torch.manual_seed(1)
    learnt = DecoderTrainer(toy_star().pixel_encoder, CONFIG).sharpener
    _, trainer = plan_for(toy_star().pixel_encoder, CONFIG, 1.0, 0.01, 8, learnt)
    assert trainer.sharpener is learnt


@pytest.mark.parametrize("kind", decoder_pairs.SHARES)
def test_pairs_of_every_kind_are_shown_pictures_of_one_size_that_differ(kind: Callable[..., Any]) -> None:
    drawn = [kind(random.Random(number), "train") for number in range(6)]
    assert all(pair.target.dtype == np.uint8 and pair.target.shape[0] % decoder_pairs.SHOWN_PX == 0 for pair in drawn)
    edits = [pair for pair in drawn if pair.source is not None]
    assert all(pair.source.shape == pair.target.shape for pair in edits)
    assert not edits or any((pair.source != pair.target).any() for pair in edits)


def test_parts_hold_what_changes() -> None:
    rng = random.Random(2)
    pairs = (decoder_pairs.scene_pair(rng, "train") for _ in itertools.count())
    for batch in itertools.islice(batches(pairs, 32, 64, blank=0.0), 6):
        assert batch.edits.all() and batch.targets.shape[1] % 32 == batch.targets.shape[2] % 32 == 0
        changed = (batch.sources != batch.targets).flatten(1).any(1)
        assert changed.float().mean() >= 0.9  # a thing may be replaced by the same one


def test_in_training_some_drawn_codes_are_taken_for_near_ones_and_kept_ones_never() -> None:
    torch.manual_seed(0)
    trainer = DecoderTrainer(toy_star().pixel_encoder, CONFIG)
    ids = torch.randint(0, len(trainer.vq.quantize.embedding.weight), (4, 64))
    kept = torch.rand(ids.shape) < 0.5
    changed = torch.stack([trainer._mistaken(ids, kept) != ids for _ in range(30)])
    assert not changed[:, kept].any()
    assert 0.5 * MISTAKEN < changed[:, ~kept].float().mean() < 1.1 * MISTAKEN
    assert torch.equal(trainer.eval()._mistaken(ids, kept), ids)
