"""The model's own mistakes: collected with the program's verdict, and taught from."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from agents import lessons, teach, vocabulary
from agents.mistakes import Series, collect, main
from agents.scripted import CAPABILITIES, Item, ScriptedModel, maze_model
from agents.tasks import TASKS, compose, maze, scene
from agents.tasks.compose_asks import solved
from agents.tasks.compose_mistakes import corrupt
from agents.tasks.compose_words import asked, planned
from agents.teaching import own
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.model import Options, Want
from unimm.star.config import CONFIGS
from unimm.star.tokenizer import word_tokenizer
from unimm.train.data import IGNORED, Branch, Lesson, Teacher

MAZE, COMPOSE = TASKS["maze"], TASKS["compose"]
WORDS = word_tokenizer(vocabulary.words())
TEACHER = Teacher(CONFIGS["tiny"], WORDS)
SERIES = Series("scripted", seed=3)


def slipping(often: float = 0.5) -> ScriptedModel:
    """Draws a share of its mazes wrong; which ones depends on the call's seed alone, as with a real model."""

    def drawn(before: maze.Board, options: Options) -> maze.Board:
        rng, right = random.Random(options.seed), maze.next_board(before)
        return maze.corrupt(rng, before, right) if rng.random() < often else right

    return maze_model(draw=drawn)


def composer() -> ScriptedModel:
    """Draws every scene wrong, in pixels that are a little off as those of a decoder are."""

    def script(document: Document, want: Want, options: Options) -> Iterator[Item]:
        image, text = document.turns[0].parts
        rng, before = random.Random(options.seed), scene.read(image).scene
        ask = compose.Problem(text.text.removeprefix(asked("next", "")), "asked", before).ask
        yield Text("plan : none .")
        wrong = compose.render(corrupt(rng, ask, before, solved(rng, ask, before)))
        noise = np.random.default_rng(options.seed).integers(-6, 7, (wrong.height, wrong.width, 3))
        pixels = np.frombuffer(wrong.rgb, np.uint8).reshape(wrong.height, wrong.width, 3)
        yield Image(wrong.width, wrong.height, (pixels + noise).clip(0, 255).astype(np.uint8).tobytes())

    model = ScriptedModel(script)
    model.capabilities = replace(CAPABILITIES, taught=("compose",))
    return model


def shown(text: str) -> Image:
    """A picture of the file at the size in which it was shown."""
    pixels = own.pixels(text).repeat(2, 0).repeat(2, 1)
    return Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())


def kept(file: Path) -> list[own.Row]:
    return [row for row in own.lines(file) if "after" in row]


def said(lesson: Lesson) -> str:
    """What the lesson's one branch teaches to say, token by token."""
    _, labels, _, _ = TEACHER.lay_out(lesson)
    return WORDS.decode([labels[place] for place in sorted(labels)][:-1])


def test_wrong_drawings_are_kept_with_the_programs_verdict(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    found = collect(slipping(), [MAZE], 40, SERIES, file)
    rows, tally = kept(file), found.tallies["maze"]
    wrong = [row for row in rows if not row["ok"]]
    assert tally.tried == tally.drawn == 40 and 8 < tally.wrong == len(wrong) < 32
    assert sum(found.faults["maze"].values()) == tally.wrong and len(found.faults["maze"]) > 2
    for row in rows:
        problem = maze.Problem.from_dict(row["problem"])
        assert maze.split_of(problem.board) == "train"
        before, after = (shown(row[name]) for name in ("before", "after"))
        check = maze.check(problem, before, after)
        assert (row["ok"], row["fault"], row["words"]) == (check.ok, check.fault, check.words)
        assert [tuple(cell) for cell in row["changed"]] == list(check.changed)
        if not row["ok"]:
            assert maze.check(problem, before, shown(row["repaired"])).ok
            assert row["thought"] == maze.think_words(maze.read(before, problem.board.n).board)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_right_drawings_are_kept_in_the_asked_share_only(tmp_path: Path, share: float) -> None:
    file = tmp_path / "own.jsonl"
    tally = collect(slipping(), [MAZE], 40, SERIES, file, share).tallies["maze"]
    right = [row for row in kept(file) if row["ok"]]
    assert tally.right == len(right) and share * tally.wrong - 4 <= len(right) <= share * tally.wrong + 1
    assert all(row["changed"] and row["wrong"] == [] and row["repaired"] is None for row in right)


def test_thoughts_can_be_cooler_than_pictures(tmp_path: Path) -> None:
    warmth = {}
    for series in (Series("scripted"), Series("scripted", text_temperature=0.0)):
        model = slipping()
        collect(model, [MAZE], 1, series, tmp_path / "own.jsonl")
        warmth[series.name] = [(options.temperature, options.text_temperature) for _, _, options in model.calls]
    assert warmth == {"scripted 0 1": [(1.0, 1.0)], "scripted 0 1 0": [(1.0, 0.0)]}


def test_a_moment_where_nothing_is_drawn_keeps_nothing(tmp_path: Path) -> None:
    model = ScriptedModel(lambda *call: [Text("done .")])
    tally = collect(model, [MAZE], 5, SERIES, tmp_path / "own.jsonl").tallies["maze"]
    assert (tally.tried, tally.drawn) == (5, 0) and kept(tmp_path / "own.jsonl") == []


def test_a_cut_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    collect(slipping(), [MAZE], 20, SERIES, whole)
    lines = whole.read_text().splitlines(keepends=True)
    cut.write_text("".join(lines[:5]) + lines[5][:50])
    model = slipping()
    found = collect(model, [MAZE], 20, SERIES, cut)
    assert cut.read_text() == whole.read_text()
    assert len(model.calls) == 20 - (json.loads(lines[4])["number"] + 1) and found.tallies["maze"].tried == 20
    model = slipping()
    collect(model, [MAZE], 20, SERIES, cut)
    assert not model.calls and cut.read_text() == whole.read_text()


def test_another_series_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    collect(slipping(), [MAZE], 6, SERIES, file)
    first = kept(file)
    for other in (replace(SERIES, by="trained further"), replace(SERIES, seed=4)):
        assert collect(slipping(), [MAZE], 6, other, file).tallies["maze"].tried == 6
    assert kept(file)[: len(first)] == first and len({row["series"] for row in kept(file)}) == 3


def test_it_stops_in_time_after_a_fair_part_of_every_task(tmp_path: Path) -> None:
    clock = map(float, count(step=10))
    tasks = [MAZE, replace(MAZE, name="other")]
    found = collect(slipping(), tasks, 50, SERIES, tmp_path / "own.jsonl", minutes=1, clock=lambda: next(clock))
    tried = [tally.tried for tally in found.tallies.values()]
    assert sum(tried) == 5 and abs(tried[0] - tried[1]) <= 1


def test_lessons_say_the_verdict_and_show_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    collect(slipping(), [MAZE], 30, SERIES, file)
    collect(composer(), [COMPOSE], 12, SERIES, file)
    for row in kept(file):
        lesson = own.judged(row)
        assert said(lesson) == row["words"] and all(len(TEACHER.encode(row[name])) == len(row[name].split()) for name in ("ask", "words"))
        assert (lesson.faults[0] == IGNORED).all() and (lesson.faults[1] >= 0).all()
        assert bool(lesson.faults[1].any()) is not row["ok"]
        if not row["ok"]:
            drawing = own.revised(row)
            branch = drawing.branches[0]
            assert said(drawing) == row["words"] and TEACHER.lay_out(drawing)[3] == (branch.source, branch.target) == (2, 1)
            apart = np.abs(drawing.pictures[1].astype(int) - drawing.pictures[2]).max(-1) > 60
            cells = apart.reshape(apart.shape[0] // 16, 16, -1, 16).any((1, 3)).ravel()
            assert (lesson.faults[1] >= cells).all() and lesson.faults[1].sum() <= cells.sum() + 8


def test_a_scene_is_repaired_as_the_verdict_plans_it(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    tally = collect(composer(), [COMPOSE], 16, SERIES, file).tallies["compose"]
    assert tally.wrong == tally.drawn == 16
    for row in kept(file):
        drawn, repaired = (scene.read(shown(row[name])).scene for name in ("after", "repaired"))
        assert planned(drawn, row["words"]) == repaired
        assert compose.check(compose.Problem.from_dict(row["problem"]), shown(row["before"]), shown(row["repaired"])).ok
        slots = {(r // 2, c // 2) for r, c in row["wrong"]}
        assert slots == {(r, c) for r in range(4) for c in range(4) if drawn.at((r, c)) != repaired.at((r, c))}


def own_of(file: Path, share: float) -> own.Own:
    collect(slipping(0.8), [MAZE], 40, SERIES, file)
    return own.read([file], share)


def branches_of(stream: Iterable[Lesson], n: int, pictures: frozenset[bytes]) -> list[Branch]:
    """First branches of those of ``n`` lessons that show a drawing of the file."""
    return [lesson.branches[0] for lesson in islice(stream, n) if any(picture.tobytes() in pictures for picture in lesson.pictures)]


def test_the_recipes_share_of_the_lessons_is_about_own_drawings(tmp_path: Path) -> None:
    drawings = own_of(tmp_path / "own.jsonl", 0.5)
    shares = {"maze": 1.0, "compose": 1.0}  # of compose there are no drawings: its lessons stay as they are
    pictures = frozenset(own.pixels(row["after"]).tobytes() for rows in (drawings.wrong, drawings.right) for row in rows["maze"])
    judging = branches_of(lessons.understanding_lessons(1, shares, own=drawings), 400, pictures)
    assert 65 < len(judging) < 135
    right = sum(branch.reply == "correct ." for branch in judging)
    assert 0.3 < right / len(judging) < 0.7  # although there are four times as many wrong ones
    assert len(drawings.wrong["maze"]) > 2 * len(drawings.right["maze"])
    revising = branches_of(lessons.drawing_lessons(1, shares, True, own=drawings), 400, pictures)
    assert 65 < len(revising) < 135 and all(branch.source == 2 and branch.reply.startswith("wrong .") for branch in revising)
    assert not branches_of(lessons.drawing_lessons(1, shares, False, own=drawings), 60, pictures)  # stage 3 has no picture to edit


def test_without_a_share_the_lessons_are_the_same_as_before(tmp_path: Path) -> None:
    drawings = own_of(tmp_path / "own.jsonl", 0.0)
    for make in (lessons.understanding_lessons, lambda *given, **more: lessons.drawing_lessons(*given, True, **more)):
        plain, given = (list(islice(make(5, {"maze": 1.0}, **more), 4)) for more in ({}, {"own": drawings}))
        assert [lesson.branches for lesson in plain] == [lesson.branches for lesson in given]


def test_a_stages_recipe_names_the_files_in_the_training_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_of(tmp_path / "run" / "own.jsonl", 0.0)
    stage = {"minutes": 1, "rate": 0.1, "batch": 2, "shares": {"maze": 1.0}, "own": ["own.jsonl"], "own_share": 0.25}
    (tmp_path / "recipe.json").write_text(json.dumps({"seed": 1, "stages": {"understanding": stage}}))

    class Begun(Exception):
        """Ends the command where training would begin."""

    def begin(course: teach.Course) -> None:
        raise Begun(course)

    monkeypatch.setitem(teach.PLANS, "understanding", begin)
    with pytest.raises(Begun) as begun:
        teach.main(["--recipe", str(tmp_path / "recipe.json"), "--out", str(tmp_path / "run"), "--stage", "understanding"])
    drawings = begun.value.args[0].own
    assert drawings.share == 0.25 and drawings.wrong["maze"]


def test_files_that_hold_no_drawings_are_refused(tmp_path: Path) -> None:
    other, empty = tmp_path / "metrics.jsonl", tmp_path / "empty.jsonl"
    other.write_text('{"stage": "vq"}\n')
    empty.write_text("")
    for files, share in (([other], 0.2), ([empty], 0.2), ([tmp_path / "absent.jsonl"], 0.0), ([], 2.0)):
        with pytest.raises(BadInput):
            own.read(files, share)
    with pytest.raises(BadInput):
        collect(slipping(), [MAZE], 1, SERIES, other)
    assert other.read_text() == '{"stage": "vq"}\n'


def test_the_command_reports_how_often_drawings_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "deep" / "own.jsonl"
    given = ["--tasks", "maze", "--n", "4", "--seed", "3", "--out", str(file), "--model", "scripted"]
    assert main(given, load=lambda name: slipping(1.0)) == 0
    assert capsys.readouterr().out.startswith("maze: 4 moments, 4 drawings, 4 wrong (100.0%), 0 right ones kept; now: ")
    assert len(kept(file)) == 4
    assert main([*given, "--tasks", "chess"], load=lambda name: slipping()) == 2
