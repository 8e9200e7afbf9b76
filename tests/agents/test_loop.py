"""The loop against a scripted model: what it keeps, when it stops, how it goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count, zip_longest

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from agents.chat_model import UnimmChatModel
from agents.critics import Critiqued, chat_critic
from agents.events import Answered, Event, Finished, Kept, RunStarted, StepStarted
from agents.loop import DrawAgent
from agents.scripted import ScriptedModel, board_of, maze_model
from agents.settings import Settings, derive_seed
from agents.tasks import TASKS, maze
from agents.trace import Trace, branch, fold
from unimm.document import Image, Text
from unimm.errors import BadInput, ModelUnavailable
from unimm.events import ImagePreview
from unimm.model import Options

TASK = TASKS["maze"]
PROBLEM = TASK.problem("test", 8, 4)
GOLD = TASK.solve(PROBLEM)
STARTS = (PROBLEM.board, *GOLD.frames)  # STARTS[k] is the board that frame k + 1 starts from


def without_agent(board: maze.Board) -> maze.Board:
    return board.put({board.agent: maze.FLOOR})


def slip_at(frame: int, wrong=without_agent):
    """A drawing function that slips at one frame of the problem."""
    return lambda before, options: wrong(before) if before == STARTS[frame - 1] else maze.next_board(before) or before


def stubborn(before: maze.Board, wrong: maze.Board, options: Options) -> maze.Board:
    return wrong


def run(model, settings: Settings = Settings(), problem=PROBLEM, **kwargs) -> Trace:
    return fold(DrawAgent(model, TASK, settings, **kwargs).events(problem))


def kinds(trace: Trace) -> list[str]:
    return [step.kind for step in trace.path()]


def test_accepts_right_pictures_at_once() -> None:
    trace = run(maze_model())
    assert kinds(trace) == ["think", "draw", "critique"] * len(GOLD.frames) + ["think", "answer"]
    assert tuple(map(board_of, trace.pictures())) == GOLD.frames
    assert trace.moves == GOLD.moves and trace.score and trace.score["solved"] is True
    assert trace.reason == "satisfied" and trace.total == len(GOLD.frames)
    assert all(item.kept == "satisfied" and {c.by for c in item.critiques} == {"model", "program"} for item in trace.rounds())
    assert trace.rounds()[0].changed == PROBLEM.board.dead_ends and trace.rounds()[0].latents


@pytest.mark.parametrize("steer", ["model", "program", "both"])
def test_accepts_after_a_revision(steer: str) -> None:
    model = maze_model(draw=slip_at(2))
    trace = run(model, Settings(steer=steer))
    first, second = (item for item in trace.rounds() if item.frame == 2)
    assert not first.accepted and first.verdict("program").fault == "no_agent" and first.critique.of == first.picture.id
    assert second.accepted and second.picture.kind == "revise" and second.picture.of == first.picture.id and second.number == 1
    assert trace.score["solved"] is True
    asked = next(document for document, want, _ in model.calls if want == "image" and len(document.turns) == 2)
    assert asked.turns[0].parts[1] == first.image
    assert asked.turns[1].parts == (Text(first.verdict("program").words),)  # the named fault goes into the redrawing


def test_wrong_thought_and_right_redraw_give_the_drawn_move() -> None:
    def script(document, want, options):
        items = list(inner._script(document, want, options))
        misled = document.turns[0].parts[0] == walk and isinstance(items[0], Text) and "go" in items[0].text
        return [Text("no dead ends . agent at a1 . go sideways ."), *items[1:]] if misled else items

    walk = maze.render(next(board for board in STARTS if not board.greying))
    inner = maze_model(draw=lambda before, options: without_agent(before) if maze.render(before) == walk else maze.next_board(before))
    trace = run(ScriptedModel(script))
    assert trace.score["solved"] is True and trace.moves == GOLD.moves


def test_never_accepted_with_the_model_steering_goes_on_from_the_best() -> None:
    def doubtful(before: maze.Board, after: maze.Board) -> maze.Verdict:
        return maze.Verdict(False, "agent_stayed") if before == STARTS[1] else maze.judge(before, after)

    model = maze_model(judge=doubtful)
    trace = run(model, Settings(rounds=3))
    frame = [item for item in trace.rounds() if item.frame == 2]
    assert len(frame) == 4 and [item.kept for item in frame] == ["rounds used up", None, None, None]
    assert trace.reason == "rounds used up" and "picture 2" in trace.words
    assert trace.score["solved"] is True  # the model was wrong about being wrong
    assert sum(want == "text" and document.turns[0].parts[0] == maze.render(STARTS[1]) for document, want, _ in model.calls) == 1


@pytest.mark.parametrize("settings", [Settings(steer="program"), Settings(go_on=False)])
def test_never_accepted_stops_there(settings: Settings) -> None:
    trace = run(maze_model(draw=slip_at(2), redraw=stubborn), settings)
    assert trace.reason == "rounds used up" and not trace.answer and trace.score is None
    assert trace.rounds()[-1].frame == 2 and len(trace.pictures()) == 2


def test_no_gain_and_the_budget_of_rounds() -> None:
    model = maze_model(draw=slip_at(1), redraw=stubborn)
    patient = run(model, Settings(steer="program", rounds=5, patience=2))
    assert patient.reason == "no gain" and kinds(patient).count("revise") == 2
    assert kinds(run(model, Settings(steer="program", rounds=0))).count("revise") == 0


def test_redraws_get_other_seeds_and_grow_bolder_up_to_a_point() -> None:
    model = maze_model(draw=slip_at(1), redraw=stubborn)
    run(model, Settings(steer="program", seed=5, temperature=0.2, boldness=0.5, guidance=3.0))
    options = [options for _, want, options in model.calls if want == "image"]
    assert [item.seed for item in options] == [derive_seed(5, 1, round) for round in range(11)]
    assert [round(item.temperature, 6) for item in options] == [0.2, 0.0, 0.5, 0.5, *[1.0] * 7]
    assert {item.guidance for item in options} == {3.0}


def test_a_redraw_that_is_refused_too_does_not_replace_the_first_for_a_little_doubt() -> None:
    confidences = iter([0.95, 0.9, 0.4])  # of "wrong": much less sure that it is wrong is better

    def judge(problem, before, after) -> Critiqued:
        if before != PROBLEM.image:
            return Critiqued("model", True, words="correct .")
        return Critiqued("model", False, "no_agent", None, next(confidences), "wrong . no agent .")

    def redraw(before, wrong, options):
        return wrong.put({(0, next(columns)): maze.TRAIL})

    columns = count()
    trace = run(maze_model(draw=slip_at(1), redraw=redraw), Settings(go_on=False, rounds=3), critics={"model": judge})
    rounds = trace.rounds()
    assert [item.kept for item in rounds] == [None, None, None, "rounds used up"]
    assert rounds[2].image == rounds[0].image  # drawn anew as it was drawn first, and known to be refused
    assert {item.picture.of for item in rounds[1:]} == {rounds[0].picture.id}


def test_what_cannot_be_mended_is_drawn_anew_from_its_thought() -> None:
    def draw(before: maze.Board, options: Options) -> maze.Board:
        careless = before == STARTS[1] and options.temperature != 0.5
        return without_agent(before) if careless else maze.next_board(before) or before

    model = maze_model(draw=draw, redraw=stubborn)
    trace = run(model, Settings(temperature=1.2))
    redrawn = [item for item in trace.rounds() if item.frame == 2]
    assert [item.accepted for item in redrawn] == [False, False, True] and trace.score["solved"]
    thought = redrawn[0].thought
    asked = [document for document, want, options in model.calls if want == "image" and options.temperature == 0.5]
    assert [document.turns[-1].parts for document in asked] == [(Text(thought),)]
    assert [part for part in asked[0].turns[0].parts if isinstance(part, Image)] == [redrawn[0].before]


def test_contradiction_between_the_critics_stops() -> None:
    blind = maze_model(draw=slip_at(3), redraw=stubborn, judge=lambda before, after: maze.Verdict(True))
    trace = run(blind, Settings(steer="both"))
    assert trace.reason == "contradiction" and kinds(trace).count("revise") == 1
    assert "contradict" in trace.words and not trace.answer


def test_first_pictures_are_kept_without_critique() -> None:
    trace = run(maze_model(draw=slip_at(3, lambda board: without_agent(board))), Settings(critique=False, max_frames=5))
    assert set(kinds(trace)) <= {"think", "draw", "answer"} and trace.rounds()[2].accepted


def test_budget_of_seconds() -> None:
    ticks = count()
    trace = run(maze_model(), Settings(seconds=40), clock=lambda: float(next(ticks)))
    assert trace.reason == "time used up" and trace.seconds > 40 and 0 < len(trace.pictures()) < len(GOLD.frames)


def test_budget_of_pictures_and_a_standstill() -> None:
    assert run(maze_model(), Settings(max_frames=3)).reason == "step limit"
    stuck = run(maze_model(draw=lambda before, options: before, judge=lambda before, after: maze.Verdict(True)))
    assert stuck.reason == "no gain" and len(stuck.rounds()) == 1


def test_a_picture_that_shows_nothing_new_ends_the_run_though_its_pixels_differ() -> None:
    still = maze_model(draw=lambda before, options: before, judge=lambda before, after: maze.Verdict(True))

    def paler(document, want, options):
        for item in still._script(document, want, options):
            yield replace(item, rgb=bytes(level ^ 1 for level in item.rgb)) if isinstance(item, Image) else item

    worn = run(ScriptedModel(paler, still.name))
    assert worn.reason == "no gain" and len(worn.rounds()) == 1 and worn.rounds()[0].image != PROBLEM.image


def test_model_raising_mid_draw_passes_through() -> None:
    breaks = ModelUnavailable("Out of memory. Take a smaller model.")
    model = ScriptedModel([[Text("dead ends : a1 . grey them ."), ImagePreview(PROBLEM.image, 1, 64), breaks]])
    events: list[Event] = []
    with pytest.raises(ModelUnavailable, match="smaller model"):
        for event in DrawAgent(model, TASK).events(PROBLEM):
            events.append(event)
    trace = fold(events)
    assert kinds(trace) == ["think", "draw"] and trace.steps[0].done and not trace.steps[1].done and trace.steps[1].image == PROBLEM.image


def test_stop_in_mid_picture() -> None:
    model, stopped = maze_model(), []
    events = []
    for event in DrawAgent(model, TASK).events(PROBLEM, stop=lambda: bool(stopped)):
        events.append(event)
        if isinstance(event, ImagePreview):
            stopped.append(True)
    assert isinstance(events[-1], Finished) and events[-1].reason == "stopped" and model.closed == 1
    assert not fold(events).steps[-1].done


def test_closing_the_stream_closes_the_model() -> None:
    for stream in (lambda agent: agent.events(PROBLEM), lambda agent: agent.stream(PROBLEM)):
        model = maze_model()
        events = stream(DrawAgent(model, TASK))
        assert any(isinstance(event, ImagePreview) for event in events)
        events.close()
        assert model.closed == 1


def test_equal_alone_and_interleaved() -> None:
    model = maze_model(draw=slip_at(2))
    other = TASK.problem("test", 2, 4)
    alone = [run(model, Settings(seed=3)), run(model, Settings(seed=4), other)]
    streams = [DrawAgent(model, TASK, Settings(seed=seed)).events(given) for seed, given in ((3, PROBLEM), (4, other))]
    pairs = list(zip_longest(*streams))
    together = [fold(event for event in events if event is not None) for events in zip(*pairs, strict=True)]
    assert [trace.fingerprint for trace in together] == [trace.fingerprint for trace in alone]
    assert alone[0].fingerprint != run(model, Settings(seed=5)).fingerprint != alone[1].fingerprint


# ---- branches


def test_branch_with_an_edited_thought() -> None:
    model = maze_model()
    trace = run(model)
    step = next(step for step in trace.steps if step.kind == "think" and step.frame == 3)
    grown = run(model, problem=branch(trace, step.id, thought="no dead ends . agent at a1 . go up ."))
    edited = grown.step(len(trace.steps))
    assert edited.edited and edited.kind == "think" and edited.parent == step.parent
    assert any(document.turns[-1].parts == (Text(edited.thought),) for document, _, _ in model.calls)
    assert grown.steps[: len(trace.steps)] == trace.steps and len(grown.leaves) == 2
    assert grown.score["solved"] is False and [item.frame for item in grown.rounds()] == list(range(1, len(GOLD.frames) + 1))
    assert grown.pictures() == trace.pictures() == grown.pictures(trace.steps[-1].id)


def test_branch_with_an_edited_picture_is_repaired() -> None:
    model = maze_model()
    trace = run(model)
    drawn = trace.rounds()[-1]
    wrong = maze.render(without_agent(STARTS[-2]))
    grown = run(model, problem=branch(trace, drawn.picture.id, picture=wrong))
    assert [(item.number, item.kept, item.picture.edited) for item in grown.rounds()[-2:]] == [(0, None, True), (1, "satisfied", False)]
    assert grown.score["solved"] is True and grown.moves == GOLD.moves


def test_branch_with_an_edited_fault() -> None:
    model = maze_model()
    trace = run(model)
    judged = trace.rounds()[1].critique
    grown = run(model, problem=branch(trace, judged.id, fault="wrong . dead end missed at c4 ."))
    verdict = grown.step(len(trace.steps)).critiques[0]
    assert (verdict.by, verdict.fault, verdict.where) == ("visitor", "dead_end_missed", (3, 2))
    assert grown.step(len(trace.steps) + 1).kind == "revise" and grown.score["solved"] is True


def test_branch_with_another_seed_and_without_a_change() -> None:
    model = maze_model(draw=slip_at(2))
    trace = run(model)
    for step in trace.steps[:-1]:
        again, on = (run(model, problem=branch(trace, step.id, seed=seed)) for seed in (9, None))
        for grown in (again, on):
            assert grown.pictures() == trace.pictures() and grown.score["solved"] is True, step
        assert again.settings["seed"] == 9 and again.steps[len(trace.steps)].kind == step.kind
        assert on.steps[len(trace.steps)].parent == step.id
    assert run(model, problem=branch(trace, trace.steps[-1].id, seed=1)).answer == trace.answer


def test_branch_after_a_stop_in_mid_picture() -> None:
    model, seen = maze_model(), []
    stopped = fold(
        DrawAgent(model, TASK).events(PROBLEM, stop=lambda: len(model.calls) > 4 and not seen.append(1)),
    )
    assert stopped.reason == "stopped"
    assert run(model, problem=branch(stopped, stopped.steps[-1].id)).score["solved"] is True


def test_branches_that_do_not_fit_are_refused() -> None:
    trace = run(maze_model())
    for step, change in ((0, {"picture": PROBLEM.image}), (1, {"thought": "x"}), (1, {"fault": "x"}), (0, {"thought": "x", "fault": "y"}),
                         (len(trace.steps) - 1, {}), (999, {}), (1, {"picture": Image(1, 1, bytes(3))})):
        with pytest.raises(BadInput):
            branch(trace, step, **change)


# ---- LangChain


def test_runnable_events_and_custom_events() -> None:
    seen = []

    class Handler(BaseCallbackHandler):
        def on_custom_event(self, name, data, **kwargs) -> None:
            seen.append((name, data))

    agent = DrawAgent(maze_model(), TASK)
    events = list(agent.stream(PROBLEM, {"callbacks": [Handler()]}))
    assert [type(event) for event in events][:2] == [RunStarted, StepStarted] and isinstance(events[-1], Finished)
    assert seen[0][0] == "RunStarted" and sum(name == "Kept" for name, _ in seen) == sum(isinstance(event, Kept) for event in events)
    assert agent.invoke(PROBLEM).fingerprint == fold(events).fingerprint


def test_runnable_async() -> None:
    agent = DrawAgent(maze_model(), TASK)

    async def both():
        names = [event["name"] async for event in agent.astream_events(PROBLEM, version="v2") if event["event"] == "on_custom_event"]
        return names, await agent.ainvoke(PROBLEM)

    names, trace = asyncio.run(both())
    assert names[0] == "RunStarted" and "Answered" in names and names[-1] == "Finished"
    assert trace.fingerprint == agent.invoke(PROBLEM).fingerprint


def test_a_chat_model_as_critic() -> None:
    seer = UnimmChatModel(ScriptedModel(lambda document, want, options: [Text("I see. wrong . no agent at a1 .")]))
    critic = chat_critic(seer, TASK, by="seer")
    verdict = critic(PROBLEM, PROBLEM.image, PROBLEM.image)
    assert (verdict.by, verdict.ok, verdict.fault, verdict.where) == ("seer", False, "no_agent", (0, 0))
    asked = seer.model.calls[0][0].turns[0].parts
    assert asked[:2] == (PROBLEM.image, PROBLEM.image) and "dead end missed" in asked[2].text
    trace = run(maze_model(), Settings(rounds=1), critics={"model": critic})
    assert trace.rounds()[0].verdict("seer") and trace.reason == "rounds used up"


# ---- settings


def test_settings_are_bounded_and_round_trip() -> None:
    settings = Settings(steer="both", seconds=5, seed=3)
    assert Settings.from_dict(settings.to_dict()) == settings
    nan = float("nan")
    for bad in ({"steer": "nobody"}, {"rounds": -1}, {"rounds": 1.5}, {"seconds": "x"}, {"temperature": nan}, {"seed": True}, {"x": 1}):
        with pytest.raises(BadInput):
            Settings.from_dict(bad)


def test_an_answer_in_legs_is_one_text() -> None:
    agent = DrawAgent(maze_model(), replace(TASKS["maze"], leg=1))
    trace = fold(agent.events(PROBLEM))
    moves = maze.solve(PROBLEM).moves
    step = next(step for step in trace.steps if step.kind == "answer")
    assert trace.moves == moves and len(moves) > 1 and trace.answer == step.thought and trace.score["solved"]
    assert trace.answer == " ".join(maze.answer_words([move]) for move in moves)


def test_answer_is_scored_from_the_models_words() -> None:
    inner = maze_model()

    def script(document, want, options):
        lies = want == "text" and isinstance(document.turns[0].parts[0], Text)
        return [Text("answer : 1 left .")] if lies else inner._script(document, want, options)

    events = list(DrawAgent(ScriptedModel(script), TASK).events(PROBLEM))
    answered = next(event for event in events if isinstance(event, Answered))
    assert answered.moves == ("left",) and answered.score["solved"] is False and answered.score["legal_frames"] == len(GOLD.frames)


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"maze"}))
def test_a_task_that_the_weights_do_not_know_is_refused(name: str) -> None:
    model = maze_model()
    model.capabilities = replace(model.capabilities, plain=False)  # nor can it be asked in plain language
    with pytest.raises(BadInput, match=f"was not trained on the task {name}"):
        DrawAgent(model, TASKS[name], Settings()).invoke(TASKS[name].problem("test", 0))
