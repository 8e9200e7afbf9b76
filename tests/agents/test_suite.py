"""Several tasks in one evaluation, the calibration fitted on it, and its failures run again."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from toy_tasks import MARKS, SHEETS, Problem, check, model, wanted

from agents import calibrate, evaluate, gallery
from agents.measure import EVERY, Exam, Unit, halves, measure, units
from agents.scripted import ScriptedModel
from agents.statistics import calibration_error, tempered
from agents.summary import suite_tables
from agents.tasks import TASKS
from agents.trace import Trace
from unimm.document import Text
from unimm.events import PartDone

FLAGS = ["--tasks", "marks,sheets", "--n", "5", "--critic-n", "6", "--jobs", "1", "--model", "no-folder"]


@pytest.fixture(autouse=True)
def toys(monkeypatch) -> None:
    monkeypatch.setitem(TASKS, "marks", MARKS)
    monkeypatch.setitem(TASKS, "sheets", SHEETS)


def lacking(problem: Problem, before: frozenset, options) -> frozenset:
    return wanted(problem, before) - {max(problem.goal)}


def load(name: str) -> ScriptedModel:
    """Never draws the last cell at first; refuses every third right picture, and is 90 % sure of everything."""

    def judge(problem: Problem, before, after) -> str:
        verdict = check(problem, before, after)
        doubted = verdict.ok and random.Random(after.hash).random() < 1 / 3
        return "wrong . too many at a1 ." if doubted else verdict.words

    return model(draw=lacking, judge=judge, name=name)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "marks", MARKS)
        patch.setitem(TASKS, "sheets", SHEETS)
        path = tmp_path_factory.mktemp("suite") / "out.json"
        assert evaluate.main([*FLAGS, "--json", str(path)], load=load) == 0
    return path


def test_problems_are_spread_over_the_groups_of_every_task() -> None:
    exam = Exam("sheets", n=5, sizes=("two", "three"), conditions=EVERY, critic_n=2, thought_n=9, spread=True)
    work = units(exam)
    assert [unit.size for unit in work if unit.kind == "solve"] == ["two", "three", "two", "three", "two"]  # all begin with a blank sheet
    assert [unit.kind for unit in work[5:]] == ["judge", "judge"]  # no thought but the right one is known in this task
    assert sum(unit.kind == "solve" for unit in units(replace(exam, spread=False))) == 10
    assert Exam.from_dict(json.loads(json.dumps(exam.to_dict()))) == exam


def test_every_condition_of_a_task_whose_answer_is_a_picture() -> None:
    exam = Exam("sheets", sizes=("two",), conditions=EVERY, spread=True)
    runs = measure(exam, model(draw=lacking), Unit("solve", "two", 3))["runs"]
    assert list(runs) == list(EVERY)
    assert [name for name, run in runs.items() if run["success"]] == ["self", "program", "mended", "words"]  # nobody looks in the others
    assert runs["direct"]["answer_right"] is None and runs["direct"]["fault"] == "missing"
    assert runs["first"]["pictures"] == 2 and runs["self"]["pictures"] == 1 and runs["self"]["redraws"] == 1
    assert runs["best"]["redraws"] == runs["best"]["pictures"]  # as many further drafts
    assert [(pair["ok"], pair["said_ok"], pair["round"]) for pair in runs["self"]["judged"]] == [(False, False, 0), (True, True, 1)]
    assert runs["self"]["judged"][0]["fault"] == "missing" and "judged" not in runs["program"]


def test_costly_conditions_are_measured_on_the_first_problems_of_each_group() -> None:
    exam = Exam("sheets", n=6, sizes=("two", "three"), conditions=("first", "best", "bare"), critic_n=0, spread=True, further_n=3)
    asked = [exam.conditions_of(unit) for unit in units(exam)]
    assert asked == [("first", "best", "bare")] * 3 + [("first",)] * 3
    assert list(measure(exam, model(), units(exam)[-1])["runs"]) == ["first"]


def test_right_pictures_and_right_answers_are_told_apart() -> None:
    exam = Exam("marks", sizes=("two",), conditions=EVERY, spread=True)
    runs = measure(exam, model(), Unit("solve", "two", 3))["runs"]
    assert all(run["success"] and run["answer_right"] for run in runs.values()) and runs["direct"].keys() == {
        "success", "answer_right", "answer", "seconds"}  # fmt: skip
    still = measure(exam, model(draw=lambda problem, before, options: before), Unit("solve", "two", 3))["runs"]["first"]
    assert not still["success"] and not still["legal"] and still["answer_right"]
    assert halves({"frames": 2, "legal_frames": 2, "moves_right": False}) == (True, False)


def test_runs_that_lose_their_way_are_cut() -> None:
    exam = Exam()
    assert exam.settings("bare", 12).max_frames == 22 and exam.settings("self", 12).max_frames == 80
    assert exam.settings("self", 150).max_frames == 170 and exam.settings("first", 10**4).max_frames == 400


def test_one_file_and_tables_of_several_tasks(results, capsys) -> None:
    data = json.loads(results.read_text())
    assert set(data["tasks"]) == {"marks", "sheets"} and data["n"] == 5 and not list(results.parent.glob("*.partial*"))
    for part in data["tasks"].values():
        assert len([row for row in part["records"] if row["kind"] == "solve"]) == 5
        boards = part["summary"]["boards"]
        assert set(boards) == {"two", "three", "all"} and set(boards["all"]) == set(EVERY)
        assert part["summary"]["critic"]["wrong"] == 12 and part["summary"]["critic_own"]["wrong"] >= 5
        assert set(part["settings"]) == set(EVERY) - {"direct"}
    shown = suite_tables({task: part["summary"] for task, part in data["tasks"].items()})
    assert "| sheets | best of two drafts" in shown and "| marks " in shown and "own drawings" in shown and "| missing" in shown
    assert data["tasks"]["sheets"]["summary"]["boards"]["all"]["self"]["answer_right"]["value"] is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tasks", "marks,jigsaw"], "The tasks are maze"),
        (["--tasks", "marks,sheets", "--sizes", "two"], "one task"),
        (["--task", "marks", "--split", "nowhere"], "splits"),
    ],
)
def test_bad_flags_are_said_plainly(flags, words, capsys) -> None:
    assert evaluate.main(flags, load=load) == 2 and words in capsys.readouterr().err


def test_one_task_with_named_groups_is_measured_as_mazes_are(tmp_path, capsys) -> None:
    out = tmp_path / "out.json"
    flags = ["--task", "sheets", "--n", "2", "--critic-n", "0", "--conditions", "self,words", "--jobs", "1", "--model", "no-folder"]
    assert evaluate.main([*flags, "--json", str(out)], load=load) == 0
    data = json.loads(out.read_text())
    assert "PER GROUP" in capsys.readouterr().out and data["n_found"]["three"]["problems"] == 2 and len(data["records"]) == 4


# --- calibration


def sayings(count: int, heat: float) -> list[dict]:
    """Verdicts whose confidence is overdone by a known temperature."""
    rng = random.Random(3)
    pairs = []
    for _ in range(count):
        true = rng.uniform(0.5, 0.99)
        hit = rng.random() < true
        pairs.append({"ok": hit, "said_ok": True, "confidence": tempered(true, 1 / heat)})
    return pairs


def test_the_fitted_temperature_undoes_the_overconfidence() -> None:
    records = [{"kind": "judge", "heat": 1.0, "pictures": sayings(4000, 2.5)}]
    found = calibrate.fit(records)
    assert found.heat == pytest.approx(2.5, rel=0.15)
    count, before, after = found.errors["all"]
    assert count == 4000 and before > 0.1 and after < 0.03
    again = calibrate.fit([{**records[0], "heat": 2.0}])  # recorded by a model that had 2 already
    assert again.heat == pytest.approx(2 * found.heat) and again.was == 2.0
    sure = [{"ok": True, "said_ok": True, "confidence": 0.9}] * 9
    assert calibrate.fit([{"kind": "judge", "heat": 1.5, "pictures": sure}]).heat == 1.5  # nothing to learn from
    assert calibrate.fit([{"kind": "solve", "runs": {"self": {"success": True}}}]) is None


def test_golden_section_finds_the_valley() -> None:
    assert calibrate.golden_section(lambda x: (x - 1.7) ** 2, -3, 8) == pytest.approx(1.7, abs=1e-4)


def test_the_command_prints_and_writes_temperatures(results, tmp_path, capsys) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"name": "x", "calibration": {"maze": 1.5}}))
    assert calibrate.main(["--json", str(results), "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert "marks: these verdicts are of the split test" in shown and "sheets, own drawings" in shown
    heats = json.loads(shown.splitlines()[-1])["calibration"]
    assert set(heats) == {"marks", "sheets"} and json.loads(config.read_text())["calibration"] == {"maze": 1.5, **heats}
    part = json.loads(results.read_text())["tasks"]["sheets"]
    pairs = [pair for pairs in calibrate.verdicts(part["records"]).values() for pair in pairs]
    hits = [pair["ok"] == pair["said_ok"] for pair in pairs]
    before = calibration_error([pair["confidence"] for pair in pairs], hits)
    assert calibration_error([tempered(pair["confidence"], heats["sheets"]) for pair in pairs], hits) < before
    (tmp_path / "bad.json").write_text("[]")
    assert calibrate.main(["--json", str(tmp_path / "bad.json")]) == 2


# --- failures


def test_failures_run_again_are_the_runs_that_failed(tmp_path, results, capsys) -> None:
    out = tmp_path / "out"
    flags = ["--json", str(results), "--out", str(out), "--k", "2"]
    assert gallery.main([*flags, "--condition", "first"], load=load) == 0
    data = json.loads(results.read_text())["tasks"]
    failed = {
        row["id"]: row["runs"]["first"]
        for row in data["marks"]["records"]
        if not row.get("runs", {"first": {"success": 1}})["first"]["success"]
    }
    traces = [Trace.load(path) for path in sorted(out.glob("marks-*/trace.json"))]
    assert len(traces) == min(2, len(failed)) > 0
    for trace in traces:
        assert len(trace.pictures()) == failed[trace.problem["id"]]["pictures"] and trace.reason == failed[trace.problem["id"]]["reason"]
    assert all((path.parent / name).stat().st_size for path in out.glob("*/trace.json") for name in ("strip.png", "run.gif"))


def test_a_list_of_chances_does_not_reach_the_records() -> None:
    inner = model()

    def script(document, want, options):
        for item in inner._script(document, want, options):
            yield PartDone(item, {"seconds": 0.5, "chances": [0.5]}) if isinstance(item, Text) else item

    toy = ScriptedModel(script)
    toy.capabilities = inner.capabilities
    exam = Exam("marks", sizes=("two",), conditions=EVERY, spread=True)
    json.dumps(measure(exam, toy, Unit("solve", "two", 3)), allow_nan=False)
