"""Training: branches do not see each other, drawing stages leave the base alone, a cut run goes on."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from toy_star import toy_config, toy_star

from agents import lessons, vocabulary
from agents.tasks import maze, scene
from agents.tasks.compose_words import planned
from agents.tasks.figure import point_name
from agents.tasks.geometry_reader import read
from agents.tasks.maze_words import cell_name
from agents.teach import as_it_ships, export, name_places
from agents.teaching import compose as compose_lessons
from agents.teaching import geometry as geometry_lessons
from agents.teaching import maze as maze_lessons
from agents.teaching.begin import begin_with
from unimm.document import Document, Image, Text
from unimm.events import PartDone
from unimm.star.generate import StarModel
from unimm.star.heads import ChangeHead
from unimm.star.inspector import DAMAGED, ENDED, MARKED, MISSED, OVERDONE, SEES, WHOLE
from unimm.star.layout import SEEN, TEXT
from unimm.star.model import FAULT_WEIGHT, Star, is_base, pictures_to_pixels
from unimm.star.tokenizer import word_tokenizer
from unimm.star.vq import NOWHERE, VQModel
from unimm.train.codes import more_codes, nearest
from unimm.train.data import IGNORED, Batch, Branch, Lesson, Teacher
from unimm.train.drawing import DrawingTrainer, trains_drawing
from unimm.train.inspection import InspectionTrainer, trains_inspection
from unimm.train.loop import StagePlan, rate_at, run_stage
from unimm.train.reading import REACH, cut
from unimm.train.understanding import UnderstandingTrainer, redrawn
from unimm.train.vq import FREE_STEPS, VQDecoderTrainer, VQTrainer, drop_twins, trains_vq_decoder, vq_loss
from unimm.weights import load_sharded

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


def test_what_a_reply_is_told_is_read_and_not_taught() -> None:
    branch = Branch("maze next", "go right", alone=True, told="size 4 .")
    layout, labels, _, _ = TEACHER.lay_out(Lesson(lessons.NO_PICTURES, (), (branch,)))
    assert [labels[place] for place in sorted(labels)] == [*TEACHER.encode("go right"), TEACHER.special["<|im_end|>"]]
    assert layout.ids[min(labels)] == TEACHER.encode(".")[-1] and layout.ids[min(labels) - 1] == TEACHER.encode("4")[0]


def test_lessons_without_pictures_are_taught_beside_the_others() -> None:
    drawn = list(islice(lessons.understanding_lessons(1, {"geometry": 1.0, "compose": 1.0}), 40))
    groups = lessons.same_size(drawn)
    assert {len(lesson.pictures) == 0 for lesson in drawn} == {True, False}
    assert all(len({len(lesson.pictures) for lesson in alike}) == 1 for alike in groups)
    trainer = UnderstandingTrainer(toy_star(), named=lessons.named(TEACHER))
    for alike in groups:
        loss, numbers = trainer(TEACHER.batch(alike[:2]))
        loss.backward()
        assert loss.isfinite() and ("states" in numbers) == (len(alike[0].pictures) > 0)


def test_tokens_are_pulled_to_the_words_for_what_they_show() -> None:
    rng = random.Random(2)
    batch = TEACHER.batch(lessons.same_size([compose_lessons.understanding(rng, "train") for _ in range(6)])[0][:2])
    state = batch.states.clone()
    state[state > 0] += lessons.TASKS["compose"][1]
    batch, named = dataclasses.replace(batch, states=state), lessons.named(TEACHER)
    trainer = UnderstandingTrainer(toy_star(), named=named)
    _, first = trainer(batch)
    losses = fit(trainer, batch, 15)
    _, last = trainer(batch)
    assert losses[-1] < losses[0] and last["names"] < first["names"]
    assert "names" not in UnderstandingTrainer(toy_star())(batch)[1]


@torch.no_grad()
def test_pictures_to_be_judged_are_shown_as_they_would_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    star = toy_star()
    pixels = pictures_to_pixels(torch.from_numpy(next(lessons.picture_batches(4, SHARES, 4))))
    pixels[3] = pixels[2]
    monkeypatch.setattr("unimm.train.understanding.REDRAWN", 1.0)
    shown, vq = redrawn(star, pixels, 2), star.pixel_encoder
    assert torch.equal(shown[[0, 2, 3]], pixels[[0, 2, 3]])  # the first ones, and one in which nothing is new
    same = (vq.encode(pixels[:1]) == vq.encode(pixels[1:2])).view(8, 8)
    drawn = vq.decode(vq.encode(pixels[1:2]), (8, 8))[0].clamp(-1, 1)
    wanted = torch.where(same.repeat_interleave(16, 0).repeat_interleave(16, 1), pixels[0], drawn)
    torch.testing.assert_close(shown[1], wanted)
    monkeypatch.setattr("unimm.train.understanding.REDRAWN", 0.0)
    assert torch.equal(redrawn(star, pixels, 2), pixels)


def test_no_gradient_through_what_comes_before_the_codes_changes_nothing() -> None:
    rng = random.Random(9)
    made = [taught.drawing(rng, "train", True) for taught in (maze_lessons, compose_lessons) for _ in range(6)]
    trainer = DrawingTrainer(toy_star())
    whole = DrawingTrainer(trainer.star)
    whole.load_state_dict(trainer.state_dict())
    whole._understood = lambda batch, embeds, mask: whole.star.understand(embeds, batch.position, mask)
    for alike in lessons.same_size(made):
        batch, grads = TEACHER.batch(alike[:3]), []
        for one in (trainer, whole):
            one.zero_grad()
            torch.manual_seed(1)
            loss, _ = one(batch)
            loss.backward()
            trained = (parameter.grad for name, parameter in one.named_parameters() if trains_drawing(name))
            grads.append([gradient.clone() for gradient in trained if gradient is not None])
        assert len(grads[0]) == len(grads[1]) > 10
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-3)


def test_a_cell_goes_by_the_words_for_its_place() -> None:
    """``about`` points at these words, the last time they are said, and one head learns to look there."""
    rng = random.Random(15)
    drawn = [taught.drawing(rng, "train", True) for taught in (compose_lessons, geometry_lessons) for _ in range(8)]
    drawn = [lesson for lesson in drawn if lesson.about and not lesson.shared][:3]
    batch = TEACHER.batch(drawn)
    for row, lesson in enumerate(drawn):
        for cell, word, _ in lesson.about:
            places = [place for place in batch.about[row, cell].tolist() if place >= 0]
            assert TEACHER.encode(word)[0] in batch.ids[row, places]
            later = batch.ids[row, max(places) + 1 :][batch.kind[row, max(places) + 1 :] == TEXT]
            assert not set(batch.ids[row, places].tolist()) & set(later.tolist())
        changed = (lesson.pictures[0] != lesson.pictures[1]).reshape(8, 16, 8, 16, 3).any((1, 3, 4)).flatten()
        assert set(changed.nonzero()[0]) <= {cell for cell, *_ in lesson.about}
    easy = min((lesson for lesson in drawn if lesson.states is not None), key=lambda lesson: len(lesson.about))
    batch = TEACHER.batch([easy])  # a toy is too small to learn where the words of several lead
    state = batch.states.clone()
    state[0][state[0] > 0] += lessons.TASKS[easy.branches[0].ask.split()[0]][1]
    batch = dataclasses.replace(batch, states=state)
    torch.manual_seed(0)
    trainer = DrawingTrainer(toy_star(), named=lessons.named(TEACHER))
    _, first = trainer.eval()(batch)
    fit(trainer.train(), batch, 150)
    _, last = trainer.eval()(batch)
    assert first["heeded"] < last["heeded"] <= 1
    assert last["away"] < first["away"] and last["names"] < first["names"]
    forgotten = TEACHER.batch(drawn, [True] * len(drawn))
    assert (forgotten.about == -1).all() and "heeded" not in trainer(forgotten)[1]


def test_a_repair_goes_by_words_of_its_verdict() -> None:
    rng, repairs = random.Random(13), 0
    for taught in (compose_lessons, geometry_lessons):
        for lesson in (taught.drawing(rng, "train", True) for _ in range(60)):
            branch = lesson.branches[0]
            if branch.shows:
                wrong = (lesson.pictures[branch.source] != lesson.pictures[branch.target]).reshape(8, 16, 8, 16, 3).any((1, 3, 4)).flatten()
                assert {word for _, word, _ in lesson.about} <= set(branch.reply.split())
                assert wrong[[cell for cell, *_ in lesson.about]].all() or taught is compose_lessons
                repairs += bool(lesson.about)
    assert repairs > 10


def test_the_way_to_what_a_word_names_leads_there() -> None:
    rng = random.Random(14)
    for taught, name, middle in ((geometry_lessons, point_name, 0.0), (compose_lessons, cell_name, 0.5)):
        side = 1 if taught is geometry_lessons else 2  # tokens along the side of what has a name
        for lesson in (taught.drawing(rng, "train", True) for _ in range(20)):
            for cell, word, (rows, columns) in lesson.about:
                at = (cell // 8 + 0.5 + rows, cell % 8 + 0.5 + columns)
                assert name(tuple(int(value / side - middle) for value in at)) == word


def test_places_begin_as_the_words_for_them() -> None:
    star = toy_star()
    star.drawn_places.row.weight.data.zero_()
    star.drawn_places.column.weight.data.zero_()
    name_places(star, TEACHER)
    ids = torch.tensor([[TEACHER.encode(cell_name((row, column)))[0] for column in range(8)] for row in range(8)])
    words = star.words(ids).detach()
    places = star.drawn_places(torch.arange(64), 8).detach().reshape(8, 8, -1)
    along = torch.nn.functional.cosine_similarity(places.mean(0) - places.mean((0, 1)), words.mean(0) - words.mean((0, 1)), dim=-1)
    assert (along > 0.4).all()
    assert not star.drawn_places.row.weight[8:].any()


@torch.no_grad()
def test_codes_out_of_use_get_places_where_the_others_are_far() -> None:
    vq = VQModel(toy_config().vq).eval()
    table = vq.quantize.embedding.weight.normal_()
    table[10:] = NOWHERE
    before, pictures = table.clone(), next(lessons.picture_batches(3, SHARES, 8))
    z = rearrange(vq.pre_quant(pictures_to_pixels(torch.as_tensor(pictures))), "b c h w -> (b h w) c")
    missed = nearest(z, before[:10])[0]
    assert more_codes(vq, [pictures]) == len(table) - 10
    assert torch.equal(table[:10], before[:10])
    assert nearest(z, table)[0].mean() < 0.5 * missed.mean()
    assert len(vq.nearest(vq.pre_quant(pictures_to_pixels(torch.as_tensor(pictures)))).unique()) > 10
    assert more_codes(vq, [pictures]) == 0


def test_a_model_begins_with_one_of_fewer_codes(tmp_path: Path) -> None:
    config = toy_config()
    more = dataclasses.replace(config, vq=dataclasses.replace(config.vq, codebook_size=30))
    export(toy_star(), config, TEACHER, tmp_path)
    star = Star(more)
    assert set(begin_with(star, tmp_path)) <= {"base.lm_head.weight"}
    table = star.pixel_encoder.quantize.embedding.weight
    torch.testing.assert_close(table[:24], toy_star().pixel_encoder.quantize.embedding.weight, atol=1e-2, rtol=1e-2)
    assert (table[24:] == NOWHERE).all() and not star.pixel_output_head.weight[24:].any()


def test_what_is_to_be_done_weighs_more_than_how_it_is_said() -> None:
    words = Branch("maze next", "agent at c4 . go up to c3 .", alone=True)
    _, labels, weights, _ = TEACHER.lay_out(Lesson(lessons.NO_PICTURES, (), (words,)))
    weight = {label: weights[place] for place, label in labels.items()}
    agent, at, start, up, to, end = (weight[TEACHER.encode(word)[0]] for word in ("agent", "at", "c4", "up", "to", "c3"))
    assert agent == up == end > at == start == to


@torch.no_grad()
def test_a_code_looks_as_what_it_stands_for_and_a_change_is_added_to_it() -> None:
    torch.manual_seed(0)
    vq = VQModel(toy_config().vq).eval()
    vq.quantize.embedding.weight.normal_()
    pixels = torch.rand(40, 3, 32, 32) * 2 - 1
    head = ChangeHead(32, vq.config.codebook_size, vq.config.codebook_dim)
    head.set_looks(vq, pixels.split(10))
    ids = torch.cat([vq.encode(part).flatten() for part in pixels.split(10)])  # as the looks were taken: a tie must break alike
    patches = rearrange(pixels - 1, "b c (h p) (w q) -> (b h w) c p q", p=16, q=16)
    small = torch.nn.functional.avg_pool2d(patches, 2).flatten(1)
    code = ids.mode().values
    torch.testing.assert_close(head.looks[code, : small.shape[1]], small[ids == code].mean(0), atol=1e-4, rtol=1e-4)
    hidden = torch.zeros(len(ids), 32)
    assert torch.equal(head(hidden, ids).argmax(-1), ids), "without a change the source's code stays"
    seen = ids.unique()
    change = head.looks[seen[-1]] - head.looks[seen[0]]
    head.change.bias.copy_(change)
    assert head(hidden[:1], seen[:1]).argmax(-1) == seen[-1]
    head.change.bias.copy_(head.looks[seen[-1]])
    assert head(hidden[:1], None).argmax(-1) == seen[-1] == head(hidden[:1], -torch.ones(1, dtype=torch.long)).argmax(-1)


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


@torch.no_grad()
def test_a_model_doubts_the_cells_that_its_head_was_taught_to() -> None:
    trainer = UnderstandingTrainer(toy_star()).eval()
    whole = geometry_lessons.understanding(random.Random(9))
    judging = next(branch for branch in whole.branches if branch.shows and "judge" in branch.ask)
    batch = TEACHER.batch([dataclasses.replace(whole, branches=(judging,))])
    judged = (batch.kind[0] == SEEN) & (batch.slot[0] >= 64)
    wanted = trainer.star.doubts(trainer._hidden(batch)[1][0, judged])
    document = Document().user(*map(shown, whole.pictures), Text(judging.ask))
    model = StarModel(toy_star(), word_tokenizer(vocabulary.words()))
    said = next(event for event in model.stream(document, "text") if isinstance(event, PartDone))
    assert len(said.stats["doubts"]) == 64 and wanted.std() > 0.01
    torch.testing.assert_close(torch.tensor(said.stats["doubts"]), wanted, atol=2e-3, rtol=0)
    damaged, kinds = (rows[0] for rows in trainer.star.damage(*pictures_to_pixels(batch.pictures[0])[:, None]))
    assert damaged.std() > 0.01
    torch.testing.assert_close(torch.tensor(said.stats["damage"]), damaged, atol=1e-3, rtol=0)
    assert said.stats["damage_kinds"] == tuple(SEES[kind] for kind in kinds) and WHOLE not in kinds
    thought = next(event for event in model.stream(Document().user(shown(whole.pictures[0]), Text("geometry next")), "image")
                   if isinstance(event, PartDone))  # fmt: skip
    assert not {"doubts", "damage", "damage_kinds"} & thought.stats.keys()


def batch_pixels(batch: Batch) -> tuple[Tensor, Tensor]:
    """The pictures before and after, as the inspector takes them."""
    before, after = (pictures_to_pixels(batch.pictures[:, number]) for number in (0, 1))
    return before, after


def pairs(n: int, task: str = "geometry", seed: int = 3) -> Batch:
    return TEACHER.batch(list(islice(lessons.inspection_lessons(seed, {task: 1.0}), n)))


def test_the_inspector_learns_to_find_damage() -> None:
    torch.manual_seed(0)  # the weights must not hang on which tests ran before
    batch = pairs(8)
    assert {WHOLE, DAMAGED, MARKED, ENDED} <= set(batch.faults[:, 1].unique().tolist())
    trainer = InspectionTrainer(toy_star())
    losses, found = fit(trainer, batch, 120), trainer.found(batch)
    assert losses[-1] < 0.3 * losses[0] and found == {"passed": 1.0, "refused": 1.0, "placed": 1.0, "named": 1.0, "read": 1.0}


@pytest.mark.parametrize(("label", "wear", "chance"), [(WHOLE, 50, 0.015), (WHOLE, 100, 0.5), (DAMAGED, 150, 0.92), (DAMAGED, 40, 1.0)])
def test_how_likely_damage_is_grows_with_wear(label: int, wear: int, chance: float) -> None:
    """Damage that nobody finds in the wear is of another kind."""
    batch = pairs(2)
    batch = dataclasses.replace(batch, faults=torch.full_like(batch.faults, label), wear=torch.full_like(batch.wear, wear))
    star = toy_star()
    nn.init.zeros_(star.inspector.say.weight)
    trainer, optimizer = InspectionTrainer(star), torch.optim.Adam([star.inspector.say.bias], 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        trainer(batch)[0].backward()
        optimizer.step()
    torch.testing.assert_close(trainer.star.damage(*batch_pixels(batch))[0].mean().item(), chance, atol=0.02, rtol=0)


def test_wear_is_no_matter_where_it_is_not_known() -> None:
    batch = pairs(4)
    trainer = InspectionTrainer(toy_star())
    logits, seen = trainer.star.inspector(*batch_pixels(batch)), batch.faults[:, 1]
    weight = torch.tensor([1.0, *(FAULT_WEIGHT for _ in SEES[1:])])
    plain = F.cross_entropy(logits.flatten(0, 1), seen.flatten(), weight=weight, ignore_index=IGNORED)
    unknown = dataclasses.replace(batch, wear=torch.full_like(batch.wear, IGNORED))
    torch.testing.assert_close(trainer(unknown)[0], plain)


@torch.no_grad()
def test_what_is_new_is_no_fault_and_is_told_from_faults() -> None:
    """The network may be sure of a new mark; that says nothing against the picture. Of a cell in doubt the likeliest fault is told."""
    star, pictures = toy_star(), torch.zeros(1, 3, 128, 128)
    star.inspector.say.weight.zero_()
    for sees, chance, kind in (("marked", 0.0, MARKED), ("ended", 0.0, ENDED), ("missed", 1.0, MISSED), ("whole", 0.0, DAMAGED)):
        star.inspector.say.bias.copy_(torch.tensor([10.0 * (name == sees) + 0.1 * (name == "damaged") for name in SEES]))
        damage, kinds = star.damage(pictures, pictures)
        torch.testing.assert_close(damage, torch.full_like(damage, chance), atol=1e-3, rtol=0)
        assert (kinds == kind).all()


def test_the_inspector_is_told_of_every_cell_of_a_board_that_is_not_as_the_rules_have_it() -> None:
    """The rules' verdict and the labels come from different rules: one names a fault, the others compare with what is due."""
    rng, kinds = random.Random(8), set[int]()
    for lesson in (maze_lessons.inspection(rng) for _ in range(60)):
        boards = [maze.read(shown(picture)) for picture in lesson.pictures]
        n, at, side = boards[0].n, boards[0].offset, lesson.pictures.shape[1] // 16
        verdict = maze.judge(boards[0].board, maze.read(shown(lesson.pictures[1]), n).board)
        labels = lesson.faults[1].reshape(side, side)
        assert verdict.ok == (not labels.any()) and not labels[:at].any() and not labels[at + n :].any()
        if verdict.fault == "dead_end_missed":
            assert labels[at + verdict.where[0], at + verdict.where[1]] == MISSED
        kinds |= set(labels.ravel().tolist())
    assert kinds == {WHOLE, DAMAGED, MISSED, OVERDONE}


def test_the_inspector_is_told_of_damage_where_the_program_finds_some() -> None:
    """Lessons from sheets are labelled by what is in them; the pixels say the same of what is damaged, and of what is new."""
    rng, kinds = random.Random(6), set[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry_lessons, "SPOILT", 0.0)
        sheets = [geometry_lessons.inspection(rng) for _ in range(120)]
    for lesson in sheets:
        before, after = map(shown, lesson.pictures)
        start = read(before).sheet
        reading, labels = read(after, start.figure), lesson.faults[1].reshape(8, 8)
        kinds |= set(labels.ravel().tolist())
        if (labels == MISSED).any():  # a line may have hidden a side that the program reads the figure without
            continue
        assert bool(reading.unclear) == (labels == DAMAGED).any()
        if not reading.unclear:
            marked = {(r + 1, c + 1) for r, c in np.argwhere(labels == MARKED)}
            assert marked <= reading.sheet.marks - start.marks
            assert (labels == ENDED).any() == bool(reading.sheet.lines - start.lines)
    assert kinds == {WHOLE, DAMAGED, MISSED, MARKED, ENDED}


def test_the_inspector_is_trained_by_no_other_stage() -> None:
    names = [f"star.{name}" for name in toy_star().state_dict() if name.startswith("inspector.")]
    assert names and all(trains_inspection(name) and not trains_drawing(name) for name in names)
    assert not any(is_base(name.removeprefix("star.")) for name in names)
    assert not any(trains_inspection(name) for name in ("star.fault_head.weight", "star.stack.layers.0.mlp.up_proj.weight"))
    with pytest.raises(ValueError, match="no inspector"):
        InspectionTrainer(Star(dataclasses.replace(toy_config(), inspector=0)))


@pytest.mark.parametrize("task", SHARES)
def test_base_and_stack_can_overfit_a_batch(task: str) -> None:
    torch.manual_seed(0)  # the weights must not hang on which tests ran before
    rng, taught = random.Random(4), lessons.TASKS[task][0]
    questions = TEACHER.batch(lessons.same_size([taught.understanding(rng, "train") for _ in range(4)])[0][:2])
    pictures = TEACHER.batch(lessons.same_size([taught.drawing(rng, "train", True) for _ in range(4)])[0][:2])
    assert falling(fit(UnderstandingTrainer(toy_star()), questions, 40))
    assert falling(fit(DrawingTrainer(toy_star()), pictures, 15))


def test_the_vq_can_overfit_a_batch() -> None:
    torch.manual_seed(0)  # the weights must not hang on which tests ran before
    trainer = VQTrainer(VQModel(toy_config().vq))
    trainer.steps += FREE_STEPS - 60  # 60 steps as a plain autoencoder, then 20 with codes
    assert falling(fit(trainer, torch.from_numpy(next(lessons.picture_batches(0, {**SHARES, "doodle": 1.0}, 4))), 80, vq_loss))
    assert (trainer.idle < 30).float().mean() > 0.5


def test_the_decoder_goes_on_alone_and_leaves_the_codes() -> None:
    trainer = VQDecoderTrainer(VQModel(toy_config().vq))
    assert {name.split(".")[1] for name, _ in trainer.named_parameters() if trains_vq_decoder(name)} == {"decoder", "post_quant_conv"}
    for name, parameter in trainer.named_parameters():
        parameter.requires_grad_(trains_vq_decoder(name))
    pictures = torch.from_numpy(next(lessons.picture_batches(0, {"compose": 1.0}, 4)))
    before = trainer.vq.encode(pictures_to_pixels(pictures))
    losses = fit(trainer, pictures, 40, vq_loss)
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(trainer.vq.encode(pictures_to_pixels(pictures)), before)


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


def test_a_step_adds_up_its_parts(tmp_path: Path) -> None:
    """Two halves make the step that the whole would make."""
    whole, halves = Line(), Line()
    rows = torch.tensor([[1.0, 2.0], [3.0, -1.0]])

    def train(module: Line, parts: int, folder: str) -> None:
        def batches(_: int) -> Iterator[torch.Tensor]:
            while True:
                yield from rows.chunk(parts)

        (tmp_path / folder).mkdir()
        plan = StagePlan("line", 1e-9, 1e-3, lambda module, batch: module(batch), batches, lambda *_: {}, parts=parts)
        run_stage(plan, module, tmp_path / folder)

    train(whole, 1, "whole")
    train(halves, 2, "halves")
    torch.testing.assert_close(halves.weight, whole.weight)
    assert not torch.equal(whole.weight, Line().weight)


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


@torch.no_grad()
def test_where_a_line_cuts_a_cell_is_where_its_points_lie_in_it() -> None:
    """Against points walked along the line, with lines that run along the squares, through corners, and past the cell."""
    rng = torch.Generator().manual_seed(3)
    p, q = (torch.randint(-4, 5, (400, 2), generator=rng) + 0.5 for _ in range(2))
    meets, ends = cut(p, q)
    along = torch.linspace(0, 1, 4001)[:, None, None]
    walked = p + along * (q - p)
    inside = (walked.abs() <= REACH + 1e-6).all(-1)
    assert torch.equal(meets, inside.any(0)) and 20 < meets.sum() < 380
    for number in meets.nonzero()[:, 0].tolist():
        path = walked[inside[:, number], number]
        torch.testing.assert_close(ends[number], torch.cat([path[0], path[-1]]), atol=0.005, rtol=0)


def test_the_drawing_stages_see_the_frozen_parts_as_they_ship(tmp_path: Path) -> None:
    star = toy_star()
    as_it_ships(star)
    export(star, toy_config(), TEACHER, tmp_path, packed=True)
    shipped = load_sharded(tmp_path)
    frozen = {name for name in shipped if is_base(name) or name.startswith("pixel_encoder.")}
    assert frozen and all(torch.equal(shipped[name].float(), star.state_dict()[name]) for name in frozen)
