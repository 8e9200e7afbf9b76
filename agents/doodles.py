"""Random pictures of lines, shapes and letters: the VQ learns on them what figures and scenes will need."""

from __future__ import annotations

import random
import string

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = {
    "red": "#ef4444", "orange": "#f97316", "yellow": "#facc15", "green": "#22c55e", "blue": "#2563eb", "purple": "#a855f7",
    "pink": "#ec4899", "brown": "#92400e", "black": "#1f2937", "grey": "#9ca3af", "white": "#ffffff",
}  # fmt: skip
GROUNDS = ("#ffffff", "#f4efe6", "#1f2937")


def doodle(rng: random.Random, side: int = 128) -> np.ndarray:
    """One picture, uint8 [side, side, 3]: either a scene of filled shapes or a figure of lines with labels."""
    scale = 3
    picture = Image.new("RGB", (side * scale, side * scale), rng.choices(GROUNDS, (6, 3, 1))[0])
    pen = ImageDraw.Draw(picture)
    (scene if rng.random() < 0.5 else figure)(pen, rng, side * scale)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX))


def scene(pen: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    """Up to six filled shapes."""
    for _ in range(rng.randint(1, 6)):
        radius = side * rng.uniform(0.06, 0.18)
        x, y = (rng.uniform(radius, side - radius) for _ in range(2))
        colour = rng.choice(list(COLOURS.values()))
        box = (x - radius, y - radius, x + radius, y + radius)
        kind = rng.randrange(5)
        if kind == 0:
            pen.ellipse(box, fill=colour)
        elif kind == 1:
            pen.rectangle(box, fill=colour)
        elif kind == 2:
            pen.regular_polygon((x, y, radius), rng.choice((3, 5, 6)), rotation=rng.choice((0, 0, 90, 180)), fill=colour)
        elif kind == 3:
            pen.polygon(_star(x, y, radius), fill=colour)
        else:
            bar = radius / 3
            pen.rectangle((x - bar, y - radius, x + bar, y + radius), fill=colour)
            pen.rectangle((x - radius, y - bar, x + radius, y + bar), fill=colour)


def figure(pen: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    """A polygon or circle with a few more lines, points and letters."""
    points = [(rng.uniform(0.1, 0.9) * side, rng.uniform(0.1, 0.9) * side) for _ in range(rng.randint(3, 5))]
    ink = "#1f2937"
    width = round(side / 64)
    pen.line([*points, points[0]], fill=ink, width=width, joint="curve")
    for _ in range(rng.randint(0, 3)):
        a, b = rng.sample(points, 2)
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        pen.line([middle, rng.choice(points)], fill=rng.choice(("#ef4444", "#2563eb", ink)), width=width)
    if rng.random() < 0.3:
        radius = side * rng.uniform(0.15, 0.4)
        pen.ellipse((side / 2 - radius, side / 2 - radius, side / 2 + radius, side / 2 + radius), outline=ink, width=width)
    font = ImageFont.load_default(size=side * rng.uniform(0.07, 0.11))
    for x, y in points:
        pen.ellipse((x - width * 1.5, y - width * 1.5, x + width * 1.5, y + width * 1.5), fill=rng.choice((ink, "#ef4444")))
        pen.text((x + side * 0.02, y - side * 0.09), rng.choice(string.ascii_uppercase + string.digits), fill=ink, font=font)


def _star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    turns = np.arange(10) * np.pi / 5 - np.pi / 2
    lengths = np.where(np.arange(10) % 2, radius * 0.45, radius)
    return list(zip(x + lengths * np.cos(turns), y + lengths * np.sin(turns), strict=True))
