"""The page's endpoints through gradio_client, and what the page says to bad input. No model, no network."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image as PILImage
from serving import Gated, fold, redrawer, served, shelf_with, slipping, stream

import app
from agents import damage, desk, looks, uploads, view
from agents.loop import DrawAgent
from agents.scripted import maze_model
from agents.settings import Settings
from agents.tasks import TASKS, compose, figure, foreign, geometry_pictures, geometry_questions, geometry_reader, maze, scene
from agents.trace import Trace
from unimm.document import Image
from unimm.errors import BadInput, MissingWeights

UI = Path(app.__file__).parent / "assets" / "ui"
ROWS = ["S..#", "##..", "#G.#", "####"]
NASTY = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}</script><script>alert(4)</script>\\"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(slipping()) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return DrawAgent(slipping(), TASKS["maze"], Settings()).invoke(maze.paint(ROWS))


def follow(client: Client, job: str, since: int = 0) -> list[dict]:
    task = client.submit(job, since, api_name="/follow")
    task.result()
    return task.outputs()


def refused(client: Client, *args: object, api_name: str, **named: object) -> str:
    """The message of a refusal."""
    with pytest.raises(AppError) as caught:
        client.predict(*args, api_name=api_name, **named)
    return str(caught.value)


def png(picture: PILImage.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, str(options.pop("format", "PNG")), **options)
    return buffer.getvalue()


# ---- what works


def test_endpoints_are_named_and_typed(client: Client) -> None:
    known = client.view_api(return_format="dict")["named_endpoints"]
    assert set(known) == {f"/{name}" for name in desk.ENDPOINTS}
    start = {row["parameter_name"]: row for row in known["/start_run"]["parameters"]}
    assert list(start) == ["rows", "steer", "rounds", "temperature", "guidance", "seed", "picture", "model"]
    assert start["rounds"]["python_type"]["type"] == "int" and start["rounds"]["parameter_default"] == 6
    assert all(known[name]["returns"] for name in known)


def test_new_maze_is_the_same_for_the_same_seed(client: Client) -> None:
    one, two = (client.predict(6, 11, "grown", api_name="/new_maze") for _ in range(2))
    assert one == two != client.predict(6, 12, "grown", api_name="/new_maze")
    assert maze.split_of(maze.paint(one["rows"]).board) == "test"


def test_check_says_why_not(client: Client) -> None:
    assert client.predict(ROWS, api_name="/check_maze") == {"ok": True, "reason": ""}
    answer = client.predict(["S#..", "##..", "...G", "...."], api_name="/check_maze")
    assert not answer["ok"] and "No route" in answer["reason"]


def test_run_is_followed_to_its_end(client: Client) -> None:
    job = client.predict(ROWS, api_name="/start_run")["job"]
    pieces = follow(client, job)
    assert [piece["running"] for piece in pieces[-1:]] == [False] and pieces[0]["head"]["size"] == 4
    seen = fold(pieces)
    head, steps = seen["head"], seen["steps"]
    assert head["reason"] == "satisfied" and head["score"]["solved"] and head["route"][-1] == [2, 1]
    assert {"think", "draw", "critique", "revise", "answer"} == {step["kind"] for step in steps.values()}
    assert all(step["done"] for step in steps.values())
    assert all(step[key] is None or step[key] in seen["pictures"] for step in steps.values() for key in ("image", "before"))
    wrong = next(critique for step in steps.values() for critique in step["critiques"] if not critique["ok"])
    assert wrong["fault"] == "no_agent" and wrong["where"] == "a1"


def test_second_client_attaches_and_misses_nothing(url: str, client: Client) -> None:
    job = client.predict(ROWS, api_name="/start_run")["job"]
    whole = fold(follow(client, job))
    for since in (0, 3, len(whole["steps"])):
        rest = fold(follow(Client(url, verbose=False), job, since))
        assert rest["head"] == whole["head"]
        assert {**{i: whole["steps"][i] for i in range(max(since - 1, 0))}, **rest["steps"]} == whole["steps"]


def test_stop_keeps_what_is_drawn() -> None:
    model = Gated(maze_model())
    with served(model) as address:
        client = Client(address, verbose=False)
        job = client.predict(ROWS, api_name="/start_run")["job"]
        model.let(2)  # one picture and its critique
        coming = stream(address, "follow", job, 0)
        pieces = []
        while len(fold(pieces)["steps"]) < 4:
            pieces.append(next(coming))
        client.predict(job, api_name="/stop")
        model.let(100)
        seen = fold([*pieces, *coming])
    assert seen["head"]["reason"] == "stopped" and seen["steps"][1]["done"] and seen["steps"][1]["image"]


def test_solve_returns_the_whole_trace(client: Client) -> None:
    answer = client.predict(5, 3, api_name="/solve")
    assert answer["solved"] and Trace.from_dict(answer["trace"]).moves == tuple(answer["moves"])


def test_exports(client: Client) -> None:
    job = client.predict(ROWS, api_name="/start_run")["job"]
    follow(client, job)
    files = {kind: base64.b64decode(client.predict(job, kind, api_name="/export")["base64"]) for kind in desk.EXPORTS}
    assert files["gif"][:4] == b"GIF8" and files["png"][:4] == b"\x89PNG"
    text = files["json"].decode()
    opened = client.predict(text, api_name="/open_trace")
    assert opened["head"]["reason"] == "satisfied" and len(opened["steps"]) == len(Trace.from_json(text).steps)


def test_branch_follows_an_edited_thought(client: Client, trace: Trace) -> None:
    think = next(step for step in trace.steps if step.kind == "think" and step.frame == 2)
    job = client.predict(trace.to_json(), think.id, "dead ends : c1 . grey them .", None, api_name="/branch")["job"]
    seen = fold(follow(client, job))
    edited = [step for step in seen["steps"].values() if step["edited"]]
    assert [step["thought"] for step in edited] == ["dead ends : c1 . grey them ."]
    assert len(seen["head"]["leaves"]) == 2 and len(seen["steps"]) > len(trace.steps)


def test_foreign_and_own_pictures_are_read(client: Client) -> None:
    for cells in (4, 6, 8):
        board = maze.generate("test", cells, cells, None)
        rows = list(maze.Problem(board, "x").rows)
        for picture in (foreign.draw(board), maze.render(board), foreign.draw(board, 700)):
            data = base64.b64encode(picture.to_png()).decode()
            assert client.predict(data, api_name="/read_picture")["rows"] == rows


def photo() -> Image:
    """A picture in the Uni-MMMU style in the corner of a wider one, with noise that no renderer makes."""
    board = foreign.draw(maze.paint(ROWS).board, 400)
    sheet = PILImage.new("RGB", (560, 460), "white")
    sheet.paste(board.to_pil(), (110, 30))
    pixels = np.asarray(sheet).astype(np.int16) - np.random.default_rng(1).integers(0, 4, (460, 560, 3))
    return Image.from_pil(PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def test_drawn_steps_go_back_on_the_visitors_picture(client: Client) -> None:
    brought = photo()
    read = client.predict(base64.b64encode(brought.to_png()).decode(), api_name="/read_picture")
    assert read["rows"] == ROWS and Image.from_png(base64.b64decode(read["picture"])) == brought
    job = client.predict(read["rows"], picture=read["picture"], api_name="/start_run")["job"]
    seen = fold(follow(client, job))
    own = seen["pictures"]["own"]
    assert (own["width"], own["height"]) == (560, 460) and seen["head"]["score"]["solved"]
    last = [step["image"] for step in seen["steps"].values() if step["image"]][-1]
    layer = np.asarray(PILImage.open(io.BytesIO(base64.b64decode(seen["pictures"][last]["own"].partition(",")[2]))))
    cell = own["side"] / 4
    theirs = np.asarray(brought.to_pil())
    put = (layer[..., 3] > 0) & (layer[..., :3] != theirs).any(-1)
    drawn = {(int((y - own["top"]) // cell), int((x - own["left"]) // cell)) for y, x in np.argwhere(put)}
    assert drawn == {(0, 0), (2, 1)}  # start and goal; everything else is the visitor's
    text = base64.b64decode(client.predict(job, "json", api_name="/export")["base64"]).decode()
    assert client.predict(text, api_name="/open_trace")["pictures"]["own"] == own
    files = [base64.b64decode(client.predict(text, "png", on, api_name="/export")["base64"]) for on in (True, False)]
    assert PILImage.open(io.BytesIO(files[0])).width > 2 * PILImage.open(io.BytesIO(files[1])).width


def test_a_picture_of_another_maze_is_refused_and_a_broken_one_hides_nothing(client: Client, trace: Trace) -> None:
    other = base64.b64encode(foreign.draw(maze.generate("test", 1, 4)).to_png()).decode()
    assert "another maze" in refused(client, ROWS, "model", 3, 0, 1, 0, other, api_name="/start_run")
    for picture in (other, NASTY):
        opened = client.predict(json.dumps(trace.to_dict() | {"problem": {**trace.problem, "picture": picture}}), api_name="/open_trace")
        assert "own" not in opened["pictures"] and len(opened["steps"]) == len(trace.steps)


# ---- other ways, and damage


def test_a_problem_of_any_task_is_checked_and_run(client: Client) -> None:
    made = client.predict("maze", 5, api_name="/new_problem")
    assert client.predict(made["problem"], api_name="/check_problem") == {"ok": True, "reason": "", **made}
    assert "No route" in client.predict({"task": "maze", "rows": ["S#..", "##..", "...G", "...."]}, api_name="/check_problem")["reason"]
    job = client.predict({"task": "maze", "rows": ROWS}, {"critique": False, "seed": 3}, api_name="/start")["job"]
    seen = fold(follow(client, job))
    assert seen["head"]["settings"]["seed"] == 3 and "critique" not in {step["kind"] for step in seen["steps"].values()}


def test_a_glance_answers_without_a_picture(client: Client) -> None:
    job = client.predict({"task": "maze", "rows": ROWS}, {}, "", "glance", api_name="/start")["job"]
    seen = fold(follow(client, job))
    assert [step["kind"] for step in seen["steps"].values()] == ["answer"]
    assert seen["head"]["score"]["solved"] and seen["head"]["moves"][0] == "right"


def layer(colour: str, box: tuple[int, int, int, int]) -> bytes:
    """What a brush leaves: one opaque box on a transparent layer of the size of the shown picture."""
    sheet = PILImage.new("RGBA", (128, 128))
    sheet.paste(PILImage.new("RGBA", (box[2] - box[0], box[3] - box[1]), colour), box)
    return png(sheet)


def drawn_step(trace: Trace) -> int:
    return next(step.id for step in trace.steps if step.kind == "draw" and step.frame == 1)


def test_damage_changes_what_it_touches_and_nothing_else(trace: Trace) -> None:
    step = drawn_step(trace)
    before = maze.read(trace.step(step).image, 4).board
    painted = damage.damaged(trace, step, b"", [{"tool": "paint", "at": "d1", "to": "floor"}])
    assert maze.read(painted, 4).board == before.put({(0, 3): maze.FLOOR})
    assert painted == damage.damaged(trace, step, layer("#f4efe6", (96, 0, 128, 32)))
    smeared = damage.damaged(trace, step, layer("#ff00ff", (10, 70, 25, 80)))
    assert (2, 0) in maze.read(smeared, 4).unreadable and (smeared.width, smeared.height) == (256, 256)


@pytest.mark.parametrize(
    ("changes", "brush", "words"),
    [
        ([{"tool": "paint", "at": "d1", "to": NASTY}], b"", "Use one of"), ([{"tool": "paint", "at": "z9", "to": "wall"}], b"", "no place"),
        ([{"tool": NASTY}], b"", "no tool"), ([[1]], b"", "object of texts"), ([{}] * 100, b"", "at most"), (NASTY, b"", "at most"),
        ([], b"no picture", "no PNG"), ([], png(PILImage.new("RGBA", (40, 40))), "128x128"),
    ],
)  # fmt: skip
def test_damage_that_fits_no_picture_is_refused(trace: Trace, changes: object, brush: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        damage.damaged(trace, drawn_step(trace), brush, changes)
    with pytest.raises(BadInput, match="Only a drawn picture"):
        damage.damaged(trace, 0)


def test_the_tools_move_erase_and_recolour_one_thing() -> None:
    asked = compose.paint("two red circles left of a blue square")
    before = compose.solve(asked).frames[-1]
    thing, other = before.things[0], before.things[-1]
    at, to = maze.cell_name(thing.slot), maze.cell_name(other.slot)

    def after(tool: str, **change: str) -> scene.Scene:
        return scene.read(damage.TOOLS["compose"][tool](compose.render(before), asked, {"at": at, **change})).scene

    assert after("recolour", to="green") == before.put(replace(thing, colour="green"))
    assert after("erase") == before.without(thing.slot)
    assert after("move", to=to) == before.put(replace(thing, slot=other.slot), replace(other, slot=thing.slot))
    with pytest.raises(BadInput, match="no shape"):
        after("recolour", at=maze.cell_name(before.free[0]), to="green")


def test_a_drawn_line_is_moved_by_its_end_and_erased() -> None:
    question = geometry_questions.generate("test", 7, "median_length")
    whole, asked = question.sheets[-1], SimpleNamespace(task="geometry", figure=question.figure)
    start, end = next(iter(whole.lines))
    free = next((r, c) for r in range(1, 8) for c in range(1, 8) if (r, c) not in {start, end, *question.figure.at.values()})

    def after(tool: str, at: figure.Point, to: figure.Point = free) -> figure.Sheet | None:
        change = {"at": figure.point_name(at), "to": figure.point_name(to)}
        image = damage.TOOLS["geometry"][tool](geometry_pictures.render(whole), asked, change)
        return geometry_reader.read(image, question.figure).sheet

    assert after("move", end).lines == {figure.segment(start, free)} and after("move", end).figure == question.figure
    assert after("erase", end).lines == frozenset()
    with pytest.raises(BadInput, match="No drawn line ends"):
        after("move", free, end)


def test_both_judge_a_broken_picture_and_the_model_repairs_it(client: Client, trace: Trace) -> None:
    broken = [{"tool": "paint", "at": "d1", "to": "floor"}]
    job = client.predict(trace.to_json(), drawn_step(trace), broken, api_name="/judge_damage")["job"]
    seen = fold(follow(client, job))
    last = list(seen["steps"].values())[-1]
    assert last["kind"] == "critique" and last["id"] == len(trace.steps) + 1
    said = {verdict["by"]: (verdict["ok"], verdict["fault"], verdict["where"]) for verdict in last["critiques"]}
    assert said["model"] == said["program"] == (False, "wall_changed", "d1")
    again = client.predict(job, last["id"], None, None, api_name="/branch")["job"]
    after = fold(follow(client, again))
    assert after["head"]["score"]["solved"] and after["steps"][last["id"] + 1]["kind"] == "revise"


# ---- what is refused


@cache
def bad_pictures() -> dict[str, tuple[bytes, str]]:
    good = foreign.draw(maze.paint(ROWS).board).to_png()
    frames = [PILImage.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    closed = maze.Board.of([[maze.WALL if kind == maze.FLOOR else kind for kind in row] for row in maze.generate("test", 2, 6).cells])
    return {
        "text": (b"this is no picture", "not a PNG"),
        "empty": (b"", "empty"),
        "truncated": (good[: len(good) // 2], "damaged"),
        "huge": (png(PILImage.new("1", (10_000, 10_000))), "megapixels"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not a PNG"),
        "gif": (png(frames[0], format="GIF", save_all=True, append_images=frames[1:]), "not a PNG"),
        "animated png": (png(frames[0], save_all=True, append_images=frames[1:]), "animated"),
        "animated webp": (png(frames[0], format="WEBP", save_all=True, append_images=frames[1:]), "animated"),
        "no maze": (png(PILImage.new("RGB", (300, 300), "white")), "board"),
        "no route": (foreign.draw(closed).to_png(), "No route"),
    }


BAD_PICTURES = ("text", "empty", "truncated", "huge", "svg", "gif", "animated png", "animated webp", "no maze", "no route")


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_bad_pictures_are_refused_with_the_reason(client: Client, kind: str) -> None:
    data, reason = bad_pictures()[kind]
    assert reason in refused(client, base64.b64encode(data).decode(), api_name="/read_picture")
    assert client.predict(ROWS, api_name="/check_maze")["ok"]


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ((NASTY, NASTY, NASTY), "/new_maze"), ((6, 1, NASTY), "/new_maze"), ((10**9, 1, "any"), "/new_maze"), ((6, -1, "any"), "/new_maze"),
        ((NASTY,), "/read_picture"), ((None,), "/read_picture"), (([NASTY] * 4,), "/start_run"), ((NASTY,), "/start_run"),
        ((ROWS, NASTY), "/start_run"), ((ROWS, "model", NASTY), "/start_run"), ((ROWS, "model", 3, NASTY), "/start_run"),
        ((ROWS, "model", 3, 0, NASTY), "/start_run"), ((ROWS, "model", 3, 0, 1, NASTY), "/start_run"),
        ((ROWS, "model", 1e300), "/start_run"),
        ((["S" * 100] * 100,), "/start_run"), ((["S...", "....", "....", "...S"],), "/start_run"),
        ((NASTY,), "/stop"), (({"a": 1},), "/stop"), ((NASTY, 0), "/follow"), (("x", NASTY), "/follow"),
        ((NASTY, 0, NASTY, 1), "/branch"), ((NASTY,), "/open_trace"), (("recorded:../../app",), "/open_trace"),
        (("recorded:" + NASTY,), "/open_trace"), ((NASTY, "json"), "/export"), (("x", NASTY), "/export"), ((NASTY, 1), "/solve"),
        (({"task": NASTY},), "/start"), (({"task": "maze", "rows": [1]},), "/start"),
        (({"task": "maze", "rows": ROWS}, {NASTY: 1}), "/start"),
        (({"task": "maze", "rows": ROWS}, {"critique": NASTY}), "/start"), (({"task": "maze", "rows": ROWS}, {}, "", NASTY), "/start"),
        ((NASTY, 1), "/new_problem"), (("maze", 1, NASTY), "/new_problem"), ((NASTY,), "/read_scene"),
        ((NASTY, 0, []), "/damage"), ((NASTY, 0, [], NASTY), "/judge_damage"),
    ],
)  # fmt: skip
def test_bad_values_get_a_clear_message(client: Client, args: tuple, name: str) -> None:
    message = refused(client, *args, api_name=name)
    assert "Traceback" not in message and not re.search("error has occurred|unexpected", message), message
    assert len(message) < 300


def test_nasty_thought_is_only_text(client: Client, trace: Trace) -> None:
    job = client.predict(trace.to_json(), 0, NASTY, None, api_name="/branch")["job"]
    seen = fold(follow(client, job))
    assert any(step["thought"] == NASTY for step in seen["steps"].values())


def damaged(trace: Trace) -> dict[str, str]:
    data = trace.to_dict()
    return {
        "cut": trace.to_json()[:2000],
        "no json": "{" + NASTY,
        "list": "[1, 2]",
        "other task": json.dumps({**data, "task": NASTY}),
        "no steps": json.dumps({key: value for key, value in data.items() if key != "steps"}),
        "bad picture": json.dumps({**data, "pictures": ["AAAA"] * len(data["pictures"])}),
        "wrong parent": json.dumps({**data, "steps": [{**data["steps"][0], "parent": 5}]}),
        "no maze": json.dumps({**data, "problem": {"rows": NASTY}}),
        "deep": "[" * 100_000,
    }


@pytest.mark.parametrize("kind", ["cut", "no json", "list", "other task", "no steps", "bad picture", "wrong parent", "no maze", "deep"])
def test_damaged_traces_are_refused(client: Client, trace: Trace, kind: str) -> None:
    for name, args in (("/open_trace", ()), ("/export", ("gif",)), ("/branch", (0, None, 1))):
        message = refused(client, damaged(trace)[kind], *args, api_name=name)
        assert len(message) < 300 and "error has occurred" not in message, message


def test_big_upload_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(BadInput, match="larger"):
        uploads.open_picture(b"0" * (uploads.MAX_BYTES + 1))


# ---- the model behind the page


def test_page_is_up_before_the_model_and_runs_wait_for_it() -> None:
    gate = Gated(maze_model())

    def load() -> Gated:
        gate.permits.acquire()
        return gate

    loading = app.Loading(load)
    with served(loading.start()) as address:
        client = Client(address, verbose=False)
        assert client.predict(api_name="/status") == {"ready": False, "error": ""}
        job = client.predict(ROWS, api_name="/start_run")["job"]
        coming = stream(address, "follow", job, 0)
        assert next(coming) == {"running": True, "ready": False, "model": "star-tiny", "words": ""}
        gate.let(1000)
        assert fold(list(coming))["head"]["score"]["solved"]


def test_another_model_is_loaded_when_a_run_asks_for_it() -> None:
    gate, asked = Gated(redrawer()), []

    def load(name: str) -> Gated:
        asked.append(name)
        gate.permits.acquire()
        return gate

    with served(slipping(), shelf_with(load, "janus-pro-1b", "emu3")) as address:
        client = Client(address, verbose=False)
        rows = {row["name"]: row for row in client.predict(api_name="/models")}
        assert next(iter(rows)) == "star-tiny" and rows["star-tiny"]["embedded"] and rows["star-tiny"]["available"]
        assert rows["bagel-7b-mot"]["available"] is False and rows["bagel-7b-mot"]["reason"] == "not fetched"
        assert rows["bagel-7b-mot"]["command"] == "python -m unimm.models --get bagel-7b-mot"
        assert rows["janus-pro-1b"]["edit"] is False and rows["janus-pro-1b"]["memory_gb"]["bf16"] > 1
        assert "not fetched" in refused(client, ROWS, model="bagel-7b-mot", api_name="/start_run")
        assert "Choose one of" in refused(client, ROWS, model=NASTY, api_name="/start_run")
        job = client.predict(ROWS, model="janus-pro-1b", api_name="/start_run")["job"]
        coming = stream(address, "follow", job, 0)
        assert next(coming) == {"running": True, "ready": False, "model": "janus-pro-1b", "words": ""}
        assert fold(follow(client, client.predict(ROWS, api_name="/start_run")["job"]))["head"]["model"] == "scripted maze"  # meanwhile
        other = client.predict(ROWS, model="emu3", api_name="/start_run")["job"]
        assert "in use" in follow(client, other)[-1]["words"]  # one such model at a time
        gate.let(1000)
        head = fold(list(coming))["head"]
        assert head["model"] == "janus-pro-1b" and head["reason"] == "satisfied" and head["moves"] == ["up", "down"]
        follow(client, client.predict(ROWS, model="janus-pro-1b", api_name="/start_run")["job"])
        assert asked == ["janus-pro-1b"]
        follow(client, client.predict(ROWS, model="emu3", api_name="/start_run")["job"])
        assert asked == ["janus-pro-1b", "emu3"]


def test_a_model_that_does_not_load_fails_its_run_and_may_be_tried_again() -> None:
    tries = []

    def load(name: str) -> Gated:
        tries.append(name)
        raise MissingWeights("emu3 is damaged. Fetch it again.") if len(tries) == 1 else RuntimeError("bug")

    with served(slipping(), shelf_with(load, "emu3")) as address:
        client = Client(address, verbose=False)
        for words in ("emu3 is damaged", "RuntimeError"):
            assert words in follow(client, client.predict(ROWS, model="emu3", api_name="/start_run")["job"])[-1]["words"]
        assert client.predict(api_name="/status") == {"ready": True, "error": ""}
        assert fold(follow(client, client.predict(ROWS, api_name="/start_run")["job"]))["head"]["score"]["solved"]


def test_missing_weights_are_said_and_the_page_stays() -> None:
    def load() -> Gated:
        raise MissingWeights("assets/star-tiny holds no weights. Train the model.")

    loading = app.Loading(load)
    loading.start().wait_done()
    with served(loading) as address:
        client = Client(address, verbose=False)
        assert "no weights" in client.predict(api_name="/status")["error"]
        assert "no weights" in refused(client, ROWS, api_name="/start_run")


def test_pieces_add_up_to_the_whole(trace: Trace) -> None:
    whole = view.patch(trace)
    sent: set[str] = set()
    pieces, old = [], None
    for count in range(1, len(trace.steps) + 1):
        part = replace(trace, steps=trace.steps[:count])
        pieces.append(view.patch(part, old, 0, sent))
        old = part
    seen = fold(pieces)
    assert {str(number): step for number, step in seen["steps"].items()} == whole["steps"] and seen["pictures"] == whole["pictures"]
    assert sum(len(piece["pictures"]) for piece in pieces) == len(whole["pictures"])


def test_pictures_lose_their_margin_but_not_their_size() -> None:
    problem = maze.paint(ROWS)
    shown = view.picture_view(problem.image, "maze", 4, looks.window(problem, problem.image))
    picture = Image.from_png(base64.b64decode(shown["src"].partition(",")[2]))
    assert (picture.width, picture.height) == (128, 128) and shown["agent"] == "a1" and shown["goal"] == "b3"


# ---- the page's own files


def texts() -> dict:
    return json.loads((UI / "texts.json").read_text(encoding="utf-8"))


def test_both_languages_say_everything() -> None:
    en, zh = texts()["en"], texts()["zh"]
    assert set(en) == set(zh)
    places = {key: set(re.findall(r"{\w+}", en[key])) for key in en if not key.startswith("gloss")}
    assert {key: set(re.findall(r"{\w+}", zh[key])) for key in places} == places


def test_every_text_that_the_page_uses_is_there() -> None:
    en = texts()["en"]
    markup = (UI / "page.html").read_text(encoding="utf-8")
    script = "".join(path.read_text(encoding="utf-8") for path in UI.glob("*.js"))
    used = set(re.findall(r'data-(?:t|label)="([^"]+)"', markup)) | set(re.findall(r'\bt\("([^"]+)"', script))
    assert used <= set(en)
    faults = {f"fault.{kind}" for task in TASKS.values() for kind in task.faults}
    assert faults <= set(en) and {f"figure.kind.{kind}" for kind in getattr(TASKS.get("geometry"), "groups", ())} <= set(en)
    assert {f"{part}.{task}" for part in ("task", "kind.start", "empty", "before") for task in TASKS} <= set(en)
    assert {f"reason.{reason}" for reason in ("satisfied", "no gain", "stopped", "failed")} <= set(en)


def test_refusals_are_known_in_chinese() -> None:
    patterns = [re.compile(pattern, re.DOTALL) for pattern, _ in texts()["messages"]]
    said = []
    for rows in (["S#..", "##..", "...G", "...."], ["....", "....", "....", "...S"], ["S..S", "....", "....", "...G"], ["SG"]):
        with pytest.raises(BadInput) as caught:
            maze.paint(rows)
        said.append(str(caught.value))
    for data, _ in bad_pictures().values():
        with pytest.raises(BadInput) as caught:
            uploads.board_in(uploads.open_picture(data))
        said.append(str(caught.value))
    for text in ("{", "{}", "[1]"):
        with pytest.raises(BadInput) as caught:
            Trace.from_json(text)
        said.append(str(caught.value))
    assert [words for words in said if not any(pattern.fullmatch(words) for pattern in patterns)] == []


def test_page_loads_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(url).text
    assert app.os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page)
    assert httpx.get(f"{url}monitoring/summary").status_code in (403, 404)
    head = httpx.get(f"{url}config").json()["head"]
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg", "", head)
    data = json.loads(re.search(r'<script type="application/json" id="think-data">(.*?)</script>', head, re.DOTALL)[1])
    assert data["settings"]["rounds"]["high"] == 20 and maze.paint(data["board"])


def test_markup_has_no_template_marks() -> None:
    assert not re.search(r"\$\{|\{\{|`|\\", (UI / "page.html").read_text(encoding="utf-8"))
