"""Evaluation against scripted models whose scores are known beforehand."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from agents import evaluate, uni_mmmu, uni_mmmu_score
from agents.events import StepDone
from agents.loop import DrawAgent
from agents.measure import Exam, Unit, measure, pixels_kept, units
from agents.memo import Memo
from agents.parallel import run_all
from agents.scripted import ScriptedModel, maze_model
from agents.settings import Settings
from agents.statistics import Share, balanced, calibration_error, mean, percent, wilson
from agents.summary import summarise, tables
from agents.tasks import TASKS, foreign, maze
from agents.trace import fold
from unimm.document import Document, Image, Text
from unimm.errors import BadInput, ModelUnavailable
from unimm.model import Options

TASK = TASKS["maze"]
PROBLEM = TASK.problem("test", 8, 4)


def slips(before: maze.Board, options: Options) -> maze.Board:
    """Draws wrong about every fifth time, always the same ones."""
    after = maze.next_board(before)
    rng = random.Random(repr(before))
    return before if after is None else maze.corrupt(rng, before, after) if rng.random() < 0.2 else after


def load(name: str) -> ScriptedModel:
    return maze_model(draw=slips, name=name)


def timeless(value):
    """JSON data without what was measured with a clock or says where it was measured."""
    if isinstance(value, dict):
        skip = ("machine", "command")
        return {key: timeless(item) for key, item in value.items() if "seconds" not in key and key not in skip}
    return [timeless(item) for item in value] if isinstance(value, list) else value


# --- statistics


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962), (1, 1, 0.2065, 1.0)],
)
def test_wilson_has_the_known_values(hits, n, low, high) -> None:
    found = wilson(hits, n)
    assert found.value == hits / n and found.n == n
    assert found.low == pytest.approx(low, abs=1e-4) and found.high == pytest.approx(high, abs=1e-4)


def test_shares_of_nothing_and_near_everything_are_said_honestly() -> None:
    assert str(wilson(0, 0)) == "-" and wilson(0, 0).value is None
    assert (percent(1.0), percent(0.99999), percent(0.00001), percent(0.0), percent(0.1234)) == ("100.0", "99.9", "0.1", "0.0", "12.3")
    assert mean([1, None, 3]) == 2 and mean([]) is None


def test_balanced_accuracy_is_the_mean_of_recalls() -> None:
    one, other = wilson(90, 100), wilson(30, 50)
    both = balanced(one, other)
    assert both.value == pytest.approx(0.75)
    below = ((one.value - one.low) ** 2 + (other.value - other.low) ** 2) ** 0.5 / 2
    assert both.low == pytest.approx(0.75 - below) and both.low < 0.75 < both.high
    perfect = balanced(wilson(100, 100), wilson(100, 100))
    assert perfect.value == perfect.high == 1 and 0.96 < perfect.low < 1
    assert balanced(one, wilson(0, 0)) == Share(None)


def test_calibration_error() -> None:
    assert calibration_error([], []) is None
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert calibration_error([0.9] * 10, [True] * 5 + [False] * 5) == pytest.approx(0.4)
    assert calibration_error([1.0, 1.0, 0.6, 0.6], [True, True, False, False]) == pytest.approx(0.3)  # each half of the answers in its bin


# --- the memory


class Ticking:
    """A model that takes two seconds for every event, on a clock of its own."""

    def __init__(self, inner) -> None:
        self.inner, self.now = inner, 0.0
        self.name, self.capabilities = inner.name, inner.capabilities

    def clock(self) -> float:
        return self.now

    def stream(self, document, want, options=Options()):
        for event in self.inner.stream(document, want, options):
            self.now += 2.0
            yield event


@pytest.mark.parametrize("steer", ["model", "program"])
def test_memory_changes_neither_events_nor_seconds(steer) -> None:
    first, then = Settings(steer="model", seconds=600), Settings(steer=steer, seconds=600)
    bare, ticking = Ticking(load("x")), Ticking(load("x"))
    memo = Memo(ticking, clock=ticking.clock)
    list(DrawAgent(memo, TASK, first, clock=memo.clock).events(PROBLEM))
    computed = memo.computed
    with_memory = list(DrawAgent(memo, TASK, then, clock=memo.clock).events(PROBLEM))
    assert memo.computed == computed < memo.asked
    assert with_memory == list(DrawAgent(bare, TASK, then, clock=bare.clock).events(PROBLEM))  # every duration among them
    assert any(event.seconds for event in with_memory if isinstance(event, StepDone))


def test_memory_forgets_the_oldest_and_what_was_broken_off() -> None:
    memo = Memo(maze_model(), size=2)
    asked = [Document().user(maze.render(PROBLEM.board), Text(words)) for words in ("maze route", "maze describe", "maze judge")]
    events = memo.stream(asked[0], "text")
    next(events)
    events.close()
    for document, computed in zip((asked[0], asked[1], asked[0], asked[1]), (2, 3, 3, 3), strict=True):
        list(memo.stream(document, "text"))
        assert memo.computed == computed
    list(memo.stream(asked[0], "text", Options(seed=1)))  # other options are another question; the oldest goes
    list(memo.stream(asked[0], "text"))
    assert memo.computed == 5


# --- what is measured


def test_units_are_different_boards_and_take_turns() -> None:
    exam = Exam(n=40, sizes=(4, 6), critic_n=3, thought_n=0)
    work = units(exam)
    solving = [unit for unit in work if unit.kind == "solve"]
    boards = [TASK.problem("test", unit.index, unit.size).board for unit in solving]
    assert len(set(boards)) == len(boards) == 80 and [unit.size for unit in work[:4]] == [4, 6, 4, 6]
    many = units(Exam(n=200, sizes=(4,), critic_n=0, thought_n=0))
    assert len(many) == 200 and many[-1].index > 199  # some of the boards came twice and were replaced
    assert {maze.split_of(board) for board in boards} == {"test"}
    assert sum(unit.kind == "judge" for unit in work) == 3 and len({unit.key for unit in work}) == len(work)
    assert not {unit.index for unit in work} & {unit.index for unit in units(replace(exam, seed=1))}
    assert [unit.kind for unit in units(Exam(n=5, conditions=(), critic_n=1, thought_n=1))] == ["judge", "thought"]


def test_a_problem_under_all_conditions() -> None:
    first = PROBLEM.board

    def wrong_once(before: maze.Board, options: Options) -> maze.Board:
        right = maze.next_board(before) or before
        return right.put({right.agent: maze.FLOOR}) if before == first else right

    exam = Exam(n=1, sizes=(4,), seed=0)
    runs = measure(exam, maze_model(draw=wrong_once), Unit("solve", 4, 8))["runs"]
    frames = len(TASK.solve(PROBLEM).frames)
    assert list(runs) == ["direct", "first", "self", "program"]
    assert runs["direct"]["success"] and "pictures" not in runs["direct"]
    assert not runs["first"]["success"] and not runs["first"]["legal"] and runs["first"]["fault"] == "no_agent"
    for name in ("self", "program"):
        run = runs[name]
        assert run["success"] and run["legal"] and run["answer_right"] and run["pictures"] == frames and run["redraws"] == 1
        assert run["identical"] == run["unchanged"] > 0
        assert run["verdicts"] == {"right_passed": frames, "right_refused": 0, "wrong_passed": 0, "wrong_refused": 1}


def test_wrong_direct_answers_and_runs_without_an_answer_count() -> None:
    def script(document, want, options):
        yield Text("route : up up up up up .") if want == "text" else Text("agent at the goal . done .")

    runs = measure(Exam(), ScriptedModel(script), Unit("solve", 4, 8))["runs"]
    assert not any(run["success"] or run["answer_right"] for run in runs.values())
    assert runs["first"]["pictures"] == 0 and not runs["first"]["legal"]
    still = maze_model(draw=lambda before, options: before, redraw=lambda before, wrong, options: wrong)
    stuck = measure(Exam(), still, Unit("solve", 4, 8))["runs"]["program"]
    assert not stuck["success"] and not stuck["legal"] and stuck["pictures"] == 1 and stuck["redraws"] > 0


def test_a_changed_pixel_in_an_unchanged_cell_is_found() -> None:
    def tinted(document, want, options):
        for item in maze_model()._script(document, want, options):
            yield Image(item.width, item.height, tint(item.rgb)) if isinstance(item, Image) else item

    def tint(rgb: bytes) -> bytes:
        row, column = 3 * 32 + 5, 3 * 32 + 5  # inside the second cell of the second row of a board of 4 in the middle of the canvas
        at = (row * 256 + column) * 3
        return rgb[:at] + bytes([rgb[at] ^ 1]) + rgb[at + 1 :]

    exact = pixels_kept(TASK, fold(DrawAgent(maze_model(), TASK).events(PROBLEM)))
    settings = Settings(critique=False)
    trace = fold(DrawAgent(ScriptedModel(tinted), TASK, settings).events(PROBLEM))
    first = TASK.check(PROBLEM, PROBLEM.image, trace.pictures()[0])
    assert first.ok and (1, 1) not in first.changed and exact[0] == exact[1]
    unchanged, identical = pixels_kept(TASK, trace)
    assert identical < unchanged == exact[0]


@pytest.mark.parametrize(
    ("judge", "passed", "refused", "overall"),
    [
        (maze.judge, 1.0, 1.0, 1.0),
        (lambda before, after: maze.Verdict(True), 1.0, 0.0, 0.5),
        (lambda before, after: maze.Verdict(False, "no_agent", (0, 0)), 0.0, 1.0, 0.5),
    ],
)
def test_critics_of_known_worth(judge, passed, refused, overall) -> None:
    exam = Exam(n=0, sizes=(4, 6), conditions=(), critic_n=12, thought_n=0)
    critic = summarise(measure(exam, maze_model(judge=judge), unit) for unit in units(exam))["critic"]
    assert (critic["right"], critic["wrong"]) == (12, 24)
    assert critic["right_passed"]["value"] == passed and critic["wrong_refused"]["value"] == refused
    assert critic["balanced_accuracy"]["value"] == overall
    assert sum(row["n"] for row in critic["faults"].values()) == 24 and set(critic["faults"]) <= set(maze.FAULTS)
    named = {"kind": critic["kind_named"]["value"], "cell": critic["cell_named"]["value"]}
    assert named == {"kind": 1.0, "cell": 1.0} if judge is maze.judge else max(named.values()) < 0.3
    accuracy = (12 * passed + 24 * refused) / 36
    assert critic["calibration_error"] == pytest.approx(abs(0.9 - accuracy))  # a scripted model is always 90 % sure


def test_a_missed_kind_of_fault_shows_in_its_row_alone() -> None:
    def blind(before: maze.Board, after: maze.Board) -> maze.Verdict:
        verdict = maze.judge(before, after)
        return maze.Verdict(True) if verdict.fault == "wall_changed" else verdict

    exam = Exam(n=0, sizes=(6,), conditions=(), critic_n=20, thought_n=0)
    faults = summarise(measure(exam, maze_model(judge=blind), unit) for unit in units(exam))["critic"]["faults"]
    assert faults["wall_changed"]["balanced_accuracy"]["value"] == 0.5
    assert all(row["balanced_accuracy"]["value"] == 1 for kind, row in faults.items() if kind != "wall_changed") and len(faults) > 3


# --- the command

FLAGS = ["--sizes", "4,5", "--n", "3", "--critic-n", "3", "--thought-n", "0", "--jobs", "1", "--model", "no-folder"]


def test_the_command_prints_and_writes(tmp_path, capsys) -> None:
    out = tmp_path / "new" / "out.json"
    assert evaluate.main([*FLAGS, "--json", str(out)], load=load) == 0
    shown, data = capsys.readouterr().out, json.loads(out.read_text())
    assert "PER BOARD SIZE" in shown and "4x4: 3 of" in shown and shown.count("| self-critique") == 3
    assert data["n"] == 3 and data["seed"] == 0 and data["command"].startswith("python -m agents.evaluate --sizes 4,5")
    assert data["model"] == {"name": "no-folder", "sha256": ""} and data["versions"]["python"] and data["machine"]["jobs"] == 1
    assert data["n_found"]["5"]["problems"] == 3 and len(data["records"]) == 9
    boards = data["summary"]["boards"]
    assert boards["all"]["program"]["n"] == 6 and boards["all"]["self"]["success"]["value"] == 1.0
    assert boards["all"]["first"]["success"]["value"] < 1 and boards["all"]["self"]["unchanged_identical"] == 1.0
    assert tables(data["summary"]) in shown and not list(out.parent.glob("*.partial*"))


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, capsys) -> None:
    whole, cut = tmp_path / "whole.json", tmp_path / "cut.json"
    assert evaluate.main([*FLAGS, "--json", str(whole)], load=load) == 0

    def dying(name: str) -> ScriptedModel:
        model, inner = load(name), load(name)

        def script(document, want, options):
            if len(model.calls) > 60:
                raise ModelUnavailable("Gone.")
            return inner._script(document, want, options)

        model._script = script
        return model

    assert evaluate.main([*FLAGS, "--json", str(cut)], load=dying) == 2
    kept = tmp_path / "cut.json.partial.jsonl"
    lines = kept.read_text().splitlines()
    assert 2 < len(lines) < 10 and not cut.exists()
    kept.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][: len(lines[-1]) // 2])  # the power went in the middle of a line
    done = []

    def counted(name: str) -> ScriptedModel:
        done.append(name)
        return load(name)

    assert evaluate.main([*FLAGS, "--json", str(cut), "--seed", "1", "--resume"], load=load) == 2
    assert "another model" in capsys.readouterr().err
    assert evaluate.main([*FLAGS, "--json", str(cut), "--resume"], load=counted) == 0 and set(done) == {"no-folder"}
    assert timeless(json.loads(cut.read_text())) == timeless(json.loads(whole.read_text()))


def echo(model: ScriptedModel, piece: int) -> tuple[str, int]:
    if piece < 0:
        raise BadInput("A negative piece.")
    return model.name, piece


def threads(model: ScriptedModel, piece: int) -> int:
    import torch

    return torch.get_num_threads()


def test_processes_do_all_pieces_and_pass_errors_on() -> None:
    assert sorted(run_all(echo, range(5), 2, load, "m")) == [("m", piece) for piece in range(5)]
    with pytest.raises(BadInput, match="negative"):
        list(run_all(echo, [1, -1], 2, load, "m"))
    assert list(run_all(threads, range(2), 2, load, "m", threads=2)) == [2, 2]


def test_missing_weights_are_said_before_processes_start(tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    for more in ([], ["--suite", "uni-mmmu", "--data", str(tmp_path), "--out", str(tmp_path / "out")]):
        if more:
            uni_mmmu.make_data(tmp_path, 1, seed=0)
        assert evaluate.main(["--model", str(tmp_path / "empty"), "--n", "1", "--critic-n", "1", "--jobs", "2", *more]) == 2
        assert "no readable config.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--split", "nowhere"], "splits"),
        (["--sizes", "99"], "wide"),
        (["--temperature", "9"], "temperature"),
        (["--jobs", "0"], "--jobs"),
        (["--resume"], "--json"),
        (["--suite", "uni-mmmu"], "--data"),
        (["--suite", "uni-mmmu", "--data", "d", "--out", "o", "--tasks", "jigsaw"], "only the part 'maze'"),
        (["--suite", "uni-mmmu", "--data", "d", "--out", "o", "--limit", "0"], "--limit"),
        (["--suite", "uni-mmmu", "--data", "no/such/folder", "--out", "o"], "holds no boards of the benchmark"),
    ],
)
def test_bad_flags_are_said_plainly(flags, words, capsys) -> None:
    assert evaluate.main(flags, load=load) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error


# --- Uni-MMMU


@pytest.fixture
def data(tmp_path) -> Path:
    """Three boards in the benchmark's format, and its worked example."""
    folder = tmp_path / "bench"
    cases = uni_mmmu.make_data(folder, 3, seed=3)
    mazes = folder / "data" / "maze"
    (mazes / "maze_6x6_00015_steps").mkdir()
    (mazes / "maze_6x6_00015_steps" / "maze_step_0000.png").write_bytes(cases[0].start.read_bytes())
    (mazes / "maze_6x6_steps_00015.json").write_text(json.dumps({"steps_long": ["Right"]}))
    return folder


def suite(data: Path, out: Path, model=load, *flags: str) -> dict:
    file = out.with_suffix(".json")
    given = ["--suite", "uni-mmmu", "--data", str(data), "--out", str(out), "--json", str(file), "--jobs", "1", *flags]
    assert evaluate.main(given, load=model) == 0
    return json.loads(file.read_text())


def test_drawn_data_is_held_out_and_reads_back(data) -> None:
    cases = uni_mmmu.load_cases(data)
    assert [case.id for case in cases] == ["00001", "00002", "00003"]  # the example is left out
    assert uni_mmmu.load_cases(data / "data") == [replace(case, start=data / "data" / "maze" / case.start.parent.name / case.start.name)
                                                  for case in cases]  # fmt: skip
    for case in cases:
        start = uni_mmmu.open_picture(case.start)
        board = foreign.fit(start)[0].board
        assert maze.route(board) == case.moves and 3 <= len(case.moves) <= 8 and uni_mmmu_score.layout(foreign.parse(start)) == "test"
        pictures = [uni_mmmu.open_picture(path) for path in sorted(case.start.parent.glob("*.png"))]
        assert foreign.picture_scores(pictures[1:], start, case.moves) == (True, 1.0)
    names = [case.id for case in uni_mmmu.make_data(data / "more", 16, seed=0)]
    assert len(names) == 16 and uni_mmmu.EXAMPLE not in names and names[-1] == "00017"
    with pytest.raises(BadInput, match="exists already"):
        uni_mmmu.make_data(data, 1, 0)


@pytest.mark.parametrize("mode", uni_mmmu.MODES)
def test_a_perfect_model_scores_one_everywhere(data, tmp_path, mode, capsys) -> None:
    out = tmp_path / "out"
    scores = suite(data, out, load, "--mode", mode)
    assert [scores[name] for name in uni_mmmu_score.METRICS] == [1.0] * 5 and scores["missing_as_zero"]["image_sample"] == 1.0
    assert scores["n"] == scores["cases_total"] == scores["held_out"]["n"] == 3 and scores["mode"] == mode
    assert mode in capsys.readouterr().out
    case = uni_mmmu.load_cases(data)[0]
    folder = out / "maze" / "case_00001"
    assert {path.name for path in folder.iterdir()} == {"cand_01", "model_text.txt", "result.json", "trace.json", "_done.ok"}
    frames = sorted(path.name for path in (folder / "cand_01").iterdir())
    assert frames == [f"maze_step_0000_step_{number:04d}.png" for number in range(1, len(case.moves) + 1)]
    assert (folder / "model_text.txt").read_text().strip() == foreign.answer_text(case.moves)
    result = json.loads((folder / "result.json").read_text())
    assert Path(result["step0"]) == case.start and result["run"]["mode"] == mode
    summary = json.loads((out / "maze" / "summary.json").read_text())
    assert summary["done"] == 3 and [row["id"] for row in summary["per_item"]] == ["00001", "00002", "00003"]
    assert len((out / "maze" / "manifest.csv").read_text().splitlines()) == 4


def test_mistakes_cost_points(data, tmp_path) -> None:
    def lost(before: maze.Board, options: Options) -> maze.Board:
        """Forgets the agent at the first step of the walk, and nobody notices."""
        after = maze.next_board(before) or before
        return after.put({after.agent: maze.FLOOR}) if not before.greying and not before.walked else after

    careless = maze_model(draw=lost, judge=lambda before, after: maze.Verdict(True))
    scores = suite(data, tmp_path / "out", lambda name: careless)
    assert scores["image_sample"] == 0 and scores["text_sample"] == 0 and scores["parse"] < 1


def test_oracle_length_cuts_off_and_free_goes_on(data, tmp_path) -> None:
    case = uni_mmmu.load_cases(data)[0]
    (case.start.parent.parent / f"maze_6x6_steps_{case.id}.json").write_text(json.dumps({"steps_long": case.moves[:2]}))
    cut = suite(data, tmp_path / "cut", load, "--mode", "oracle-length", "--limit", "1")
    assert (cut["image_sample"], cut["text_sample"], cut["cases"][0]["frames"]) == (1.0, 1.0, 2)
    free = suite(data, tmp_path / "free", load, "--limit", "1")
    assert (free["image_sample"], free["image_step"], free["text_sample"], free["text_step"]) == (0.0, 1.0, 0.0, 1.0)
    assert free["cases"][0]["frames"] == len(case.moves)


def test_finished_cases_are_not_run_again_and_runs_are_not_mixed(data, tmp_path, capsys) -> None:
    out, models = tmp_path / "out", []

    def counted(name: str) -> ScriptedModel:
        models.append(load(name))
        return models[-1]

    first = suite(data, out, counted)
    (out / "maze" / "case_00002" / "_done.ok").unlink()
    (out / "maze" / "case_00002" / "cand_01" / "left_over.png").write_bytes(b"")
    again = suite(data, out, counted)
    assert timeless(first) == timeless(again)
    asked = {document.turns[0].parts[0].hash for document, _, _ in models[-1].calls if isinstance(document.turns[0].parts[0], Image)}
    starts = {case.id: foreign.fit(uni_mmmu.open_picture(case.start))[0].image.hash for case in uni_mmmu.load_cases(data)}
    assert {name for name, start in starts.items() if start in asked} == {"00002"}
    mixed = ["--suite", "uni-mmmu", "--data", str(data), "--out", str(out), "--jobs", "1", "--mode", "oracle-length"]
    assert evaluate.main(mixed, load=load) == 2 and "another model, mode" in capsys.readouterr().err


def test_folders_of_other_models_are_scored(data, tmp_path) -> None:
    case, missing, *_ = uni_mmmu.load_cases(data)
    folder = tmp_path / "theirs" / "maze" / f"case_{case.id}"
    right = [path.read_bytes() for path in sorted(case.start.parent.glob("*.png"))][1:]
    for name, frames in (("cand_01", right), ("cand_02", [*right, b"no picture"])):
        (folder / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            (folder / name / f"step_{number:02d}.png").write_bytes(frame)
    texts = [foreign.answer_text(["Up"]) + " then " + foreign.answer_text([move.upper() for move in case.moves]), "no tag"]
    (folder / "model_text.txt").write_text(uni_mmmu_score.BETWEEN.join(texts))
    scores = suite(data, tmp_path / "theirs", load, "--score-only", "--limit", "2")
    one, two = scores["cases"]
    assert (one["image_sample"], one["image_step"], one["text_sample"], one["text_step"], one["parse"]) == (1, 1, 1, 1, 1)
    assert (two["image_sample"], two["image_step"], two["text_sample"], two["text_step"]) == (0, 1, 0, 0)
    assert two["parse"] == pytest.approx(len(right) / (len(right) + 1))
    assert scores["image_sample"] == 0.5 and scores["missing_as_zero"]["image_sample"] == pytest.approx(1 / 3)
    assert (scores["cases_done"], scores["cases_total"], scores["mode"]) == (1, 2, None) and missing.id not in {one["id"], two["id"]}


def test_damaged_data_is_said_before_anything_runs(data, tmp_path) -> None:
    case = uni_mmmu.load_cases(data)[0]
    answer = case.start.parent.parent / f"maze_6x6_steps_{case.id}.json"
    good = answer.read_text()
    for bad, words in (("{", "steps_long"), ("[]", "steps_long"), ('{"steps_long": ["north"]}', "up, down, left and right")):
        answer.write_text(bad)
        with pytest.raises(BadInput, match=words):
            uni_mmmu.load_cases(data)
    answer.write_text(good)
    case.start.write_bytes(b"no picture")
    with pytest.raises(BadInput, match="no readable picture"):
        uni_mmmu.load_cases(data)


def test_an_unreadable_start_costs_its_case_only(data, tmp_path) -> None:
    case = uni_mmmu.load_cases(data)[0]
    case.start.write_bytes(Image(64, 64, b"\xff" * (64 * 64 * 3)).to_png())
    scores = suite(data, tmp_path / "out")
    lost = scores["cases"][0]
    assert scores["text_sample"] == pytest.approx(2 / 3) and lost["layout"] == "unreadable" and lost["frames"] == 0


def test_answers_are_asked_for_where_a_run_ends_without_one() -> None:
    problem = TASK.problem("test", 8, 6, "lattice")
    picture = foreign.draw(problem.board)
    fitted, fit = foreign.fit(picture)
    model = maze_model()
    trace = uni_mmmu.solve(model, fitted, fit, Settings(max_frames=len(TASK.solve(fitted).frames) - 1), None)
    assert trace.reason == "step limit" and trace.moves == TASK.solve(fitted).moves[:-1]


def obedient(document, want, options):
    """Draws what the last words ask for, read with the task's own parsers from the text alone."""
    board = maze.read(document.turns[0].parts[0]).board
    words = document.turns[-1].parts[-1].text
    if (move := maze.parse_move(words)) is not None:
        yield maze.render(maze.step(board, move))
    else:
        named = (maze.cell_at(word) for word in words.split())
        yield maze.render(board.put({cell: maze.GREY for cell in named if cell}))


def deaf(document, want, options):
    yield maze.render(maze.next_board(maze.read(document.turns[0].parts[0]).board))


@pytest.mark.parametrize(("script", "key"), [(obedient, "followed"), (deaf, "ignored")])
def test_a_picture_is_held_against_a_thought_that_is_not_the_right_one(script, key) -> None:
    exam = Exam(n=0, sizes=(5, 6), conditions=(), critic_n=0, thought_n=16)
    records = [measure(exam, ScriptedModel(script), unit) for unit in units(exam)]
    assert len(records) == 16 and {record["asked"] for record in records} == {"dead ends", "step"}
    assert all(record[key] and sum((record["followed"], record["ignored"])) == 1 for record in records)
    table = tables(summarise(records))
    assert "names another step" in table and "100.0" in table
