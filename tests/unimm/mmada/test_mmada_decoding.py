from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unimm.errors import BadInput
from unimm.mmada import bench
from unimm.mmada.backbone import Cache
from unimm.mmada.config import BackboneConfig, SpecialIds
from unimm.mmada.loading import load_backbone, load_vq, read_json
from unimm.mmada.prompts import Layout, split_thought
from unimm.mmada.schedule import SCHEDULES, masked_share, transfer_counts
from unimm.mmada.text import SeededNoise, WritePlan, settle, write
from unimm.mmada.train import (
    JointBatch,
    answer_lengths,
    answer_view,
    group_advantages,
    joint_loss,
    joint_losses,
    noise_words,
    unigrpo_loss,
)
from unimm.mmada.unmask import DrawPlan, Scene, SeededDraws, unmask

GOLDEN = Path(__file__).parents[2] / "golden" / "mmada"
CONFIG = BackboneConfig.from_dict(read_json(GOLDEN / "config.json"))
SPECIAL = SpecialIds.placed(CONFIG.eos, CONFIG.mask)
LAYOUT = Layout(SPECIAL, 12)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(GOLDEN, CONFIG)


def noise(seed: int = 0) -> SeededNoise:
    return SeededNoise(torch.Generator().manual_seed(seed))


def said(backbone, plan: WritePlan, seed: int = 0) -> torch.Tensor:
    *_, last = write(backbone, torch.tensor([[200, 17, 40, 93, 5]]), plan, noise(seed))
    return last.ids


def scene(words=(7, 8, 9), slots: int = CONFIG.slots, known: dict[int, int] | None = None) -> Scene:
    image = [known[i] + SPECIAL.offset if known and i in known else SPECIAL.mask for i in range(slots)]
    rows = [LAYOUT.drawing(list(one), image) for one in (words, ())]
    ids, mask = torch.tensor([row.ids for row in rows]), torch.tensor([row.mask for row in rows])
    return Scene(ids[:1], mask[:1], slots, ids[1:], mask[1:])


def drawn(backbone, plan: DrawPlan, of: Scene | None = None, seed: int = 0, **more) -> list:
    draws = SeededDraws(torch.Generator().manual_seed(seed))
    return list(unmask(backbone, of or scene(), SPECIAL.offset, plan, draws, **more))


def test_special_ids_keep_the_published_distances():
    published = SpecialIds.placed(126081, 126336)
    assert (published.bos, published.soi, published.eoi, published.t2i, published.mmu) == (126080, 126084, 126085, 126088, 126089)
    assert (published.ipad, published.r2i, published.start_header, published.eot, published.offset) == (
        126093, 126094, 126346, 126348, 126349)  # fmt: skip


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_caches_change_nothing_where_a_block_is_one_step(backbone, cache):
    plan = WritePlan(24, 8, 3, within_block=True)
    assert torch.equal(said(backbone, plan), said(backbone, replace(plan, cache=cache)))


@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
@pytest.mark.parametrize(
    "more", [{}, {"threshold": 0.1}, {"factor": 3.0}, {"guidance": 2.0}, {"temperature": 1.0}, {"remasking": "random"}]
)
def test_every_way_fills_every_column(backbone, cache, more):
    ids = said(backbone, WritePlan(16, 8, 8, cache=cache, within_block=True, **more))
    assert not (ids == CONFIG.mask).any()


def test_settled_tokens_never_change_and_blocks_come_in_order(backbone):
    before = None
    for step in write(backbone, torch.tensor([[200, 17, 40]]), WritePlan(24, 8, 12), noise()):
        if before is not None:
            known = before != CONFIG.mask
            assert torch.equal(step.ids[known], before[known])
        waits = (step.ids[0, 3:] == CONFIG.mask).nonzero()[:, 0].tolist()
        assert waits[step.block != 2 :] == [] or min(waits) >= step.block * 8
        before = step.ids


def test_barred_ids_are_never_written(backbone):
    barred = torch.ones(CONFIG.rows, dtype=torch.bool)
    barred[[3, 4, 5]] = False
    assert set(said(backbone, WritePlan(8, 8, 8, barred=barred))[0, 5:].tolist()) <= {3, 4, 5}


def test_a_full_block_costs_no_pass(backbone):
    steps = list(write(backbone, torch.tensor([[200, 17]]), WritePlan(4, 4, 9), noise()))
    assert len(steps) == 9 and sum(step.fed is not None for step in steps) == 4


def test_a_model_that_only_predicts_the_mask_does_not_hang(backbone):
    barred = torch.ones(CONFIG.rows, dtype=torch.bool)
    barred[CONFIG.mask] = False
    steps = list(write(backbone, torch.tensor([[200, 17]]), WritePlan(8, 4, 2, threshold=0.5, barred=barred), noise()))
    assert len(steps) <= 8


@pytest.mark.parametrize(("length", "block", "steps"), [(10, 4, 5), (8, 4, 3), (0, 4, 4), (8, 0, 4)])
def test_lengths_that_do_not_divide_are_refused(length, block, steps):
    with pytest.raises(BadInput, match="multiple"):
        WritePlan(length, block, steps)


def test_settle_by_factor_takes_the_leading_run():
    scores = torch.tensor([[0.9, 0.2, 0.8, 0.1, 0.05]]).double()
    eligible = torch.ones(1, 5, dtype=torch.bool)
    assert settle(scores, eligible, None, factor=1.0).tolist() == [[True, False, True, False, False]]
    assert settle(scores, eligible, None, threshold=0.95).tolist() == [[True, False, False, False, False]]
    all_but_one = torch.tensor([[0.99, 0.1]]).double()
    assert settle(all_but_one, eligible[:, :2], None, factor=0.5).all()


def test_the_lean_picture_loop_equals_the_plain_one(backbone):
    for plan in (DrawPlan(6, 3.5), DrawPlan(6, 3.5, greedy=True, temperature=0.0), DrawPlan(5, 1.0, schedule="linear")):
        lean, plain = drawn(backbone, plan), drawn(backbone, plan, easel=bench.PlainEasel)
        assert all(torch.equal(one.codes, two.codes) and torch.equal(one.slots, two.slots) for one, two in zip(lean, plain, strict=True))


@pytest.mark.parametrize("cache", ["prompt", "settled"])
def test_a_cache_refreshed_at_every_step_changes_nothing(backbone, cache):
    plan = DrawPlan(6, 2.0)
    assert torch.equal(drawn(backbone, plan)[-1].codes, drawn(backbone, replace(plan, cache=cache, refresh=1))[-1].codes)


@pytest.mark.parametrize("cache", ["prompt", "settled"])
def test_a_cached_picture_keeps_what_is_known(backbone, cache):
    known = {0: 5, 3: 60, 10: 1}
    last = drawn(backbone, DrawPlan(6, 2.0, cache=cache), scene(known=known))[-1]
    assert all(int(last.codes[0, slot]) == code for slot, code in known.items())
    assert last.codes.min() >= 0 and last.codes.max() < CONFIG.codes


def test_the_settled_cache_computes_less_and_less(backbone):
    steps = drawn(backbone, DrawPlan(8, 2.0, cache="settled"))
    sizes = [len(step.columns) for step in steps]
    assert sizes[0] == CONFIG.slots and sizes == sorted(sizes, reverse=True) and sizes[-1] < CONFIG.slots / 2


def test_visible_padding_is_another_result(backbone):
    plan = DrawPlan(4, 1.0, greedy=True, temperature=0.0)
    hidden, seen = drawn(backbone, plan), drawn(backbone, plan, mask_pads=False)
    assert (hidden[0].probabilities - seen[0].probabilities).abs().max() > 1e-4


def test_a_partial_pass_reads_the_cache_as_the_full_pass_does(backbone):
    ids, cache = torch.randint(0, 200, (2, 30), generator=torch.Generator().manual_seed(4)), Cache()
    with torch.inference_mode():
        whole = backbone(ids, cache=cache)
        columns = torch.tensor([3, 9, 17, 29])
        part = backbone(ids[:, columns], None, cache, columns)
    assert (part - whole[:, columns]).abs().max() < 1e-5


def test_grouped_heads_and_tied_tables_run():
    config = replace(CONFIG, kv_heads=2, tied=True)
    logits = bench.random_backbone(config)
    assert logits.logits(logits(torch.tensor([[1, 2, 3]]))).shape == (1, 3, CONFIG.rows)


def test_schedules_fall_and_counts_add_up():
    for name in SCHEDULES:
        values = masked_share(name, torch.linspace(0, 1, 11))
        assert (values.diff() <= 0).all()
    assert transfer_counts(torch.tensor([7, 0, 12]), 5).sum(1).tolist() == [7, 0, 12]
    with pytest.raises(BadInput, match="schedule"):
        DrawPlan(3, schedule="sideways")


def test_pictures_need_not_be_square():
    vq = load_vq(GOLDEN / "vq")
    with torch.inference_mode():
        codes = vq.encode(torch.rand(1, 3, 32, 96) * 2 - 1)
        assert vq.decode(codes, (2, 6)).shape == (1, 3, 32, 96)
    with pytest.raises(BadInput, match="multiples"):
        vq.encode(torch.zeros(1, 3, 30, 32))
    with pytest.raises(BadInput, match="grid"):
        vq.decode(codes)


def test_thought_and_answer_come_apart():
    assert split_thought("<think> a b </think> so 4") == ("a b", "so 4")
    assert split_thought("no tags") == ("", "no tags")
    assert split_thought("<think> never closed") == ("", "<think> never closed")


def joint_batch(backbone) -> tuple[torch.Tensor, JointBatch]:
    codes, text = [SPECIAL.offset + i for i in range(CONFIG.slots)], [7, 8, SPECIAL.end_header, 9, 10]
    labels = [code if i % 2 else -100 for i, code in enumerate(codes)]
    draw = LAYOUT.drawing(text, [SPECIAL.mask if i % 2 else code for i, code in enumerate(codes)], labels)
    say, look = LAYOUT.words_lesson(text, len(draw.ids)), LAYOUT.looking_lesson(text, codes)
    ids, prompt = torch.tensor([say.ids, look.ids]), torch.tensor([say.prompt, look.prompt])
    noised = noise_words(ids, prompt, torch.tensor([0.9, 0.9]), torch.full(ids.shape, 0.1), SPECIAL.mask)
    answers = answer_lengths(prompt)
    rate = noised.rate[:, None]
    batch = JointBatch(
        torch.cat([torch.tensor([draw.ids]), noised.ids]), torch.cat([torch.tensor([draw.labels]), ids]), (1, 1, 1), rate[:1], rate[1:],
        answers[1:], answers[:1],
    )  # fmt: skip
    return backbone.logits(backbone(batch.ids)), batch


def test_the_joint_loss_has_gradients_for_every_weight():
    backbone = bench.random_backbone(CONFIG).requires_grad_(True)
    logits, batch = joint_batch(backbone)
    losses = joint_losses(logits, batch, LAYOUT.text_length, SPECIAL.mask)
    joint_loss(losses, (1.0, 0.5, 0.5)).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in backbone.parameters())
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_words_of_the_prompt_are_never_noised():
    ids, prompt = torch.arange(12)[None], torch.tensor([[1] * 5 + [0] * 7])
    noised = noise_words(ids, prompt, torch.tensor([1.0]), torch.zeros(1, 12), SPECIAL.mask)
    assert torch.equal(noised.ids[0, :5], ids[0, :5]) and (noised.ids[0, 5:] == SPECIAL.mask).all()
    assert (noised.labels[0, :5] == -100).all() and answer_lengths(prompt).tolist() == [[7] * 12]


def test_group_advantages_leave_out_what_teaches_nothing():
    rows = group_advantages(torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    assert rows[0].sum().abs() < 1e-6 and rows[0, 0] > 0 > rows[0, 1] and not rows[1:].any()


def test_an_answer_view_masks_the_padding_and_scores_none_of_it():
    ids, answer = torch.tensor([[5, 6, 7, 8, 9, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1]])
    view, scored = answer_view(ids, answer, torch.tensor([0.5]), torch.tensor([[0.0, 0, 0, 0.9, 0, 0.9, 0, 0]]), mask=99, eos=1)
    assert view.tolist() == [[5, 6, 99, 8, 99, 1, 99, 99]] and scored.tolist() == [[0, 0, 1, 0, 1, 0, 0, 0]]


def test_the_policy_loss_is_clipped_and_pulls_towards_the_old():
    old, scored = torch.zeros(1, 4), torch.tensor([[True, True, False, True]])
    assert unigrpo_loss(old, old, scored, torch.tensor([2.0])).item() == pytest.approx(-2.0)
    far = torch.full((1, 4), 1.0)
    assert unigrpo_loss(far, old, scored, torch.tensor([1.0]), kl_weight=0.0).item() == pytest.approx(-1.2)
    assert unigrpo_loss(far, old, scored, torch.tensor([0.0]), kl_weight=1.0).item() == pytest.approx(0.36788, abs=1e-4)


def test_races_say_what_differs():
    rows = list(bench.races(repeat=1, size="small"))
    assert len(rows) == 6 and all(row.contract == "identical" or "differ" in row.contract for row in rows)
    assert next(row for row in rows if "exact" in row.what).contract == "identical"
    with pytest.raises(BadInput, match="size"):
        list(bench.races(size="vast"))
