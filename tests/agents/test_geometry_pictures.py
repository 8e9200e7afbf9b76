"""Geometry sheets: what is drawn is read back, also from poor pictures; every mistake is refused with its fault and place."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from math import dist

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFilter

from agents.tasks.figure import SIDE, Figure, Point, Sheet, segment
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_pictures import SHOWN_PX, canvas, place_letters, render, render_pixels, squares_around
from agents.tasks.geometry_reader import Reading, read
from agents.tasks.geometry_rules import FAULTS, joined, judge, nearest_point, same_figure
from agents.tasks.geometry_strokes import line_error
from unimm.document import Image

Corners = list[tuple[int, int]]


def polygon(corners: Corners, shape: str = "triangle") -> Figure:
    sides = tuple(segment(p, q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True))
    return place_letters(Figure(shape, tuple(zip("ABCD", corners, strict=False)), sides))


TRIANGLE = polygon([(1, 3), (6, 1), (6, 7)])
START = Sheet(TRIANGLE)
MARKED = START.mark((6, 4))
MEDIAN = MARKED.connect((1, 3), (6, 4))


def random_point(rng: random.Random) -> Point:
    return rng.randint(1, SIDE - 1), rng.randint(1, SIDE - 1)


def convex(corners: Corners) -> bool:
    """Also that no three corners are nearly on a line."""
    n = len(corners)
    turns = []
    for k in range(n):
        (a, b), (c, d), (e, f) = (corners[(k + step) % n] for step in range(3))
        turns.append((c - a) * (f - b) - (d - b) * (e - a))
    return min(map(abs, turns)) >= 4 and len({turn > 0 for turn in turns}) == 1


def random_figure(rng: random.Random) -> Figure:
    if rng.random() < 0.3:
        radius = rng.choice((2, 3))
        (r, c) = centre = (4, 4) if radius == 3 else (rng.randint(3, 5), rng.randint(3, 5))
        rim = rng.sample([(r - radius, c), (r + radius, c), (r, c - radius), (r, c + radius)], 3)
        sides = tuple(segment(p, q) for p, q in ((rim[0], rim[1]), (rim[1], rim[2])))
        return place_letters(Figure("circle", (*zip("ABC", rim, strict=True), ("O", centre)), sides, (centre, radius)))
    while True:
        corners = [random_point(rng) for _ in range(rng.choice((3, 4)))]
        if convex(corners):
            return polygon(corners, "triangle" if len(corners) == 3 else "quadrilateral")


def random_sheet(rng: random.Random) -> Sheet:
    sheet = Sheet(random_figure(rng))
    for _ in range(rng.randint(0, 2)):
        sheet = sheet.mark(random_point(rng))
    ends = [*sheet.figure.at.values(), *sorted(sheet.marks)]
    for _ in range(rng.randint(0, 2)):
        p, q = rng.choice(ends), rng.choice([*ends, random_point(rng)])
        if dist(p, q) >= 2:  # a shorter one may lie all along another line's ink
            sheet = sheet.connect(p, q)
    return replace(sheet, lines=joined(sheet.lines))


def spoiled(image: Image, how: str, seed: int = 0) -> Image:
    picture = image.to_pil()
    if "half" in how:
        picture = picture.reduce(2).resize((SHOWN_PX, SHOWN_PX), PILImage.Resampling.BILINEAR)
    if "blur" in how:
        picture = picture.filter(ImageFilter.GaussianBlur(1.2))
    pixels = np.asarray(picture).astype(float)
    if "noise" in how:
        pixels += np.random.default_rng(seed).normal(0, 10, pixels.shape)
    if "tint" in how:
        pixels += (-8, -4, -10)
    return Image.from_pil(PILImage.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8)))


WAYS = ("as drawn", "half", "blur", "noise", "half blur noise tint")


@pytest.mark.parametrize(("how", "count"), [("as drawn", 120), *((how, 40) for how in WAYS[1:])])
def test_marks_and_lines_are_read_back(how: str, count: int) -> None:
    rng = random.Random(how)
    for seed in range(count):
        sheet = random_sheet(rng)
        assert read(spoiled(render(sheet), how, seed), sheet.figure) == Reading(sheet)


@pytest.mark.parametrize("how", WAYS)
def test_most_figures_are_read_from_their_pixels(how: str) -> None:
    rng, figures = random.Random(how), 20
    right = 0
    for seed in range(figures):
        figure = random_figure(rng)
        reading = read(spoiled(render(Sheet(figure)), how, seed))
        right += reading.sheet is not None and same_figure(reading.sheet.figure, figure) and not reading.sheet.lines
    assert right >= 0.85 * figures


def test_a_picture_without_figure_is_no_sheet() -> None:
    assert read(Image(256, 256, bytes([255]) * 256 * 256 * 3)).sheet is None
    assert read(Image(256, 200, bytes(256 * 200 * 3)), TRIANGLE).sheet is None
    assert read(Image(32, 32, bytes(32 * 32 * 3)), TRIANGLE).sheet is None


def test_the_model_reads_the_mean_of_two_by_two_pixels() -> None:
    shown, small = render_pixels(MEDIAN).astype(int), canvas(MEDIAN)
    assert small.shape == (128, 128, 3) and small.dtype == np.uint8
    for y, x in ((95, 60), (64, 28), (15, 48)):
        assert abs(small[y, x] - shown[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((0, 1))).max() <= 0.5


def test_drawing_changes_only_the_squares_it_passes() -> None:
    changed = (render_pixels(MARKED) != render_pixels(START)).any(-1)
    rows, columns = np.nonzero(changed)
    assert set(zip(rows // 32, columns // 32, strict=True)) == set(squares_around((6, 4)))


def test_letters_stand_in_free_squares_outside_of_the_figure() -> None:
    rng = random.Random(5)
    for _ in range(150):
        figure = random_figure(rng)
        squares = [square for _, square in figure.letters]
        assert len(set(squares)) == len(figure.points) and figure == place_letters(figure)
        bare = render_pixels(Sheet(replace(figure, letters=())))
        for letter, (r, c) in figure.letters:
            assert (r, c) in squares_around(figure.at[letter])
            assert bare[32 * r + 6 : 32 * r + 26, 32 * c + 6 : 32 * c + 26].min() > 150, (figure, letter)
    assert dict(TRIANGLE.letters) == {"A": (0, 2), "B": (6, 0), "C": (6, 7)}


def test_right_sheets_are_accepted() -> None:
    assert judge(START, MARKED, MARKED).ok and judge(MARKED, MEDIAN, MEDIAN).ok and judge(MEDIAN, None, MEDIAN).ok
    cut = MARKED.connect((1, 3), (6, 4)).connect((2, 5), (4, 5)).connect((4, 5), (6, 5))
    assert judge(MEDIAN, MEDIAN.connect((2, 5), (6, 5)), cut).ok  # one line, drawn in two pieces


@pytest.mark.parametrize(
    ("before", "right", "after", "fault", "where"),
    [
        (START, MARKED, None, "unreadable", None),
        (START, MARKED, START, "stayed", None),
        (START, MARKED, START.mark((6, 3)), "mark_elsewhere", (6, 3)),
        (START, MARKED, START.connect((1, 3), (6, 4)), "too_early", (6, 4)),
        (START, MARKED, MEDIAN, "too_early", (6, 4)),
        (START, MARKED, MARKED.mark((2, 2)), "extra_mark", (2, 2)),
        (MARKED, MEDIAN, MARKED.connect((1, 3), (6, 5)), "line_elsewhere", (6, 5)),
        (MARKED, MEDIAN, MARKED.connect((6, 1), (6, 4)), "line_elsewhere", (6, 1)),
        (MARKED, MEDIAN, MEDIAN.connect((1, 3), (5, 6)), "extra_line", (5, 6)),
        (MARKED, MEDIAN, START.connect((1, 3), (6, 4)), "mark_lost", (6, 4)),
        (MEDIAN, MEDIAN.connect((6, 1), (4, 5)), MARKED.connect((6, 1), (4, 5)), "line_lost", (6, 4)),
        (MEDIAN, None, MEDIAN.connect((6, 1), (4, 5)), "extra_line", (4, 5)),
        (START, MARKED, replace(MARKED, figure=replace(TRIANGLE, letters=TRIANGLE.letters[:2])), "figure_changed", (6, 7)),
        (START, MARKED, replace(MARKED, figure=replace(TRIANGLE, sides=TRIANGLE.sides[1:])), "figure_changed", (1, 3)),
        (START, MARKED, Sheet(polygon([(1, 3), (6, 1), (5, 7)])).mark((6, 4)), "figure_changed", (6, 7)),
    ],
)
def test_faults_and_places(before: Sheet, right: Sheet | None, after: Sheet | None, fault: str, where: Point | None) -> None:
    verdict = judge(before, right, after)
    assert (verdict.ok, verdict.fault, verdict.where) == (False, fault, where)


def test_every_mistake_is_refused_and_its_picture_shows_it() -> None:
    """What the rules say about the sheet follows from the pixels too; damage is found, and near the right place mostly."""
    rng = random.Random(11)
    kinds: Counter[str | None] = Counter()
    damaged = near = 0
    for step in range(200):
        before, right = rng.choice(((START, MARKED), (MARKED, MEDIAN), (MEDIAN, None), (MEDIAN, MEDIAN.connect((6, 1), (4, 5)))))
        wrong = corrupt(rng, before, right)
        verdict = judge(before, right, wrong)
        kinds[verdict.fault] += 1
        assert not verdict.ok and (verdict.where is not None or verdict.fault == "stayed")
        reading = read(spoiled(render(wrong), "half noise", step), before.figure)
        if verdict.fault == "figure_changed":
            damaged += 1
            assert reading.unclear, wrong.figure
            near += nearest_point(before.figure.at.values(), reading.unclear[0]) == verdict.where
        else:
            assert judge(before, right, reading.sheet) == verdict and not reading.unclear
    assert set(kinds) == set(FAULTS) - {"unreadable"}
    assert near >= 0.6 * damaged


def test_stray_colour_is_noticed() -> None:
    pixels = render_pixels(MEDIAN).copy()
    pixels[40:70, 200:204] = (0xEA, 0x58, 0x0C)  # orange that joins no two points
    pixels[210:220, 40:60] = (0x25, 0x63, 0xEB)
    reading = read(Image(256, 256, pixels.tobytes()), TRIANGLE)
    assert reading.stray and {(1, 6), (6, 1)} <= set(reading.unclear) and reading.sheet == MEDIAN


def test_what_is_drawn_in_has_to_look_like_it() -> None:
    drawn, plain = (render_pixels(sheet).astype(float) for sheet in (MEDIAN, START))
    drawn[70:180] = 0.45 * drawn[70:180] + 0.55 * plain[70:180]
    reading = read(Image(256, 256, drawn.round().astype(np.uint8).tobytes()), TRIANGLE)
    assert reading.sheet == MEDIAN and {(3, 3), (4, 3)} <= set(reading.unclear) and not reading.stray


def test_wear_grows_until_it_is_damage() -> None:
    drawn, plain = (render_pixels(sheet).astype(float) for sheet in (MEDIAN, START))
    seen = []
    for strength in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4):
        faded = drawn.copy()
        faded[70:180] = strength * drawn[70:180] + (1 - strength) * plain[70:180]
        reading = read(Image(256, 256, faded.round().astype(np.uint8).tobytes()), TRIANGLE)
        worn = {divmod(at, 8) for at, share in enumerate(reading.wear) if share > 1}
        assert worn == set(reading.unclear)
        seen.append((reading.wear[3 * 8 + 3], bool(worn)))
    assert seen == sorted(seen) and {damaged for _, damaged in seen} == {False, True}


def test_what_is_drawn_in_may_be_off_a_little() -> None:
    picture = render(START).to_pil()
    ImageDraw.Draw(picture).line((64, 131, 192, 131), fill="#ea580c", width=4)
    assert read(Image.from_pil(picture), TRIANGLE) == Reading(START.connect((4, 2), (4, 6)))


def test_line_errors_are_measured_on_the_pixels() -> None:
    (first, second), degrees = line_error(render(MEDIAN), (1, 3), (6, 4))
    assert first < 1.5 and second < 1.5 and degrees < 0.5
    nudged = PILImage.new("RGB", (256, 256), "white")
    ImageDraw.Draw(nudged).line((64, 64, 192, 70), fill="#ea580c", width=4)
    (first, second), degrees = line_error(Image.from_pil(nudged), (2, 2), (2, 6))
    assert first < 1.5 and 4.5 < second < 7.5 and 2 < degrees < 3.4
    assert line_error(render(START), (1, 3), (6, 4))[1] == 90
