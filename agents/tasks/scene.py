"""Scenes of coloured shapes: what stands where, as data, as pixels, and as data again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from einops import reduce
from PIL import Image as PILImage
from PIL import ImageDraw

from agents.tasks.maze_words import cell_name
from unimm.document import Image

Slot = tuple[int, int]
"""(row, column) among the SIDE x SIDE places of a scene."""

SIDE = 4
SHAPES = ("circle", "square", "triangle", "star", "cross", "hexagon")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (0xEF, 0x44, 0x44), "orange": (0xF9, 0x73, 0x16), "yellow": (0xFA, 0xCC, 0x15), "green": (0x22, 0xC5, 0x5E),
    "blue": (0x25, 0x63, 0xEB), "purple": (0xA8, 0x55, 0xF7), "black": (0x1F, 0x29, 0x37),
}  # fmt: skip
SIZES = ("small", "large")
SLOT_PX = 64
"""Side of a slot in the shown picture; the model works on half of it, 2 x 2 of its tokens."""
REACH = {"small": 0.28, "large": 0.44}
"""Half the width of a thing, in slots."""
GROUND = (0xFF, 0xFF, 0xFF)
FAR, COARSE_PX = 12.0, 4
"""Root mean square difference (of 255) above which a slot holds nothing that can be named, between means over so many pixels either
way: noise is gone in them, a stroke that does not belong there is not."""


@dataclass(frozen=True, order=True)
class Thing:
    """One shape in one slot."""

    slot: Slot
    shape: str
    colour: str
    size: str

    @property
    def words(self) -> str:
        return f"{self.colour} {self.shape} {self.size} {cell_name(self.slot)}"


@dataclass(frozen=True)
class Scene:
    """Things in reading order, at most one a slot."""

    things: tuple[Thing, ...] = ()

    @classmethod
    def of(cls, things: Iterable[Thing]) -> Scene:
        """Sorted; raises ``ValueError`` for two things in one slot or one outside the grid."""
        listed = tuple(sorted(things))
        slots = [thing.slot for thing in listed]
        if len(set(slots)) != len(slots) or not all(0 <= at < SIDE for slot in slots for at in slot):
            raise ValueError("a scene has at most one thing in each of its slots")
        return cls(listed)

    def at(self, slot: Slot) -> Thing | None:
        return next((thing for thing in self.things if thing.slot == slot), None)

    def put(self, *things: Thing) -> Scene:
        """With these things instead of whatever stands in their slots."""
        taken = {thing.slot for thing in things}
        return Scene.of([*(thing for thing in self.things if thing.slot not in taken), *things])

    def without(self, *slots: Slot) -> Scene:
        return Scene.of(thing for thing in self.things if thing.slot not in slots)

    @property
    def free(self) -> tuple[Slot, ...]:
        """Slots with nothing in them."""
        taken = {thing.slot for thing in self.things}
        return tuple(slot for slot in product(range(SIDE), repeat=2) if slot not in taken)


def _outline(shape: str, reach: float, fine: int) -> PILImage.Image:
    """A mask of one shape in the middle of a ``fine`` x ``fine`` square."""
    mask = PILImage.new("L", (fine, fine), 0)
    pen, middle, r = ImageDraw.Draw(mask), fine / 2, fine * reach
    box = (middle - r, middle - r, middle + r, middle + r)
    if shape == "circle":
        pen.ellipse(box, fill=255)
    elif shape == "square":
        pen.rectangle(tuple(middle + 0.9 * (at - middle) for at in box), fill=255)
    elif shape == "cross":
        bar = r * 0.34
        pen.rectangle((middle - bar, middle - r, middle + bar, middle + r), fill=255)
        pen.rectangle((middle - r, middle - bar, middle + r, middle + bar), fill=255)
    else:
        corners = {"triangle": (3, 1.0), "hexagon": (6, 1.0), "star": (10, 0.42)}[shape]
        pen.polygon(_corners(middle, r, *corners), fill=255)
    return mask


def _corners(middle: float, r: float, count: int, inner: float) -> list[tuple[float, float]]:
    """Corners from the top on; every other one at ``inner`` of the radius."""
    turns = [2 * np.pi * at / count - np.pi / 2 for at in range(count)]
    reach = [r * (inner if at % 2 and inner != 1.0 else 1.0) for at in range(count)]
    return [(middle + far * np.cos(turn), middle + far * np.sin(turn)) for turn, far in zip(turns, reach, strict=True)]


@cache
def tile(shape: str, colour: str, size: str, px: int = SLOT_PX) -> np.ndarray:
    """One slot with one thing: uint8 [px, px, 3], read-only."""
    fine = px * 8
    mask = np.asarray(_outline(shape, REACH[size], fine).resize((px, px), PILImage.Resampling.BOX), np.float32)[..., None] / 255
    pixels = np.rint(np.array(GROUND) * (1 - mask) + np.array(COLOURS[colour]) * mask).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def render_pixels(scene: Scene, px: int = SLOT_PX) -> np.ndarray:
    """The scene as uint8 [SIDE * px, SIDE * px, 3]."""
    pixels = np.empty((SIDE * px, SIDE * px, 3), np.uint8)
    pixels[:] = GROUND
    for thing in scene.things:
        (row, column) = thing.slot
        pixels[row * px : (row + 1) * px, column * px : (column + 1) * px] = tile(thing.shape, thing.colour, thing.size, px)
    return pixels


def canvas(scene: Scene) -> np.ndarray:
    """The scene as the model sees it, half of the shown size: uint8 [128, 128, 3]."""
    px = SLOT_PX // 2
    pixels = np.full((SIDE * px, SIDE * px, 3), 255, np.uint8)
    for thing in scene.things:
        row, column = thing.slot
        pixels[row * px : (row + 1) * px, column * px : (column + 1) * px] = _small(thing.shape, thing.colour, thing.size)
    return pixels


@cache
def _small(shape: str, colour: str, size: str) -> np.ndarray:
    return reduce(tile(shape, colour, size).astype(np.float32), "(r s) (c t) k -> r c k", "mean", s=2, t=2).astype(np.uint8)


def render(scene: Scene) -> Image:
    """The picture that is shown and judged, 256 px."""
    pixels = render_pixels(scene)
    return Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())


@dataclass(frozen=True)
class SceneReading:
    """What a picture shows; ``unclear`` are slots that hold something without a name."""

    scene: Scene
    unclear: tuple[Slot, ...]


@cache
def _looks(px: int) -> tuple[tuple[tuple[str, str, str] | None, ...], np.ndarray]:
    """Everything a slot can show: names (None for nothing) and pixels, float [kinds, px * px * 3]."""
    names = [None, *product(SHAPES, COLOURS, SIZES)]
    blank = np.full((px, px, 3), GROUND, np.uint8)
    tiles = [blank if name is None else tile(*name, px) for name in names]
    return tuple(names), np.stack(tiles).reshape(len(names), -1).astype(np.float32)


def _coarse(slots: np.ndarray, px: int) -> np.ndarray:
    """Means over COARSE_PX x COARSE_PX pixels of slots [n, px * px * 3]: [n, cells]."""
    whole = "n (r a c b rgb) -> n (r c rgb)"
    return reduce(slots, whole, "mean", r=px // COARSE_PX, c=px // COARSE_PX, a=COARSE_PX, b=COARSE_PX)


def read(image: Image) -> SceneReading:
    """Pixels to structure: every slot is the thing that it is nearest to, or unclear where it is near to none."""
    side = SIDE * SLOT_PX // 2
    small = image.to_pil().convert("RGB").resize((side, side), PILImage.Resampling.BOX)
    px = side // SIDE
    slots = np.asarray(small, np.float32).reshape(SIDE, px, SIDE, px, 3).transpose(0, 2, 1, 3, 4).reshape(SIDE * SIDE, -1)
    names, looks = _looks(px)
    best = np.square(slots[:, None] - looks[None]).mean(-1).argmin(1)
    far = np.sqrt(np.square(_coarse(slots - looks[best], px)).mean(1))
    things, unclear = [], []
    for place, kind in enumerate(best):
        slot = divmod(place, SIDE)
        if far[place] > FAR:
            unclear.append(slot)
        elif names[kind] is not None:
            things.append(Thing(slot, *names[kind]))
    return SceneReading(Scene.of(things), tuple(unclear))
