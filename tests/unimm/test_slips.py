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
from agents.tasks import TASKS, maze
from agents.tasks.geometry_reader import read as read_figure
from agents.tasks.maze import GREY
from agents.teaching import own, slips
from agents.teaching.runs import run_pictures
from unimm.document import Image
from unimm.star.config import CONFIGS
from unimm.star.inspector import DAMAGED, ENDED, MISSED, OVERDONE, SEES, WHOLE
from unimm.star.tokenizer import word_tokenizer
from unimm.train.data import IGNORED, Teacher


def collected(file: Path, seed: int = 5, task: str = "geometry") -> str:
    ticks = count()
    slips.collect(slips.slips(toy_model(), TASKS[task], seed), TASKS[task], "toy", 0.2, file, clock=lambda: float(next(ticks)))
    return file.read_text()


def test_what_is_kept_can_be_taught_from_and_a_seed_gives_the_same_pictures(tmp_path: Path) -> None:
    rows = collected(tmp_path / "one.jsonl")
    assert rows == collected(tmp_path / "two.jsonl") != collected(tmp_path / "other.jsonl", seed=6)
    found = own.read([tmp_path / "one.jsonl"], 0.5)
    wrong = found.wrong["geometry"]
    assert wrong and all(row["words"] and "wrong ." in row["words"] for row in wrong)
    teacher = Teacher(CONFIGS["tiny"], word_tokenizer(vocabulary.words()))
    assert len(teacher.batch([own.judged(row) for row in wrong[:2]]).ids) == 2


def test_drawings_to_inspect_show_what_there_is_to_see(tmp_path: Path) -> None:
    file, kinds, inherited = tmp_path / "own.jsonl", set(), 0
    collected(file)
    for row, seed in product((row for row in own.lines(file) if "after" in row), range(8)):
        lesson, drawn, right = own.inspected(random.Random(seed), row), own.pixels(row["after"]), row["repaired"]
        before, picture = lesson.pictures
        mended, old = (tokens_apart(*both) for both in ((picture, drawn), (before, own.pixels(row["before"]))))
        seen = lesson.faults[1].reshape(8, 8)
        assert not lesson.branches[0].ask and (lesson.faults[0] == IGNORED).all()
        assert (seen[old] == DAMAGED).all() and not (tokens_apart(before, picture) & old).any()
        inherited += old.any()
        assert (seen[mended] == IGNORED).all() and (row["fault"] == "unreadable" or not mended.any())
        if mended.any():
            at = mended.repeat(16, 0).repeat(16, 1)
            assert (picture[at] == own.pixels(right)[at]).all()
        for (r, c), kind in np.ndenumerate(seen):
            named = [SEES.index(name) for name, points in row["sights"].items() if [r + 1, c + 1] in points] or [WHOLE]
            assert kind == IGNORED or (kind in named and (DAMAGED not in named or kind == DAMAGED))
        kinds |= set(seen[seen != IGNORED].tolist())
    assert kinds >= {WHOLE, DAMAGED, ENDED} and inherited


def tokens_apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which tokens of two pictures differ, [8, 8]."""
    return (one != other).any(-1).reshape(8, 16, 8, 16).any((1, 3))


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


def test_the_decoder_learns_from_codes_that_slip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes of a toy that knows nothing are most of them wrong; the picture that they were to become is right all the same."""
    monkeypatch.setattr(slips, "DRAWN", {"geometry": 1.0})
    model = toy_model()
    for found in islice(slips.drawn_pairs(model, 1), 3):
        source, right = (encoded(model, shown) for shown in (found.source, found.target))
        assert found.codes.shape == (2, 8, 8) and (found.codes[0] == source).all() and (found.codes[1] != right).any()
        for shown in (found.source, found.target):
            reading = read_figure(Image(256, 256, shown.tobytes()))
            assert reading.sheet and not reading.unclear


def encoded(model, shown: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(own.canvas(Image(*shown.shape[1::-1], shown.tobytes()))).permute(2, 0, 1)[None].float() / 127.5 - 1
    return model.star.pixel_encoder.encode(pixels).reshape(8, 8).numpy()


def test_sampling_stays_among_the_likeliest() -> None:
    logits = torch.full((64, 300), -50.0)
    logits[:, 7], logits[:, 9] = 5.0, 4.0
    drawn = slips._sampled(logits, (1.0,), random.Random(0), torch.Generator().manual_seed(0))
    assert drawn.shape == (64,) and set(drawn.tolist()) <= {7, 9}


def test_a_model_without_a_stack_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert slips.main(["--out", str(tmp_path / "x.jsonl")], load=lambda name: maze_model()) == 2
    assert "not of the embedded kind" in capsys.readouterr().err and not (tmp_path / "x.jsonl").exists()


def test_pictures_of_whole_runs_are_kept_with_what_was_due(tmp_path: Path) -> None:
    """Every first drawing goes wrong and is put right: of both it is known what was due, and a picture counts once."""
    task = TASKS["maze"]
    model = maze_model(draw=lambda before, options: maze.corrupt(random.Random(1), before, maze.next_board(before)))
    found = list(islice(run_pictures(model, task, 3, [4]), 40))
    assert len({(drawing.problem.id, drawing.before, drawing.after) for drawing in found}) == len(found)
    for drawing in found:
        assert drawing.gold == maze.render(maze.next_board(maze.read(drawing.before).board))
    tally = slips.collect(found, task, "runs", 1.0, tmp_path / "own.jsonl")
    assert 10 < tally.wrong < 30
    wrong = [row for row in own.lines(tmp_path / "own.jsonl") if row.get("ok") is False]
    assert len(wrong) == tally.wrong and all(row["repaired"] and row["wrong"] for row in wrong)


def test_runs_of_a_group_that_there_is_not_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--task", "maze", "--out", str(tmp_path / "x.jsonl"), "--runs"]
    assert slips.main([*asked, "99"], load=lambda name: maze_model()) == 2
    assert "no group '99'" in capsys.readouterr().err
