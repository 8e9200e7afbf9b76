"""The Uni-MMMU format: our parser behaves as the benchmark's was measured to, and fitted boards keep their own pixels."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFilter

from agents.tasks import foreign, maze
from agents.tasks.maze import AGENT, AGENT_ON_GOAL, FLOOR, GOAL, GREY, PALETTE, TRAIL, WALL, Board
from unimm.document import Image
from unimm.errors import BadInput

MARKS = {WALL: "#", FLOOR: " ", GREY: " ", TRAIL: " ", AGENT: "S", GOAL: "G", AGENT_ON_GOAL: "SG"}


def problem(index: int, n: int = 6) -> maze.Problem:
    return maze.problem("test", index, n, "lattice")


def table(board: Board) -> foreign.Table:
    return tuple(tuple(MARKS[kind] for kind in row) for row in board.cells)


def steps(index: int) -> list[Board]:
    """The boards at the start and after each move, without greying."""
    start = problem(index).board
    return [start, *(frame for frame in maze.solve(problem(index)).frames if frame.walked)]


def array(image: Image) -> np.ndarray:
    return np.asarray(image.to_pil()).copy()


def image(pixels: np.ndarray) -> Image:
    return Image.from_pil(PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def on_canvas(picture: Image, width: int, height: int, x: int, y: int) -> Image:
    canvas = PILImage.new("RGB", (width, height), "white")
    canvas.paste(picture.to_pil(), (x, y))
    return Image.from_pil(canvas)


def resized(picture: Image, width: int, height: int) -> Image:
    return Image.from_pil(picture.to_pil().resize((width, height), PILImage.Resampling.BICUBIC))


def noisy(picture: Image, sigma: float) -> Image:
    return image(array(picture) + np.random.default_rng(0).normal(0, sigma, (picture.height, picture.width, 3)))


def jpeg(picture: Image, quality: int) -> Image:
    data = io.BytesIO()
    picture.to_pil().save(data, "JPEG", quality=quality)
    return Image.from_pil(PILImage.open(data))


def blurred(picture: Image, radius: float) -> Image:
    return Image.from_pil(picture.to_pil().filter(ImageFilter.GaussianBlur(radius)))


def recoloured(picture: Image, name: str, level: int) -> Image:
    pixels = array(picture)
    pixels[(pixels == PALETTE[name]).all(-1)] = level
    return image(pixels)


def specked(picture: Image) -> Image:
    pixels = array(on_canvas(resized(picture, 377, 377), 539, 539, 81, 81))
    pixels[20:22, 20:22] = 0
    return image(pixels)


def test_drawing_has_the_measured_geometry():
    board = problem(0).board
    pixels = array(foreign.draw(board))
    assert pixels.shape == (539, 539, 3)
    assert (pixels[:11] == 255).all() and (pixels[:, -11:] == 255).all() and (pixels[11, 11] == PALETTE["wall"]).all()
    area = (517 / 6) ** 2
    assert abs((pixels == PALETTE["agent"]).all(-1).sum() / area - 0.25) < 0.02
    assert abs((pixels == PALETTE["goal"]).all(-1).sum() / area - 0.75) < 0.02


def test_parser_reads_what_is_drawn():
    for index in range(6):
        for board in steps(index):
            assert foreign.parse(foreign.draw(board)) == table(board)
    assert sum(value == "SG" for row in foreign.parse(foreign.draw(steps(0)[-1])) for value in row) == 1


def test_parser_reads_other_sizes_of_board():
    for n in (8, 10):
        board = problem(1, n).board
        assert foreign.parse(foreign.draw(board), n) == table(board)


@pytest.mark.parametrize(
    ("change", "survives"),
    [
        (lambda p: blurred(p, 8), True),
        (lambda p: blurred(p, 12), False),
        (lambda p: jpeg(p, 10), True),
        (lambda p: noisy(p, 30), True),
        (lambda p: noisy(p, 60), False),
        (lambda p: recoloured(p, "floor", 255), True),
        (lambda p: recoloured(p, "floor", 170), True),
        (lambda p: recoloured(p, "floor", 140), False),
        (lambda p: recoloured(p, "wall", 90), True),
        (lambda p: recoloured(p, "wall", 120), False),
        (lambda p: resized(p, 96, 96), True),
        (lambda p: resized(p, 256, 256), True),
        (lambda p: resized(p, 1024, 1024), True),
        (lambda p: on_canvas(p, 900, 900, 361, 361), True),
        (lambda p: on_canvas(p, 900, 900, 0, 0), True),
        (lambda p: on_canvas(p, 539, 560, 0, 10), True),
        (lambda p: on_canvas(p, 539, 600, 0, 61), False),
        (lambda p: on_canvas(p, 700, 539, 161, 0), False),
        (lambda p: resized(p, 539, 600), False),
        (specked, False),
    ],
)  # fmt: skip
def test_parser_survives_and_fails_as_measured(change, survives):
    for index in range(3):
        board = steps(index)[1]
        assert (foreign.parse(change(foreign.draw(board))) == table(board)) == survives


@pytest.mark.parametrize(
    ("share", "at_goal", "survives"), [(0.35, False, True), (1.0, False, True), (0.9, True, True), (0.1, False, False)]
)
def test_parser_takes_a_round_agent(share, at_goal, survives):
    board = steps(2)[-1 if at_goal else 0]
    r, c = board.agent
    bare = foreign.draw(board.put({board.agent: GOAL if at_goal else FLOOR})).to_pil()
    middle, radius = [11 + (place + 0.5) * 517 / 6 for place in (c, r)], share * 517 / 12
    ImageDraw.Draw(bare).ellipse([middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius], fill=PALETTE["agent"])
    assert (foreign.parse(Image.from_pil(bare)) == table(board)) == survives


def test_parser_keeps_two_agents_and_gives_up_on_nothing():
    board = steps(0)[0]
    free = next((r, c) for r in range(6) for c in range(6) if board.cells[r][c] == FLOOR)
    both = board.put({free: AGENT})
    assert foreign.parse(foreign.draw(both)) == table(both)
    assert foreign.parse(image(np.full((300, 300, 3), 255))) == (("?",) * 6,) * 6


# --- scores


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ('<ANSWER_JSON>["up"]</ANSWER_JSON> no, <ANSWER_JSON>["Right "]</ANSWER_JSON>', ["right"]),
        ('<answer_json>\n["UP", "down"]\n</answer_json>', ["up", "down"]),
        ('["right"]', []),
        ("<ANSWER_JSON>[right]</ANSWER_JSON>", []),
        ('<ANSWER_JSON>{"a": 1}</ANSWER_JSON>', []),
        ("", []),
    ],
)
def test_answers_are_read_from_the_last_tag(text, moves):
    assert foreign.answered_moves(text) == moves


def test_text_scores():
    truth = ["right", "down", "down", "left"]
    assert foreign.text_scores(foreign.answer_text(truth), truth) == (True, 1.0)
    assert foreign.text_scores(foreign.answer_text(truth), [" Right", "DOWN", "down", "left"]) == (True, 1.0)
    assert foreign.text_scores(foreign.answer_text([*truth, "up"]), truth) == (False, 1.0)
    assert foreign.text_scores(foreign.answer_text(["right", "up"]), truth) == (False, 0.25)
    assert foreign.text_scores(str(truth), truth) == (False, 0.0)


def test_picture_scores():
    boards = steps(3)
    truth = list(maze.solve(problem(3)).moves)
    start, *frames = [foreign.draw(board) for board in boards]
    k = len(frames)
    assert foreign.expected_tables(start, truth) == [table(board) for board in boards[1:]]
    assert foreign.picture_scores(frames, start, truth) == (True, 1.0)
    assert foreign.picture_scores([*frames, frames[-1]], start, truth) == (False, 1.0)
    assert foreign.picture_scores(frames[:-1], start, truth) == (False, (k - 1) / k)
    assert foreign.picture_scores([start, *frames[1:]], start, truth) == (False, (k - 1) / k)
    assert foreign.picture_scores([], start, truth) == (False, 0.0)


def test_expected_agent_stays_before_a_wall_and_at_the_edge():
    start = foreign.draw(Board.of([[WALL] * 6, [WALL, AGENT, FLOOR, FLOOR, GOAL, FLOOR], *[[WALL] * 6] * 4]))
    left, right = foreign.expected_tables(start, ["up", "right"])
    assert left[1][1] == "S" and right[1][1] == " " and right[1][2] == "S"
    assert foreign.expected_tables(start, ["left"])[0] == foreign.parse(start)


# --- onto our canvas and back


def textured(picture: Image) -> Image:
    """Every pixel a little different, so that a copied pixel can be told from a painted one."""
    return image(array(picture).astype(int) + np.random.default_rng(1).integers(-6, 7, (picture.height, picture.width, 3)))


@pytest.mark.parametrize("side", [256, 539])
def test_put_back_keeps_all_other_pixels_bit_for_bit(side):
    for index in range(3):
        given, picture = problem(index), textured(foreign.draw(problem(index).board, side))
        ours, fit = foreign.fit(picture)
        assert ours.board == given.board and ours.image.width == 256
        assert foreign.put_back(fit, ours.image) == picture
        columns, rows = fit.box.edges(6)
        for board in maze.solve(ours).frames:
            drawn = foreign.put_back(fit, maze.render(board))
            assert foreign.put_back(fit, board) == drawn
            assert foreign.parse(drawn) == table(board)
            same = np.ones((side, side), bool)
            for r, c in itertools.product(range(6), repeat=2):
                if MARKS[board.cells[r][c]] != MARKS[given.board.cells[r][c]]:
                    same[rows[r] : rows[r + 1], columns[c] : columns[c + 1]] = False
            assert (array(drawn)[same] == array(picture)[same]).all()
            assert (array(drawn) != array(picture)).any() == board.walked


def test_a_run_becomes_the_benchmarks_frames():
    for index in range(4):
        start = foreign.draw(problem(index).board)
        ours, fit = foreign.fit(start)
        solution = maze.solve(ours)
        frames = foreign.walk(fit, [maze.render(frame) for frame in solution.frames])
        assert len(frames) == len(solution.moves)
        assert foreign.picture_scores(frames, start, solution.moves) == (True, 1.0)


def test_put_back_uses_the_foreign_colours():
    start = recoloured(foreign.draw(problem(0).board), "floor", 250)
    ours, fit = foreign.fit(start)
    r, c = ours.board.agent
    drawn = array(foreign.put_back(fit, maze.solve(ours).frames[-1]))
    columns, rows = fit.box.edges(6)
    assert (drawn[rows[r] : rows[r + 1], columns[c] : columns[c + 1]] == 250).all()


def test_put_back_draws_what_the_benchmark_would_have_drawn():
    for index in range(3):
        boards = steps(index)
        _, fit = foreign.fit(foreign.draw(boards[0]))
        assert [foreign.put_back(fit, board) for board in boards] == [foreign.draw(board) for board in boards]


def test_put_back_shows_an_unreadable_cell_as_it_was_drawn():
    ours, fit = foreign.fit(foreign.draw(problem(0).board))
    r, c = next((r, c) for r in range(6) for c in range(6) if ours.board.cells[r][c] == FLOOR)
    pixels = array(ours.image)
    pixels[(r + 1) * 32 : (r + 2) * 32, (c + 1) * 32 : (c + 2) * 32] = (255, 0, 255)
    columns, rows = fit.box.edges(6)
    drawn = array(foreign.put_back(fit, image(pixels)))[rows[r] : rows[r + 1], columns[c] : columns[c + 1]]
    assert (drawn == (255, 0, 255)).all()
    with pytest.raises(BadInput):
        foreign.put_back(fit, Image(10, 10, bytes(300)))


def test_a_fitted_picture_may_be_far_from_square():
    board = problem(4).board
    picture = on_canvas(foreign.draw(board), 539, 800, 0, 200)
    ours, fit = foreign.fit(picture)
    assert ours.board == board
    assert foreign.put_back(fit, ours.board) == picture


@pytest.mark.parametrize(
    "harm",
    [
        lambda p: image(np.full((300, 300, 3), 255)),
        lambda p: image(np.zeros((300, 300, 3))),
        lambda p: Image(1, 1, bytes(3)),
        lambda p: resized(p, 8, 8),
        lambda p: noisy(p, 90),
    ],
)
def test_fit_refuses_a_picture_without_a_board(harm):
    with pytest.raises(BadInput):
        foreign.fit(harm(foreign.draw(problem(0).board)))
