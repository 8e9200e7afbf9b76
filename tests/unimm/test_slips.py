"""Pictures drawn in one pass with some tokens sampled: kept in the form that lessons are made from."""

from __future__ import annotations

import random
from itertools import count, islice, product
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_star import toy_model

from agents import vocabulary
from agents.scripted import maze_model
from agents.tasks import TASKS
from agents.tasks.maze import GREY
from agents.teaching import own, slips
from unimm.star.config import CONFIGS
from unimm.star.inspector import MISSED, OVERDONE, WHOLE
from unimm.star.tokenizer import word_tokenizer
from unimm.train.data import IGNORED, Teacher


def collected(file: Path, seed: int = 5, task: str = "geometry") -> str:
    ticks = count()
    slips.collect(toy_model(), TASKS[task], "toy", seed, 0.2, file, clock=lambda: float(next(ticks)))
    return file.read_text()


def test_what_is_kept_can_be_taught_from_and_a_seed_gives_the_same_pictures(tmp_path: Path) -> None:
    rows = collected(tmp_path / "one.jsonl")
    assert rows == collected(tmp_path / "two.jsonl") != collected(tmp_path / "other.jsonl", seed=6)
    found = own.read([tmp_path / "one.jsonl"], 0.5)
    wrong = found.wrong["geometry"]
    assert wrong and all(row["words"] and "wrong ." in row["words"] for row in wrong)
    teacher = Teacher(CONFIGS["tiny"], word_tokenizer(vocabulary.words()))
    assert len(teacher.batch([own.judged(row) for row in wrong[:2]]).ids) == 2


def test_drawings_to_inspect_show_where_they_are_damaged(tmp_path: Path) -> None:
    file, seen = tmp_path / "own.jsonl", set()
    collected(file)
    for row, seed in product((row for row in own.lines(file) if "after" in row), range(4)):
        lesson, drawn, right = own.inspected(random.Random(seed), row), own.pixels(row["after"]), row["repaired"]
        before, picture = lesson.pictures
        mended = (picture != drawn).any(-1).reshape(8, 16, 8, 16).any((1, 3))
        damaged = {(r + 1, c + 1) for r, c in np.argwhere(lesson.faults[1].reshape(8, 8))}
        assert not lesson.branches[0].ask and (before == own.pixels(row["before"])).all() and (lesson.faults[0] == IGNORED).all()
        if row["fault"] not in ("unreadable", "figure_changed"):
            assert not mended.any() and not damaged
        elif mended.any():
            assert row["fault"] == "unreadable" and damaged <= set(map(tuple, row["places"]))
            assert not any(mended[r - 1, c - 1] for r, c in damaged)
            at = mended.repeat(16, 0).repeat(16, 1)
            assert (picture[at] == own.pixels(right)[at]).all()
        else:
            assert damaged == set(map(tuple, row["places"]))
        seen.add((row["ok"], bool(mended.any()), bool(damaged)))
    assert {(False, False, True), (False, True, True)} <= seen


def test_slips_in_a_maze_show_every_cell_that_is_wrong(tmp_path: Path) -> None:
    """Boards stand on two sizes of canvas; what is read of a wrong one differs from the right one where it is said to be wrong."""
    file, sides = tmp_path / "own.jsonl", set[int]()
    for seed in (5, 0):
        collected(file, seed, "maze")
    for row in own.lines(file):
        n = len(row["problem"]["rows"])
        lesson = own.inspected(random.Random(0), row | {"fault": row["fault"] and "no_agent"})  # so that nothing is put right
        drawn, due = (own.maze_kinds(picture, n) for picture in (lesson.pictures[1], own.pixels(row["repaired"] or row["after"])))
        seen = lesson.faults[1].reshape(drawn.shape)
        assert seen.any() != row["ok"] and (seen[drawn != due] != WHOLE).all()
        assert ((seen == MISSED) <= (due == GREY)).all() and ((seen == OVERDONE) <= (drawn == GREY)).all()
        sides.add(len(drawn))
    assert sides == {8, 12}


def test_the_likeliest_codes_are_drawn_where_nothing_slips(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the source's codes for the likeliest, the picture is the source bit for bit, and not what the thought asks for."""
    model = toy_model()
    monkeypatch.setattr(slips, "SAMPLED", {"geometry": (0.0,)})
    monkeypatch.setattr(slips.DrawingTrainer, "logits", lambda self, batch: _sure_of_the_source(model, batch))
    for drawing in islice(slips.slips(model, TASKS["geometry"], 1), 4):
        assert drawing.after == drawing.before
        assert "mark" in drawing.thought or "connect" in drawing.thought
        assert not TASKS["geometry"].check(drawing.problem, drawing.before, drawing.after).ok


def _sure_of_the_source(model, batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pixels = batch.pictures[:, 0].permute(0, 3, 1, 2).float() / 127.5 - 1
    codes = model.star.pixel_encoder.encode(pixels)
    logits = torch.nn.functional.one_hot(codes, model.config.vq.codebook_size).float()
    return logits, codes, codes


def test_sampling_stays_among_the_likeliest() -> None:
    logits = torch.full((64, 300), -50.0)
    logits[:, 7], logits[:, 9] = 5.0, 4.0
    drawn = slips._sampled(logits, (1.0,), random.Random(0), torch.Generator().manual_seed(0))
    assert drawn.shape == (64,) and set(drawn.tolist()) <= {7, 9}


def test_a_model_without_a_stack_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert slips.main(["--out", str(tmp_path / "x.jsonl")], load=lambda name: maze_model()) == 2
    assert "not of the embedded kind" in capsys.readouterr().err and not (tmp_path / "x.jsonl").exists()
