"""The alignment term in training: off it is not there at all, on it pulls every layer's interaction to its target."""

from __future__ import annotations

import random

import pytest
import torch
from toy_star import toy_config, toy_star

from agents import lessons, vocabulary
from agents.teaching import maze
from unimm.errors import BadInput
from unimm.star.tokenizer import word_tokenizer
from unimm.train.alignment import TARGETS, Alignment, alignment_loss, drawing_regions, understanding_regions
from unimm.train.data import Batch, Teacher
from unimm.train.drawing import DrawingTrainer, trains_drawing
from unimm.train.understanding import UnderstandingTrainer

TEACHER = Teacher(toy_config(), word_tokenizer(vocabulary.words()))


def questions() -> Batch:
    rng = random.Random(4)
    return TEACHER.batch(max(lessons.same_size(maze.understanding(rng, "train") for _ in range(12)), key=len)[:2])


def pictures(forget: tuple[bool, ...] = (False, False, True)) -> Batch:
    rng = random.Random(4)
    return TEACHER.batch(max(lessons.same_size(maze.drawing(rng, "train", True) for _ in range(12)), key=len)[: len(forget)], forget)


def test_rows_and_columns_of_a_drawing() -> None:
    batch = pictures()
    regions = drawing_regions(batch)
    assert regions.queries.sum(1).tolist() == [batch.pictures.shape[2] // 16 * batch.columns - 1] * 3
    assert not (regions.queries & regions.keys).any() and regions.keys.any(1).all()
    assert regions.on.tolist() == [True, True, False]  # padded-out words do not count


def test_rows_and_columns_of_a_reply() -> None:
    batch = questions()
    regions = understanding_regions(batch)
    held = batch.ids[regions.queries]
    spoken = (batch.labels >= 0) & (batch.segment >= 0)
    assert torch.equal(held, batch.labels[spoken])  # the rows hold what the places before them were to say
    assert regions.on.all() and not (regions.queries & regions.keys).any()


@pytest.mark.parametrize("kind", ["image", "text"])
def test_off_is_bit_identical_and_on_adds_the_weighted_term(kind: str) -> None:
    make, batch = (DrawingTrainer, pictures()) if kind == "image" else (UnderstandingTrainer, questions())

    def run(alignment: Alignment | None) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
        star = toy_star().train().requires_grad_(True)
        torch.manual_seed(0)
        trainer = make(star, alignment)
        loss, numbers = trainer(batch)
        loss.backward()
        hooks = [hook.__name__ for module in trainer.modules() for hook in module._forward_hooks.values() if hasattr(hook, "__name__")]
        assert "hand_over" not in hooks
        return loss.item(), numbers, {name: value.grad.clone() for name, value in trainer.named_parameters() if value.grad is not None}

    loss, numbers, grads = run(None)
    again, _, same = run(None)
    nought, numbers_nought, grads_nought = run(Alignment(weights=((kind, 0.0),)))
    weighted, numbers_on, grads_on = run(Alignment())
    assert "aia" not in numbers and loss == again == pytest.approx(nought, rel=1e-5)
    assert all(torch.equal(grads[name], same[name]) for name in grads)
    trained = {name: grad for name, grad in grads.items() if kind == "text" or trains_drawing(name)}
    for name, grad in trained.items():  # up to rounding: where maps are measured, the base reads a drawing in one piece
        torch.testing.assert_close(grads_nought[name], grad, atol=1e-4, rtol=1e-3)
    assert numbers_on["aia"] == numbers_nought["aia"] > 0 and 0 < numbers_on["mass"] < 1
    assert weighted == pytest.approx(loss + {"image": 5, "text": 10}[kind] * numbers_on["aia"])
    part = "star.stack" if kind == "image" else "language_model"
    moved = [name for name in grads if part in name and name.endswith("q_proj.weight") and not torch.equal(grads[name], grads_on[name])]
    assert moved


def test_a_heavy_term_brings_interaction_to_its_targets() -> None:
    torch.manual_seed(0)
    batch, star = pictures((False, False)), toy_star().requires_grad_(True)
    trainer = DrawingTrainer(star, Alignment(weights=(("image", 1e4),)))
    optimizer, terms = torch.optim.AdamW(star.parameters(), 3e-3), []
    for _ in range(30):
        loss, numbers = trainer(batch)
        terms.append(numbers["aia"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert terms[-1] < 0.5 * terms[0]


def test_switched_off_samples_count_in_the_mean_only() -> None:
    mass = torch.tensor([[0.1, 0.9], [0.2, 0.9]])
    target, width = torch.tensor([0.4, 0.4]), torch.tensor([0.2, 0.1])
    by_hand = ((0.2 * 0.3 - 0.02) + (0.1 * 0.2 - 0.005)) / 4
    assert float(alignment_loss(mass, target, width, torch.tensor([1, 0]))) == pytest.approx(by_hand)
    assert float(alignment_loss(mass, target, width)) > by_hand


def test_tables_by_name() -> None:
    assert set(TARGETS) == {"code", "paper_janus_pro", "paper_emu3"}
    with pytest.raises(BadInput, match="paper_emu3"):
        Alignment("curves")
