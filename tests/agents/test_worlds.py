"""The loop in tasks other than the maze: pictures that help to answer, and pictures that are the answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from toy_tasks import MARKS, SHEETS, Problem, check, model, read, render, wanted

from agents.critics import model_critic, verdict_chance
from agents.events import Finished
from agents.loop import DrawAgent
from agents.scripted import ScriptedModel, maze_model
from agents.settings import Settings, derive_seed, options_for
from agents.statistics import tempered
from agents.tasks import TASKS, maze
from agents.trace import Trace, branch, fold
from unimm.document import Text
from unimm.events import PartDone, TextDelta

MARK = MARKS.problem("test", 1, "three")
SHEET = SHEETS.problem("test", 1, "three")


def run(toy: ScriptedModel, problem: Problem, settings: Settings = Settings()) -> Trace:
    return fold(DrawAgent(toy, {"marks": MARKS, "sheets": SHEETS}[problem.task], settings).events(problem))


def kinds(trace: Trace) -> list[str]:
    return [step.kind for step in trace.path()]


def lacking(problem: Problem, before: frozenset, options) -> frozenset:
    """Leaves out the last cell that has to be there."""
    return wanted(problem, before) - {max(problem.goal)}


def test_the_answer_is_asked_for_with_the_last_picture() -> None:
    toy = model()
    trace = run(toy, MARK)
    assert kinds(trace) == ["think", "draw", "critique"] * 3 + ["think", "answer"] and trace.total == 3
    asked, want, _ = toy.calls[-1]
    assert want == "text" and asked.turns[0].parts == (trace.pictures()[-1], Text(f"marks answer : {MARK.words}"))
    assert trace.moves == ("3",) and trace.score == {"solved": True, "drawn": True, "answer_right": True, "fault": None, "where": None}
    assert Trace.from_json(trace.to_json()) == trace


def test_where_the_picture_is_the_answer_none_is_asked_for() -> None:
    toy = model(draw=lacking)
    trace = run(toy, SHEET)
    assert kinds(trace) == ["think", "draw", "critique", "revise", "critique", "think"]
    assert trace.reason == "satisfied" and trace.score["solved"] and trace.score["answer_right"] is None and trace.answer == ""
    first, second = trace.rounds()
    assert (first.verdict("model").fault, first.verdict("model").where) == ("missing", max(SHEET.goal)) and second.accepted
    revised = next(document for document, want, _ in toy.calls if want == "image" and len(document.turns) == 2)
    assert "plan :" in revised.turns[1].parts[0].text  # the whole verdict goes into the redraw
    assert Trace.from_json(trace.to_json()) == trace


def test_program_and_branch_work_as_in_the_maze() -> None:
    trace = run(model(draw=lacking), SHEET, Settings(steer="program"))
    assert trace.score["solved"]
    grown = fold(DrawAgent(model(), SHEETS).events(branch(trace, 2, fault="correct .")))
    assert grown.pictures()[0] == trace.rounds()[0].image and len(grown.pictures()) == 2 and grown.score["solved"]


def test_a_standstill_and_the_last_picture_are_scored_and_answered() -> None:
    still = model(draw=lambda problem, before, options: before, judge=lambda *call: "correct .")
    stuck = run(still, MARK)
    assert stuck.reason == "no gain" and stuck.moves == ("3",) and stuck.score == {
        "solved": False, "drawn": False, "answer_right": True, "fault": "missing", "where": None}  # fmt: skip
    short = run(model(), MARK, Settings(max_frames=2))
    assert short.reason == "step limit" and short.moves == ("3",) and not short.score["drawn"]
    full = run(model(), SHEET, Settings(max_frames=1))
    assert full.reason == "step limit" and full.score["solved"]


# --- the best of several drafts


def test_the_best_of_several_drafts_is_kept() -> None:
    lucky = derive_seed(0, 1, -2)

    def draw(problem: Problem, before: frozenset, options) -> frozenset:
        return wanted(problem, before) if options.seed == lucky else lacking(problem, before, options)

    toy = model(draw=draw)
    trace = run(toy, SHEET, Settings(best_of=3, rounds=0))
    assert kinds(trace) == ["think"] + ["draw", "critique"] * 3 + ["think"]
    assert [item.accepted for item in trace.rounds()] == [False, False, True] and trace.score["solved"]
    drawn = [options for document, want, options in toy.calls if want == "image"][:3]
    assert len({options.seed for options in drawn}) == 3 and [options.temperature for options in drawn] == [0.0, 0.5, 0.5]
    assert trace.steps[3].about.endswith("draft 2 of 3") and Trace.from_json(trace.to_json()) == trace
    assert not run(toy, SHEET, Settings(best_of=2, rounds=0)).score["solved"]
    warm = options_for(toy, Settings(temperature=0.3), 1, -1)
    assert warm.temperature == 0.3


def test_drafts_that_are_all_refused_are_redrawn_from_the_best() -> None:
    trace = run(model(draw=lacking), SHEET, Settings(best_of=2))
    assert Counter(kinds(trace)) == {"think": 2, "draw": 2, "critique": 3, "revise": 1} and trace.score["solved"]


# --- drawing without the thought's latents


@pytest.mark.parametrize("thoughts", ["words", "none"])
def test_thoughts_as_words_or_none(thoughts) -> None:
    toy = model()
    trace = run(toy, MARK, Settings(thoughts=thoughts))
    assert trace.score["solved"] and kinds(trace) == ["think", "draw", "critique"] * 3 + ["think", "answer"]
    drawn = [(document, options) for document, want, options in toy.calls if want == "image" and not options.think]
    first = {"words": f"plan : {MARK.words.split()[0]} .", "none": f"marks next : {MARK.words}"}[thoughts]
    assert len(drawn) == 3 and drawn[0][0].turns[0].parts == (MARK.image, Text(first))
    assert all(len(document.turns) == 1 and document.turns[0].role == "user" for document, _ in drawn)
    assert toy.closed == 4  # every thought was broken off before the model drew from it
    assert [item.thought for item in trace.rounds()] == [f"plan : {word} ." for word in MARK.words.split()]


@pytest.mark.parametrize("thoughts", ["words", "none"])
def test_verdicts_are_told_as_thoughts_are(thoughts) -> None:
    toy = model(judge=lambda *call: "wrong . too many at a1 .")
    run(toy, SHEET, Settings(thoughts=thoughts, max_frames=1, rounds=1))
    redrawn = next(document for document, want, _ in toy.calls if want == "image" and len(document.turns[0].parts) == 3)
    told = redrawn.turns[0].parts[2].text
    assert len(redrawn.turns) == 1 and ("wrong ." in told) == (thoughts == "words")


def test_a_maze_is_walked_without_thoughts() -> None:
    task = TASKS["maze"]
    problem = task.problem("test", 8, 4)
    trace = fold(DrawAgent(maze_model(), task, Settings(thoughts="none")).events(problem))
    assert trace.score["solved"] and trace.moves == task.solve(problem).moves
    assert trace.pictures() == tuple(map(maze.render, task.solve(problem).frames))


# --- how sure the verdict is


def confident(words: str, chances: list[float], pieces: list[str] | None = None) -> ScriptedModel:
    said = pieces or [word if at == 0 else f" {word}" for at, word in enumerate(words.split())]
    stats = {"confidence": chances[0], "chances": chances}
    toy = ScriptedModel(lambda *call: [*map(TextDelta, said), PartDone(Text(words), stats)])
    toy.capabilities = model().capabilities
    return toy


def judged(toy: ScriptedModel):
    return model_critic(toy, SHEETS)(SHEET, SHEET.image, render(frozenset()))


def test_confidence_is_that_of_the_verdict_itself() -> None:
    words = "see : 1 . check : no . wrong . is missing at a1 ."
    chances = [0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.93, 0.92, 0.61, *[0.5] * 6]
    verdict = judged(confident(words, chances))
    assert verdict.confidence == 0.61 and (verdict.ok, verdict.fault, verdict.where) == (False, "missing", (0, 0))
    assert judged(confident(words, chances[:5])).confidence == 0.99  # lists that do not fit: the first word's
    assert judged(confident("I see", [0.7, 0.2])).confidence == 0.7
    assert verdict_chance("wr", [], {}) == 1.0 and verdict_chance("is wrong", ["is ", "wr", "ong"], {"chances": [0.1, 0.2, 0.3]}) == 0.2


def test_lists_of_numbers_stay_out_of_traces() -> None:
    def script(document, want, options):
        for item in inner._script(document, want, options):
            yield PartDone(item, {"seconds": 0.5, "chances": [0.5, 0.25]}) if isinstance(item, Text) else item

    inner, toy = model(), ScriptedModel(lambda *call: script(*call))
    toy.capabilities = inner.capabilities
    trace = run(toy, MARK)
    assert trace.steps[0].stats == {"seconds": 0.5} and Trace.from_json(trace.to_json()) == trace


def test_calibration_is_the_tasks_own() -> None:
    toy = confident("correct .", [0.9, 1.0])
    toy.capabilities = replace(toy.capabilities, calibration={"sheets": 2.0, "marks": 0.5})
    assert judged(toy).confidence == pytest.approx(tempered(0.9, 2.0)) == pytest.approx(0.75)
    assert model_critic(toy, MARKS)(MARK, MARK.image, MARK.image).confidence == pytest.approx(81 / 82)
    assert tempered(0.3, 1.0) == 0.3 and 0.5 < tempered(1.0, 50.0) < 1 and tempered(0.0, 0.01) == pytest.approx(0.0)


def test_stopping_while_it_thinks_apart() -> None:
    toy = model()
    events = []
    for event in DrawAgent(toy, MARKS, Settings(thoughts="words")).events(MARK, stop=lambda: any(isinstance(e, TextDelta) for e in events)):
        events.append(event)
    assert isinstance(events[-1], Finished) and events[-1].reason == "stopped" and toy.closed == 1


def test_the_toys_check_what_they_say() -> None:
    assert read(render(frozenset(SHEET.goal))) == frozenset(SHEET.goal)
    assert check(MARK, MARK.image, render(frozenset(MARK.goal[:1]))).ok and not check(MARK, MARK.image, MARK.image).ok
