"""Traces: folding, the file and its damage, pictures of a run."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import replace

import pytest
from PIL import Image as PILImage

from agents.events import RunStarted, event_to_dict
from agents.export import gif, strip
from agents.loop import DrawAgent
from agents.scripted import maze_model
from agents.settings import Settings
from agents.tasks import TASKS, maze
from agents.trace import Trace, branch, fold
from agents.trace_file import MAX_BYTES
from unimm.document import Image
from unimm.errors import BadInput

TASK = TASKS["maze"]
PROBLEM = TASK.problem("test", 8, 4)


def slipping(before: maze.Board, options) -> maze.Board:
    return before if before == PROBLEM.board else maze.next_board(before) or before


@pytest.fixture(scope="module")
def events() -> list:
    return list(DrawAgent(maze_model(draw=slipping), TASK, Settings(seed=2)).events(PROBLEM))


@pytest.fixture(scope="module")
def trace(events) -> Trace:
    return fold(events)


def test_a_trace_is_its_events_folded(events) -> None:
    trace = fold(events[:1])
    assert not trace.finished and trace.path() == () and trace.rounds() == ()
    for event in events[1:]:
        trace = trace.add(event)
    assert trace == fold(events) and trace.finished
    with pytest.raises(BadInput):
        fold(events[1:])
    with pytest.raises(BadInput):
        fold([])


def test_every_prefix_round_trips(events) -> None:
    for end in range(1, len(events), 7):
        trace = fold(events[:end])
        assert Trace.from_json(trace.to_json()) == trace


def test_json_round_trip_is_exact(trace: Trace, tmp_path) -> None:
    assert Trace.from_dict(trace.to_dict()) == trace
    trace.save(tmp_path / "trace.json")
    again = Trace.load(tmp_path / "trace.json")
    assert again == trace and again.to_json() == trace.to_json() and again.fingerprint == trace.fingerprint
    assert len(again.to_dict()["pictures"]) == len({step.image for step in trace.steps if step.image} | {trace.start})


def test_branched_trace_round_trips(trace: Trace) -> None:
    other = DrawAgent(maze_model(), TASK).invoke(branch(trace, 2, fault="correct ."))
    assert Trace.from_json(other.to_json()) == other and len(other.leaves) == 2
    assert other.path(trace.steps[-1].id) == trace.path()
    assert [item.kept for item in other.rounds()][:1] == ["satisfied"] and [item.kept for item in trace.rounds()][:1] == [None]


def test_what_a_critic_doubts_is_kept_and_files_without_it_are_read(trace: Trace) -> None:
    step = next(step for step in trace.steps if step.critiques)
    doubting = replace(step.critiques[0], told="wrong .", doubts=(0.1, 0.9, 0.2, 0.3))
    told = replace(trace, steps=tuple(replace(one, critiques=(doubting,)) if one is step else one for one in trace.steps))
    assert Trace.from_json(told.to_json()) == told
    data = trace.to_dict()
    for row in (row for step in data["steps"] for row in step["critiques"]):
        del row["told"], row["doubts"]
    assert Trace.from_dict(data) == trace


def test_fingerprint_ignores_times_only(trace: Trace, events) -> None:
    assert replace(trace, seconds=9.0).fingerprint == trace.fingerprint != replace(trace, answer="x").fingerprint
    late = replace(trace, steps=(replace(trace.steps[0], seconds=5.0), *trace.steps[1:]))
    assert late.fingerprint == trace.fingerprint


DAMAGE = [
    lambda d: d.pop("steps"),
    lambda d: d.update(version=99),
    lambda d: d.update(task=7),
    lambda d: d.update(start=10**6),
    lambda d: d.update(start=None),
    lambda d: d.update(total=-1),
    lambda d: d.update(reason="because"),
    lambda d: d.update(moves=[1]),
    lambda d: d.update(words="x" * 10**6),
    lambda d: d.update(seconds="soon"),
    lambda d: d.update(seconds=float("nan")),
    lambda d: d.update(problem=[]),
    lambda d: d.update(settings={"x": "y" * 10**6}),
    lambda d: d["pictures"].__setitem__(0, "not base64!"),
    lambda d: d["pictures"].__setitem__(0, d["pictures"][0][:200]),
    lambda d: d["pictures"].__setitem__(0, ""),
    lambda d: d["pictures"].__setitem__(0, 5),
    lambda d: d["pictures"].clear(),
    lambda d: d["steps"].append("step"),
    lambda d: d["steps"][1].update(id=0),
    lambda d: d["steps"][1].update(parent=1),
    lambda d: d["steps"][1].update(kind="dance"),
    lambda d: d["steps"][1].update(kind=None),
    lambda d: d["steps"][1].update(image=-1),
    lambda d: d["steps"][1].update(done=1),
    lambda d: d["steps"][1].update(changed=[[1]]),
    lambda d: d["steps"][1].update(changed=[[1, -1]]),
    lambda d: d["steps"][1].update(stats={"seconds": True}),
    lambda d: d["steps"][2].update(of=7),
    lambda d: d["steps"][2]["critiques"][0].pop("ok"),
    lambda d: d["steps"][2]["critiques"][0].update(where="a1"),
    lambda d: d["steps"][2]["critiques"][0].update(told=1),
    lambda d: d["steps"][2]["critiques"][0].update(doubts=["a"]),
    lambda d: d["steps"][2]["critiques"][0].update(doubts=[0.5, 0.5]),
    lambda d: d["steps"][0]["latents"][0].update(words=[["a"]]),
    lambda d: d["steps"][0]["latents"][0].update(heat=[0.5]),
    lambda d: d["steps"].extend(copy.deepcopy(d["steps"][0]) for _ in range(5000)),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_data_is_refused(trace: Trace, damage) -> None:
    data = json.loads(trace.to_json())
    damage(data)
    with pytest.raises(BadInput):
        Trace.from_dict(data)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"x"', "[" * 100_000, b"\xff\xfe\x00", b"\x89PNG\r\n"])
def test_files_that_are_no_traces_are_refused(text, tmp_path) -> None:
    with pytest.raises(BadInput):
        Trace.from_json(text)


def test_cut_files_are_refused(trace: Trace, tmp_path) -> None:
    whole, path = trace.to_json(), tmp_path / "cut.json"
    for share in (0.1, 0.5, 0.999):
        path.write_text(whole[: int(len(whole) * share)])
        with pytest.raises(BadInput):
            Trace.load(path)
    for missing in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(BadInput):
            Trace.load(missing)


def test_large_files_and_pictures_are_refused_unread(trace: Trace, tmp_path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(BadInput, match="MB"):
        Trace.load(path)
    data = trace.to_dict()
    data["pictures"][0] = Image.from_pil(PILImage.new("L", (4000, 10))).to_dict()["png"]
    with pytest.raises(BadInput, match="large"):
        Trace.from_dict(data)


def test_strip_and_gif_show_every_round(trace: Trace) -> None:
    sheet = strip(trace, columns=3)
    rounds = trace.rounds()
    assert len(rounds) == len(trace.pictures()) + 1
    # The frames' colours tell kept pictures from rejected ones.
    assert sheet.getpixel((12 + 256 + 12, 40)) == (0xB9, 0x1C, 0x1C) and sheet.getpixel((12 + 2 * 268, 40)) == (0x15, 0x80, 0x3D)
    with PILImage.open(io.BytesIO(gif(trace))) as animation:
        assert animation.n_frames == len(rounds) + 1 and animation.info["loop"] == 0
        animation.seek(1)
        shown = animation.convert("RGB").crop((8, 8, 248, 248))
    difference = [abs(a - b) for a, b in zip(shown.tobytes(), rounds[0].image.to_pil().crop((8, 8, 248, 248)).tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 8


def test_strip_of_a_run_without_pictures(events) -> None:
    assert strip(fold(events[:1])).width > 256 and gif(fold(events[:1]))[:3] == b"GIF"


def test_events_as_plain_data(events) -> None:
    data = [event_to_dict(event) for event in events]
    assert json.loads(json.dumps(data)) == data
    assert data[0]["event"] == "RunStarted" and data[0]["start"]["type"] == "image" and isinstance(events[0], RunStarted)
