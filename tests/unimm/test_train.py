"""Training: branches do not see each other, drawing stages leave the base alone, a cut run goes on."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_star import toy_config, toy_star

from agents import lessons, vocabulary
from agents.tasks import maze, scene
from agents.tasks.compose_words import planned
from agents.teaching import compose as compose_lessons
from agents.teaching import maze as maze_lessons
from unimm.document import Image
from unimm.star.model import is_base
from unimm.star.tokenizer import word_tokenizer
from unimm.star.vq import VQModel
from unimm.train.data import Batch, Branch, Lesson, Teacher
from unimm.train.drawing import DrawingTrainer, trains_drawing
from unimm.train.loop import StagePlan, rate_at, run_stage
from unimm.train.understanding import UnderstandingTrainer
from unimm.train.vq import FREE_STEPS, VQTrainer, drop_twins, vq_loss

TEACHER = Teacher(toy_config(), word_tokenizer(vocabulary.words()))


def shown(pixels: np.ndarray) -> Image:
    """A lesson's picture as a document has it: twice as large."""
    pixels = pixels.repeat(2, 0).repeat(2, 1)
    return Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())


def lesson() -> Lesson:
    return maze_lessons.understanding(random.Random(2), "train")


SHARES = {"maze": 1.0, "compose": 1.0, "geometry": 1.0}


def reply_logits(trainer: UnderstandingTrainer, lesson: Lesson, branch: int) -> torch.Tensor:
    """What the base says at the reply of one branch."""
    batch = TEACHER.batch([lesson])
    number = branch if branch in batch.segment[0] else -branch
    here = (batch.segment[0] == number) & (batch.labels[0] >= 0)
    return trainer.star.word_logits(trainer._hidden(batch)[1])[0, here]


@torch.no_grad()
def test_a_branch_reads_as_if_it_were_alone() -> None:
    trainer = UnderstandingTrainer(toy_star()).eval()
    whole = lesson()
    assert len(whole.branches) >= 3
    for number, branch in enumerate(whole.branches, 1):
        alone = dataclasses.replace(whole, branches=(branch,), shared=() if branch.alone else whole.shared)
        torch.testing.assert_close(reply_logits(trainer, whole, number), reply_logits(trainer, alone, 1), atol=1e-4, rtol=1e-4)


def test_what_is_taught_is_the_reply_and_its_end() -> None:
    branch = Branch("maze next", "go right", draws=True)
    layout, labels, weights, _ = TEACHER.lay_out(Lesson(lesson().pictures[:1], (0,), (branch,)))
    spoken = [labels[place] for place in sorted(labels)]
    assert spoken == [*TEACHER.encode("go right"), TEACHER.special["<|vision_start|>"]]
    assert layout.ids[min(labels)] == TEACHER.special["<|im_end|>"]
    assert set(weights) == set(labels)


@pytest.mark.parametrize("editing", [False, True], ids=["drawing", "unified"])
def test_drawing_stages_leave_every_understanding_logit(editing: bool, tmp_path: Path) -> None:
    star = toy_star()
    judge = UnderstandingTrainer(star).eval()
    question = TEACHER.batch([lesson()])

    def logits() -> torch.Tensor:
        with torch.no_grad():
            return star.word_logits(judge._hidden(question)[1])

    before, stack = logits(), star.stack.layers[0].mlp.up_proj.weight.clone()
    kept = {name: value.clone() for name, value in star.state_dict().items() if is_base(name) or name.startswith("pixel_encoder.")}
    batches = lessons.batches(lessons.drawing_lessons(0, SHARES, editing), TEACHER, size=2)
    trainer = DrawingTrainer(star)
    plan = StagePlan("drawing", 0.01, 1e-2, lambda trainer, batch: trainer(batch), lambda seed: batches, lambda *_: {}, trains_drawing)
    run_stage(plan, trainer, tmp_path)
    assert torch.equal(logits(), before)
    assert all(torch.equal(star.state_dict()[name], value) for name, value in kept.items())
    assert not torch.equal(star.stack.layers[0].mlp.up_proj.weight, stack)


def falling(losses: list[float]) -> bool:
    return losses[-1] < 0.6 * losses[0]


def fit(trainer: torch.nn.Module, batch: Batch | torch.Tensor, steps: int, loss=lambda trainer, batch: trainer(batch)) -> list[float]:
    optimizer, losses = torch.optim.AdamW(trainer.parameters(), 3e-3), []
    for _ in range(steps):
        value, _ = loss(trainer, batch)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(value.item())
    return losses


@pytest.mark.parametrize("task", SHARES)
def test_base_and_stack_can_overfit_a_batch(task: str) -> None:
    rng, taught = random.Random(4), lessons.TASKS[task][0]
    questions = TEACHER.batch(lessons.same_size([taught.understanding(rng, "train") for _ in range(4)])[0][:2])
    pictures = TEACHER.batch(lessons.same_size([taught.drawing(rng, "train", True) for _ in range(4)])[0][:2])
    assert falling(fit(UnderstandingTrainer(toy_star()), questions, 15))
    assert falling(fit(DrawingTrainer(toy_star()), pictures, 15))


def test_the_vq_can_overfit_a_batch() -> None:
    trainer = VQTrainer(VQModel(toy_config().vq))
    trainer.steps += FREE_STEPS - 60  # 60 steps as a plain autoencoder, then 20 with codes
    assert falling(fit(trainer, torch.from_numpy(next(lessons.picture_batches(0, {**SHARES, "doodle": 1.0}, 4))), 80, vq_loss))
    assert (trainer.idle < 30).float().mean() > 0.5


def test_of_twin_codes_one_stays_in_use() -> None:
    vq = VQModel(toy_config().vq)
    table = vq.quantize.embedding.weight.detach()
    table[5], table[9] = table[2] + 1e-3, table[2] - 1e-3
    z = table[[2, 5, 9, 7]].T[None, :, :, None].clone()
    assert drop_twins(table) == 2
    assert vq.nearest(z)[0].tolist() == [2, 2, 2, 7]
    assert drop_twins(table) == 0


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return (x @ self.weight).square().mean(), {"seen": float(x[0, 0])}


def test_a_cut_run_goes_on_where_it_was(tmp_path: Path) -> None:
    seeds: list[int] = []

    def batches(seed: int) -> Iterator[torch.Tensor]:
        seeds.append(seed)
        while True:
            yield torch.ones(1, 2)

    def plan(minutes: float) -> StagePlan:
        return StagePlan("line", minutes, 1e-3, lambda module, batch: module(batch), batches, lambda *_: {"held": 1.0})

    first = Line()
    assert run_stage(plan(0.005), first, tmp_path, seed=5) == {"held": 1.0}
    saved = torch.load(tmp_path / "line.pt", weights_only=True)
    second = Line()
    run_stage(plan(0.005), second, tmp_path, resume=True, seed=5)  # the budget is spent: nothing is trained
    assert torch.equal(second.weight, first.weight)
    run_stage(plan(0.01), second, tmp_path, resume=True, seed=5)
    further = torch.load(tmp_path / "line.pt", weights_only=True)
    assert further["step"] > saved["step"] and further["spent"] > saved["spent"]
    assert seeds[0] == 5 and len(set(seeds)) == 2  # a resumed run does not see the same batches again
    assert second.weight.abs().sum().item() < first.weight.abs().sum().item()


def test_learning_rate_warms_up_and_falls() -> None:
    assert rate_at(0, 0, 100) == pytest.approx(0.01)
    assert rate_at(0, 200, 100) == 1
    assert rate_at(1, 200, 100) == rate_at(2, 200, 100) == pytest.approx(0.05)


def test_a_lesson_draws_what_its_thought_says_right_or_not() -> None:
    rng, free = random.Random(6), 0
    for _ in range(150):
        lesson = maze_lessons.drawing(rng, "train", True)
        branch = lesson.branches[0]
        if branch.ask != maze.INSTRUCTIONS["next"] or maze.done(branch.reply):
            continue
        before, after = (maze.read(shown(lesson.pictures[number])).board for number in (branch.source, branch.target))
        move = maze.parse_move(branch.reply)
        greyed = {cell for cell in map(maze.cell_at, branch.reply.split()) if cell} if move is None else set()
        assert after == (maze.step(before, move) if move else before.put(dict.fromkeys(greyed, maze.GREY)))
        free += after != maze.next_board(before)
    assert free > 20


def test_a_scene_is_drawn_as_its_plan_says() -> None:
    rng, edits = random.Random(7), 0
    for _ in range(200):
        lesson = compose_lessons.drawing(rng, "train", True)
        branch = lesson.branches[0]
        before, after = (scene.read(shown(lesson.pictures[number])).scene for number in (branch.source, branch.target))
        if branch.reply:
            assert planned(before, branch.reply) == after
            edits += bool(before.things)
    assert 60 < edits < 180
