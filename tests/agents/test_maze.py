"""Mazes: every answer is derived again by other means, every kind of fault is made and named, pixels and words read back."""

from __future__ import annotations

import io
import itertools
import random

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageFilter

from agents.tasks import TASKS, maze
from agents.tasks.maze import AGENT, AGENT_ON_GOAL, FLOOR, GOAL, GREY, MARGIN, MOVES, TRAIL, WALL, Board, Verdict
from unimm.document import Image, Text
from unimm.errors import BadInput

LETTERS = {"#": WALL, ".": FLOOR, "x": GREY, "+": TRAIL, "S": AGENT, "G": GOAL, "@": AGENT_ON_GOAL, "?": MARGIN}


def board(*rows: str) -> Board:
    return Board.of([LETTERS[letter] for letter in row] for row in rows)


def problems(count: int, **options) -> list[maze.Problem]:
    return [maze.problem("train", index, **options) for index in range(count)]


# --- an independent solver: the tree walked from the goal, no wave-by-wave rule and no breadth-first search in it


def free_cells(start: Board) -> set[tuple[int, int]]:
    return {(r, c) for r in range(start.n) for c in range(start.n) if start.cells[r][c] != WALL}


def beside(cell, free):
    return [(cell[0] + dr, cell[1] + dc) for dr, dc in ((0, 1), (0, -1), (1, 0), (-1, 0)) if (cell[0] + dr, cell[1] + dc) in free]


def paths(start, goal, free, seen=()):
    """All simple paths, by depth-first search."""
    if start == goal:
        yield (*seen, start)
        return
    for cell in beside(start, free):
        if cell not in seen:
            yield from paths(cell, goal, free, (*seen, start))


def wave_of(cell, parent, free) -> int:
    """The wave in which a side branch's cell turns grey: one after the last of its own branches."""
    return 1 + max((wave_of(child, cell, free) for child in beside(cell, free) if child != parent), default=0)


def derive(start: Board) -> tuple[list[str], list[list[list[int]]]]:
    """The moves and all pictures of a tree maze."""
    free = free_cells(start)
    (path,) = paths(start.agent, start.goal, free)
    waves: dict[int, set] = {}

    def spread(cell, parent):
        waves.setdefault(wave_of(cell, parent, free), set()).add(cell)
        for child in beside(cell, free):
            if child != parent:
                spread(child, cell)

    for cell in path:
        for branch in beside(cell, free):
            if branch not in path:
                spread(branch, cell)
    frames, rows = [], [list(row) for row in start.cells]
    for wave in sorted(waves):
        for r, c in waves[wave]:
            rows[r][c] = GREY
        frames.append([list(row) for row in rows])
    for (r, c), (s, d) in itertools.pairwise(path):
        rows[r][c], rows[s][d] = TRAIL, AGENT_ON_GOAL if (s, d) == start.goal else AGENT
        frames.append([list(row) for row in rows])
    names = {delta: name for name, delta in MOVES.items()}
    return [names[s - r, d - c] for (r, c), (s, d) in itertools.pairwise(path)], frames


@pytest.mark.parametrize("style", ["lattice", "grown"])
@pytest.mark.parametrize("n", [6, 7, 8, 16])
def test_solution_agrees_with_an_independent_solver(n, style):
    for problem in problems(3 if n == 16 else 25, n=n, style=style):
        moves, frames = derive(problem.board)
        solution = maze.solve(problem)
        assert list(solution.moves) == moves
        assert [[list(row) for row in frame.cells] for frame in solution.frames] == frames


def test_route_is_shortest_where_there_are_several():
    several = 0
    for problem in problems(40, n=5, style="loops"):
        found = list(paths(problem.board.agent, problem.board.goal, free_cells(problem.board)))
        several += len(found) > 1
        moves = maze.route(problem.board)
        assert len(moves) == min(map(len, found)) - 1
        assert maze.score(problem, [], moves).moves_right
    assert several > 10


def legal_boards(before: Board) -> set[Board]:
    """All legal next boards, by construction."""
    free = {(r, c) for r, c in free_cells(before) if before.cells[r][c] not in (GREY, TRAIL)}
    ends = {cell for cell in free if before.cells[cell[0]][cell[1]] == FLOOR and len(beside(cell, free)) <= 1}
    if ends and not any(TRAIL in row for row in before.cells):
        return {before.put(dict.fromkeys(ends, GREY))}
    return {
        before.put({before.agent: TRAIL, (r, c): AGENT if before.cells[r][c] == FLOOR else AGENT_ON_GOAL})
        for r, c in beside(before.agent, free)
        if before.agent != before.goal
    }


def transitions(count: int, **options):
    for problem in problems(count, **options):
        yield from itertools.pairwise((problem.board, *maze.solve(problem).frames))


def test_judge_accepts_exactly_the_legal_boards():
    rng = random.Random(1)
    for before, after in itertools.chain(transitions(15), transitions(8, style="loops")):
        legal = legal_boards(before)
        assert after in legal
        assert all(maze.judge(before, board) == Verdict(True) for board in legal)
        cells = list(itertools.product(range(after.n), repeat=2))
        for _ in range(10):
            flipped = after.put({rng.choice(cells): rng.randrange(8) for _ in range(rng.choice((1, 1, 2)))})
            assert maze.judge(before, flipped).ok == (flipped in legal)


GREYING = board("S.#.", "#...", "#.##", "#..G")  # dead end d1 (and then d2, c2)
WALKING = board("+S.#", "#x.#", "#x.#", "##.G")


@pytest.mark.parametrize(
    ("before", "after", "fault", "where"),
    [
        (GREYING, board("S.#?", "#...", "#.##", "#..G"), "unreadable", "d1"),
        (WALKING, board("++.S", "#x.#", "#x.#", "##.G"), "agent_in_wall", "d1"),
        (WALKING, board("++S#", "#x..", "#x.#", "##.G"), "wall_changed", "d2"),
        (GREYING, board("S.#x", "#...", "#.##", "##.G"), "wall_changed", "b4"),
        (WALKING, board("++S#", "#x.#", "#x.#", "##.."), "goal_gone", "d4"),
        (WALKING, board("++S#", "#x.#", "#xG#", "##.."), "goal_moved", "c3"),
        (WALKING, board("++S#", "#x.#", "#xG#", "##.G"), "goal_moved", "c3"),
        (WALKING, board("++.#", "#x.#", "#x.#", "##.G"), "no_agent", "b1"),
        (WALKING, board("+SS#", "#x.#", "#x.#", "##.G"), "two_agents", "c1"),
        (WALKING, board("S+S#", "#x.#", "#x.#", "##.G"), "two_agents", "a1"),
        (WALKING, board("++.#", "#xS#", "#x.#", "##.G"), "agent_jumped", "c2"),
        (WALKING, board("++.#", "#S.#", "#x.#", "##.G"), "into_grey", "b2"),
        (WALKING, board("S+.#", "#x.#", "#x.#", "##.G"), "went_back", "a1"),
        (GREYING, board("+S#x", "#...", "#.##", "#..G"), "moved_early", "b1"),
        (GREYING, board("S.#x", "#..x", "#.##", "#..G"), "route_greyed", "d2"),
        (WALKING, board("++S#", "#xx#", "#x.#", "##.G"), "route_greyed", "c2"),
        (GREYING, GREYING, "dead_end_missed", "d1"),
        (WALKING, board("++S#", "#..#", "#x.#", "##.G"), "grey_lost", "b2"),
        (WALKING, board("+.S#", "#x.#", "#x.#", "##.G"), "trail_missing", "b1"),
        (WALKING, board("++S#", "#x+#", "#x.#", "##.G"), "trail_wrong", "c2"),
        (WALKING, board(".+S#", "#x.#", "#x.#", "##.G"), "trail_wrong", "a1"),
        (WALKING, WALKING, "agent_stayed", "b1"),
    ],
)  # fmt: skip
def test_every_fault_has_its_name_and_place(before, after, fault, where):
    verdict = maze.judge(before, after)
    assert (verdict.ok, verdict.fault, maze.cell_name(verdict.where)) == (False, fault, where)
    assert maze.parse_verdict(maze.verdict_words(verdict)) == (False, fault, verdict.where)
    seen = maze.check(maze.Problem(before, "x"), maze.render(before), maze.render(after))
    assert (seen.ok, seen.fault, seen.where) == (False, fault, verdict.where)


def test_every_fault_is_in_the_table_and_reached_by_corruption():
    rng, seen = random.Random(3), set()
    for before, after in transitions(60):
        for _ in range(3):
            wrong = maze.corrupt(rng, before, after)
            verdict = maze.judge(before, wrong)
            assert not verdict.ok and wrong not in legal_boards(before)
            seen.add(verdict.fault)
    assert seen == set(maze.FAULTS)


def test_an_unreadable_or_foreign_size_picture_is_a_fault():
    assert maze.judge(GREYING, None) == Verdict(False, "unreadable")
    assert maze.judge(GREYING, maze.generate("train", 0, 5)) == Verdict(False, "unreadable")


def test_next_board_ends_on_the_goal_and_never_greys_after_a_move():
    assert maze.next_board(board("@...", "####", "####", "####")) is None
    moved = board("+S..", "####", "####", "##.G")  # the wall has cut it off: nothing is left to draw
    assert maze.next_board(moved) is None and maze.think_words(moved) == "no route . done ."
    loop = board("+S..", "#.#.", "#...", "###G")
    after = maze.next_board(loop)
    assert not any(GREY in row for row in after.cells) and after.agent in ((0, 2), (1, 1))


# --- generation and splits


def own_canonical(start: Board) -> bytes:
    walls = np.array(start.cells) == WALL
    return min(np.rot90(w, k).tobytes() for w in (walls, walls.T) for k in range(4))


def test_splits_share_no_layout_under_any_symmetry():
    layouts = {split: set() for split in maze.SPLITS}
    for split, count in (("train", 400), ("val", 40), ("test", 80)):
        for index, style in itertools.product(range(count), (None, "loops")):
            start = maze.generate(split, index, style=style)
            assert maze.split_of(start) == split
            layouts[split].add((start.n, own_canonical(start)))
    for one, other in itertools.combinations(layouts.values(), 2):
        assert not one & other
    assert len(layouts["train"]) > 600


def test_canonical_is_equal_for_the_eight_symmetries_and_blind_to_start_and_goal():
    start = maze.generate("test", 1, 7)
    kinds = np.array(start.cells)
    turned = [Board.of(np.rot90(k, turns).tolist()) for k in (kinds, kinds.T) for turns in range(4)]
    assert {maze.canonical(one) for one in turned} == {maze.canonical(start)}
    assert maze.canonical(start.put({start.agent: GOAL, start.goal: AGENT})) == maze.canonical(start)
    assert maze.canonical(start.put({start.agent: WALL})) != maze.canonical(start)


@pytest.mark.parametrize("n", range(4, 17))
def test_generated_boards_are_trees_with_one_route(n):
    for split, index in itertools.product(("train", "test"), range(12)):
        start = maze.generate(split, index, n)
        free = free_cells(start)
        assert start.n == n
        assert sum(len(beside(cell, free)) for cell in free) // 2 == len(free) - 1
        assert len(maze.route(start)) >= (2 if n == 4 else 3)


def test_generate_is_reproducible_everywhere():
    assert maze.generate("test", 7, 6) == maze.generate("test", 7, 6)
    assert maze.problem("test", 7, 6).rows == PINNED
    assert len({maze.generate("train", index, 8) for index in range(50)}) == 50


PINNED = ("######", "#...#.", "###.#.", "#G..#.", "#.#.#S", "#.#...")


@pytest.mark.parametrize(("split", "n", "style"), [("dev", 6, None), ("train", 3, None), ("train", 17, None), ("train", 6, "round")])
def test_generate_refuses_what_it_does_not_know(split, n, style):
    with pytest.raises(BadInput):
        maze.generate(split, 0, n, style)


def lattice_trees() -> list[set[tuple[int, int]]]:
    """All 192 Uni-MMMU layouts: spanning trees of the 3 x 3 lattice, by trying every choice of 8 of its 12 edges."""
    nodes = list(itertools.product((1, 3, 5), repeat=2))
    edges = [((r, c), (r + dr, c + dc)) for r, c in nodes for dr, dc in ((0, 2), (2, 0)) if (r + dr, c + dc) in nodes]
    trees = []
    for chosen in itertools.combinations(edges, 8):
        group = {node: {node} for node in nodes}
        for one, other in chosen:
            if group[one] is not group[other]:
                group[one] |= group[other]
                for node in group[one]:
                    group[node] = group[one]
        if len(group[1, 1]) == 9:
            trees.append({*nodes, *(((r + s) // 2, (c + d) // 2) for (r, c), (s, d) in chosen)})
    return trees


def test_lattices_are_exactly_the_layouts_of_the_benchmark():
    trees = lattice_trees()
    assert len(trees) == 192
    drawn = {
        frozenset(free_cells(maze.generate(split, index, 6, "lattice")))
        for split, count in (("train", 2500), ("val", 200), ("test", 600))
        for index in range(count)
    }
    assert drawn == {frozenset(tree) for tree in trees}


def test_route_lengths_of_all_benchmark_boards():
    """The counts by length that the benchmark's layouts have, with route() as the ruler on a part and a plain search on all."""
    counts = dict.fromkeys(range(1, 17), 0)
    for number, tree in enumerate(lattice_trees()):
        for start in tree:
            far, front = {start: 0}, [start]
            for cell in front:
                for other in beside(cell, tree):
                    if other not in far:
                        far[other] = far[cell] + 1
                        front.append(other)
            for moves in filter(None, far.values()):
                counts[moves] += 1
            if number % 16 == 0:
                goal = max(far, key=far.get)
                rows = Board.of([WALL if (r, c) not in tree else FLOOR for c in range(6)] for r in range(6))
                assert len(maze.route(rows.put({start: AGENT, goal: GOAL}))) == far[goal]
    assert list(counts.values()) == [6144, 6344, 6544, 6344, 6144, 5288, 4432, 3496, 2560, 1896, 1232, 872, 512, 296, 80, 40]


# --- pixels


def test_pixels_are_the_palette_at_the_promised_places():
    image = maze.render(WALKING)
    assert (image.width, image.height) == (256, 256)
    pixels = np.asarray(image.to_pil())

    def at(cell: str, x: int, y: int) -> str:
        r, c = maze.cell_at(cell)
        return "#" + bytes(pixels[(r + 2) * 32 + y, (c + 2) * 32 + x]).hex()

    assert "#" + bytes(pixels[0, 0]).hex() == "#ffffff"
    assert at("d1", 0, 0) == at("d1", 16, 16) == "#1f2937"
    assert at("a1", 7, 16) == "#f4efe6" and at("a1", 8, 8) == at("a1", 23, 23) == "#93c5fd" and at("a1", 24, 24) == "#f4efe6"
    assert at("b1", 7, 7) == "#f4efe6" and at("b1", 8, 16) == "#2563eb"
    assert at("b2", 0, 31) == at("b2", 16, 16) == "#9ca3af"
    assert at("d4", 0, 0) == at("d4", 7, 31) == "#22c55e" and at("d4", 8, 8) == "#f4efe6"
    small = maze.render_cells(WALKING)
    assert small.shape == (128, 128, 3) and (np.repeat(np.repeat(small, 2, 0), 2, 1) == pixels).all()


def noisy(image: Image, seed: int = 0, sigma: float = 30) -> Image:
    pixels = np.asarray(image.to_pil()) + np.random.default_rng(seed).normal(0, sigma, (image.height, image.width, 3))
    return Image.from_pil(PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def jpeg(image: Image, quality: int = 40) -> Image:
    data = io.BytesIO()
    image.to_pil().save(data, "JPEG", quality=quality)
    return Image.from_pil(PILImage.open(data))


def blurred(image: Image, radius: float = 2) -> Image:
    return Image.from_pil(image.to_pil().filter(ImageFilter.GaussianBlur(radius)))


def resized(image: Image, factor: float) -> Image:
    side = round(image.width * factor)
    return Image.from_pil(image.to_pil().resize((side, side), PILImage.Resampling.BICUBIC))


@pytest.mark.parametrize("n", range(4, 17))
def test_reader_inverts_renderer(n):
    rng = random.Random(n)
    for problem in problems(2, n=n):
        for frame in (problem.board, *maze.solve(problem).frames[::4]):
            assert maze.read(maze.render(frame)) == maze.Reading(frame, n, maze.board_offset(n))
        frame = rng.choice(maze.solve(problem).frames)
        for harmed in (noisy, jpeg, blurred, lambda image: jpeg(blurred(noisy(image), 1))) if n <= 9 or n == 16 else (noisy,):
            assert maze.read(harmed(maze.render(frame))).board == frame


def test_reader_takes_other_scales():
    frame = maze.solve(maze.problem("train", 4, 8)).frames[-1]
    for factor in (0.5, 0.8, 2, 2.7):
        assert maze.read(resized(maze.render(frame), factor), 8).board == frame


def test_reader_says_what_it_cannot_read():
    pixels = np.asarray(maze.render(WALKING).to_pil()).copy()
    pixels[64:80, 64:96] = (255, 0, 255)
    reading = maze.read(Image.from_pil(PILImage.fromarray(pixels)))
    assert reading.n == 4 and reading.unreadable == ((0, 0),)
    assert maze.read(Image(300, 256, bytes(300 * 256 * 3))).board is None
    assert maze.read(Image(8, 8, bytes(192))).board is None


def test_check_sees_a_mark_outside_of_the_board():
    problem = maze.problem("train", 2, 4)
    after = np.asarray(maze.render(maze.solve(problem).frames[0]).to_pil()).copy()
    after[:32, :32] = (0x25, 0x63, 0xEB)
    seen = maze.check(problem, problem.image, Image.from_pil(PILImage.fromarray(after)))
    assert (seen.ok, seen.fault, seen.where, seen.words) == (False, "unreadable", None, "wrong . cell unreadable .")


def test_check_reads_pixels_as_judge_reads_structure():
    rng = random.Random(5)
    for problem in problems(5):
        for number, (before, after) in enumerate(itertools.pairwise((problem.board, *maze.solve(problem).frames))):
            right = maze.check(problem, maze.render(before), noisy(maze.render(after), number))
            changed = {(r, c) for r, c in itertools.product(range(before.n), repeat=2) if before.cells[r][c] != after.cells[r][c]}
            assert right.ok and right.words == "correct ." and set(right.changed) == changed
            wrong = maze.corrupt(rng, before, after)
            seen, verdict = maze.check(problem, maze.render(before), maze.render(wrong)), maze.judge(before, wrong)
            assert (seen.ok, seen.fault, seen.where) == (False, verdict.fault, verdict.where)


# --- scores


def test_gold_scores_one_and_every_corruption_less():
    rng = random.Random(9)
    for problem in (*problems(4), *problems(3, style="loops")):
        solution = maze.solve(problem)
        frames = [maze.render(frame) for frame in solution.frames]
        gold = maze.score(problem, frames, solution.moves)
        assert gold.solved and gold.arrived and gold.moves_right and gold.legal_frames == gold.frames == len(frames)
        at = rng.randrange(len(frames))
        before = (problem.board, *solution.frames)[at]
        wrong = maze.render(maze.corrupt(rng, before, solution.frames[at]))
        spoiled = maze.score(problem, [*frames[:at], wrong, *frames[at + 1 :]], solution.moves)
        assert not spoiled.solved and spoiled.legal_frames == at and spoiled.fault in maze.FAULTS
        assert not maze.score(problem, frames[:-1], solution.moves).solved
        assert not maze.score(problem, frames, solution.moves[:-1]).solved
        assert not maze.score(problem, frames, ()).moves_right
        direct = maze.score(problem, [], solution.moves)
        assert direct.moves_right and not direct.arrived and not direct.solved


def test_score_wants_the_moves_that_were_drawn():
    problem = maze.paint(["S...", ".##.", ".##.", "...G"])
    way = ["right"] * 3 + ["down"] * 3
    other = ["down"] * 3 + ["right"] * 3
    frames = [maze.render(frame) for frame in maze.solve(problem).frames]
    mine = list(maze.solve(problem).moves)
    assert mine in (way, other)
    assert maze.score(problem, frames, mine).solved
    second = maze.score(problem, frames, other if mine == way else way)
    assert second.moves_right and not second.solved
    assert not maze.score(problem, frames, ["right", "left", *way]).moves_right
    assert not maze.score(problem, frames, ["jump"]).moves_right


# --- painted boards and saved problems


def test_paint_takes_characters_or_kinds():
    rows = ["S.#.", "#...", "#.##", "#..G"]
    painted = maze.paint(rows)
    assert painted.board == GREYING and painted.rows == tuple(rows)
    kinds = [[WALL if letter == "#" else FLOOR for letter in row] for row in rows]
    assert maze.paint(kinds, (0, 0), (3, 3)) == painted
    assert maze.Problem.from_dict(painted.to_dict()) == painted


@pytest.mark.parametrize(
    ("rows", "start", "goal", "says"),
    [
        (["S#..", "##..", "....", "...G"], None, None, "Opening the wall at a2 would make one|Opening the wall at b1 would make one"),
        (["S##.", "####", "####", "##.G"], None, None, "Opening the walls at "),
        (["S..", "...", "..G"], None, None, "4 to 16 cells a side; this one is 3 wide and 3 high"),
        (["S...", "....", "..G"], None, None, "4 wide and 3 high"),
        (["." * 17] * 17, (0, 0), (1, 1), "17 wide"),
        (["SS..", "....", "....", "...G"], None, None, "2 starts, at a1 and b1"),
        (["S...", "....", "....", "...."], None, None, "no goal"),
        (["....", "....", "....", "...G"], None, None, "no start"),
        (["S...", "....", "....", "...G"], (1, 1), None, "2 starts"),
        (["....", "....", "....", "...."], (1, 1), (1, 1), "both at b2"),
        (["#...", "....", "....", "...."], (0, 0), (1, 1), "start at a1 is on a wall"),
        (["....", "....", "....", "...."], (0, 0), (4, 1), "goal is outside"),
        (["....", "....", "....", "...."], (0, 0), "<script>", "goal is outside"),
        (["S..x", "....", "....", "...G"], None, None, "cell d1"),
        ([[1, 1, 1, {}]] * 4, None, None, "cell d1"),
        ([[True] * 4] * 4, None, None, "cell a1"),
        ("S..G", None, None, "list of rows"),
        (None, None, None, "list of rows"),
        ([None] * 4, None, None, "list of rows"),
        ([], None, None, "0 wide"),
    ],
)  # fmt: skip
def test_paint_refuses_with_the_reason(rows, start, goal, says):
    with pytest.raises(BadInput, match=says):
        maze.paint(rows, start, goal)


def test_the_walls_named_as_separating_do_make_a_route():
    rows = ["S.#....#", ".##.##.#", "###.#..#", "#...##.#", "#.####.#", "########", "....#..G", "########"]
    with pytest.raises(BadInput, match=r"No route leads from a1 to h7\. Opening the walls at (.*) would make one") as error:
        maze.paint(rows)
    named = [maze.cell_at(name) for name in str(error.value).split("walls at ")[1].split(" would")[0].split(", ")]
    opened = [list(row) for row in rows]
    for r, c in named:
        assert opened[r][c] == "#"
        opened[r][c] = "."
    assert maze.paint(["".join(row) for row in opened])


@pytest.mark.parametrize("data", [{}, [], None, {"task": "maze", "id": 3, "rows": []}, {"task": "maze", "id": "x", "rows": [[9] * 4] * 4},
                                  {"task": "geometry", "id": "x", "rows": ["S...", "....", "....", "...G"]},
                                  {"task": "maze", "id": "x" * 999, "rows": ["S...", "....", "....", "...G"]}])  # fmt: skip
def test_a_damaged_problem_is_refused(data):
    with pytest.raises(BadInput):
        maze.Problem.from_dict(data)


# --- words


def test_words_are_exactly_these():
    assert maze.think_words(GREYING) == "dead ends : d1 . grey them ."
    assert maze.think_words(WALKING) == "no dead ends . agent at b1 . go right to c1 ."
    assert maze.think_words(board("++.#", "#x+@", "####", "####")) == "agent at the goal . done ."
    assert maze.verdict_words(Verdict(True)) == "correct ."
    assert maze.verdict_words(Verdict(False, "dead_end_missed", (3, 2))) == "wrong . dead end missed at c4 ."
    assert maze.verdict_words(Verdict(False, "unreadable")) == "wrong . cell unreadable ."
    assert maze.describe_words(GREYING) == "size 4 . agent a1 . goal d4 ."
    assert maze.route_words(GREYING) == "route : right down down down right right ."
    assert maze.walked_words(["right", "right", "down"]) == "walked : 1 right 2 right 3 down . answer"
    assert maze.answer_words(["right", "right", "down"]) == "answer : 1 right 2 right 3 down ."


def test_words_read_back():
    for kind, where in itertools.product(maze.FAULTS, (None, (0, 0), (15, 15))):
        assert maze.parse_verdict(maze.verdict_words(Verdict(False, kind, where))) == (False, kind, where)
    assert maze.parse_verdict("  Correct  .") == (True, None, None)
    assert maze.parse_verdict("") == maze.parse_verdict("{{7*7}}") == (False, None, None)
    assert maze.parse_verdict("wrong . it is ugly at c4 .") == (False, None, (3, 2))
    assert maze.parse_move("no dead ends . agent at b1 . go right .") == "right"
    assert maze.parse_move("dead ends : d1 . grey them .") is None
    assert maze.parse_moves(maze.answer_words(["up", "left"])) == ["up", "left"] == maze.parse_moves(maze.walked_words(["up", "left"]))
    assert maze.done("agent at the goal . done .") and not maze.done(maze.think_words(WALKING))
    for cell in itertools.product(range(16), repeat=2):
        assert maze.cell_at(maze.cell_name(cell)) == cell
    assert maze.cell_at("q1") is None and maze.cell_at("a0") is None and maze.cell_at("a17") is None


def test_thoughts_agree_with_the_pictures_they_lead_to():
    for before, after in transitions(25):
        words = maze.think_words(before)
        move = maze.parse_move(words)
        if move:
            (r, c), (dr, dc) = before.agent, MOVES[move]
            assert after.agent == (r + dr, c + dc) and maze.cell_name(before.agent) in words.split()
        else:
            named = {maze.cell_at(word) for word in words.split()} - {None}
            assert named == {(r, c) for r, c in free_cells(after) if after.cells[r][c] == GREY != before.cells[r][c]}


def test_gold_document_corrects_its_mistakes_and_ends_with_the_answer():
    problem = maze.problem("train", 11, 6)
    document = maze.gold_document(problem)
    assert document == maze.gold_document(problem)
    solution = maze.solve(problem)
    current, wrong, kept, mistakes = problem.image, None, [], 0
    for asked, said in itertools.pairwise(document.turns):
        if said.role != "assistant" or not isinstance(said.parts[-1], Image):
            continue
        words, picture = said.parts
        seen = maze.check(problem, current, picture)
        if asked.parts[-1] == Text("maze judge"):
            verdict = maze.check(problem, current, wrong)
            assert (words.text, seen.ok) == (verdict.words, True)
        if seen.ok:
            kept.append(picture)
            current = picture
        else:
            wrong, mistakes = picture, mistakes + 1
    assert mistakes >= 1
    assert kept == [maze.render(frame) for frame in solution.frames]
    assert document.turns[-3].parts == (Text("agent at the goal . done ."),)
    assert maze.score(problem, kept, maze.parse_moves(document.turns[-1].parts[0].text)).solved
    assert len(maze.gold_document(problem, mistakes=0).turns) == 2 * len(kept) + 4


def test_the_table_of_tasks_offers_the_maze():
    task = TASKS["maze"]
    problem = task.problem("test", 3, 6)
    solution = task.solve(problem)
    assert task.from_dict(problem.to_dict()) == problem
    assert task.about(problem) == len(solution.frames)
    assert task.parse_verdict(task.verdict_words(False, "no_agent", (1, 1))) == (False, "no_agent", (1, 1))
    assert task.score(problem, [task.render(frame) for frame in solution.frames], solution.moves).solved
