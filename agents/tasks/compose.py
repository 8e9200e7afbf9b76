"""Composing: a scene from words or a change to one, by a plan; what is wrong with it is put right by an edit."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from agents.tasks.compose_asks import GROUPS, SPLITS, Ask, compared, judged, mend, random_ask, solved
from agents.tasks.compose_edits import Edit, wanted
from agents.tasks.compose_mistakes import corrupt
from agents.tasks.compose_parse import normalise, parse
from agents.tasks.compose_phrases import phrase
from agents.tasks.compose_rules import FAULTS, FIRST, Request, Verdict, differences
from agents.tasks.compose_rules import layout as _layout
from agents.tasks.compose_verdicts import objection
from agents.tasks.compose_words import INSTRUCTIONS, asked, done, parse_verdict, think_words, verdict_words
from agents.tasks.maze_words import cell_at, cell_name
from agents.tasks.scene import COLOURS, SHAPES, SIDE, SIZES, Scene, SceneReading, Slot, Thing, read, render
from unimm.document import Document, Image, Text
from unimm.errors import BadInput

__all__ = [
    "FAULTS", "GROUPS", "RULES", "SPLITS", "Check", "Problem", "Score", "Solution", "asks", "check", "done", "gold_document", "layout",
    "moment", "objection", "paint", "parse_verdict", "picture_words", "place_name", "places", "problem", "read", "render", "request",
    "score", "solve", "verdict_words",
]  # fmt: skip

MOST_WORDS = 60
RULES = (
    "The picture is a white sheet of 4 x 4 places, each empty or with one shape: a circle, square, triangle, star, cross or hexagon, "
    "in red, orange, yellow, green, blue, purple or black, small or large. It shows exactly what the request asks for and nothing else. "
    "When a picture is to be changed, everything that the request does not name stays as it is."
)
STYLES = ("english", "chinese")


@dataclass(frozen=True)
class Problem:
    """A request in words, and the scene that it starts from (an empty sheet unless something is to be changed)."""

    words: str
    id: str
    scene: Scene = field(default_factory=Scene)
    task: str = "compose"

    @cached_property
    def ask(self) -> Ask:
        return parse(self.words, editing=bool(self.scene.things))

    @cached_property
    def image(self) -> Image:
        return render(self.scene)

    def to_dict(self) -> dict[str, Any]:
        things = [[thing.colour, thing.shape, thing.size, cell_name(thing.slot)] for thing in self.scene.things]
        return {"task": self.task, "id": self.id, "words": self.words, "scene": things}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        """Inverse of ``to_dict``; raises ``BadInput`` for words or scenes outside of what can be drawn."""
        match data:
            case {"task": "compose", "id": str(name), "words": str(words)} if len(name) <= 200:
                return paint(words, data.get("scene") or (), name)
        raise BadInput("This is no request for a scene: it needs 'task', 'id' and 'words'.")


@dataclass(frozen=True)
class Solution:
    """One scene that is as asked."""

    frames: tuple[Scene, ...]
    answer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """The program's verdict on a drawn scene: kind of fault, its slot, the whole verdict in words, and the tokens that changed."""

    ok: bool
    fault: str | None
    where: Slot | None
    words: str
    changed: tuple[tuple[int, int], ...]
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """``solved``: the last scene is exactly what was asked for."""

    solved: bool
    fault: str | None = None
    where: Slot | None = None

    def to_dict(self) -> dict[str, Any]:
        where = list(self.where) if self.where else None
        return {"solved": self.solved, "drawn": self.solved, "answer_right": None, "fault": self.fault, "where": where}


def problem(split: str, index: int, group: str | None = None, style: str | None = None) -> Problem:
    """Problem number ``index`` of a split and group (a category, or "edit"); the same for the same arguments.

    ``style`` is the language, "english" or "chinese"; without it one in seven is Chinese. Raises ``BadInput`` for unknown names.
    """
    if split not in SPLITS or (group is not None and group not in GROUPS) or (style is not None and style not in STYLES):
        raise BadInput(f"Scenes have the splits {', '.join(SPLITS)}, the groups {', '.join(GROUPS)} and the styles {', '.join(STYLES)}.")
    rng = random.Random(_seed("compose", split, index, group, style))
    ask, scene = random_ask(rng, split, group)
    words = phrase(rng, ask, {"english": 0.0, "chinese": 1.0}.get(style or "", 0.15))
    return Problem(words, "-".join(filter(None, ("compose", split, str(index), group, style))), scene)


def _seed(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def paint(words: str, scene: Sequence[Sequence[str]] = (), id: str | None = None) -> Problem:
    """A problem from a visitor's words and scene (rows of colour, shape, size, slot); raises ``BadInput`` with the reason."""
    if not words.strip():
        raise BadInput("Say what to draw, for example: two red circles left of a blue square.")
    said = normalise(words)
    if len(said.split()) > MOST_WORDS:
        raise BadInput(f"That is more than {MOST_WORDS} words. Ask for less at a time.")
    start = scene_of(scene)
    ask = parse(said, editing=bool(start.things))
    if isinstance(ask, Edit):
        if not start.things and ask.verb != "add":
            raise BadInput("There is no scene to change yet. Draw one first, or say what a whole scene should show.")
        goal = wanted(ask, start)
        if isinstance(goal, str):
            raise BadInput(f"This change cannot be made: {goal}.")
    elif _layout(random.Random(0), ask) is None:
        raise BadInput("No sheet of 4 x 4 places has room for that. Ask for fewer things or fewer conditions.")
    if isinstance(ask, Request):
        start = Scene()
    return Problem(said, id or f"compose-asked-{hashlib.sha256(repr((said, start)).encode()).hexdigest()[:12]}", start)


def scene_of(rows: Sequence[Sequence[str]]) -> Scene:
    """A scene from rows of colour, shape, size and slot; raises ``BadInput``."""
    if not isinstance(rows, list | tuple) or len(rows) > SIDE * SIDE:
        raise BadInput(f"A scene is a list of at most {SIDE * SIDE} things.")
    things = []
    for row in rows:
        match row:
            case [str(colour), str(shape), str(size), str(name)] if colour in COLOURS and shape in SHAPES and size in SIZES:
                slot = cell_at(name)
                if slot is not None and max(slot) < SIDE:
                    things.append(Thing(slot, shape, colour, size))
                    continue
        raise BadInput("A thing of a scene is a colour, a shape, a size and a place such as b2.")
    try:
        return Scene.of(things)
    except ValueError:
        raise BadInput("Two things of the scene are in the same place. Move one of them.") from None


def scene_from(image: Image) -> Scene:
    """The scene that a visitor's picture shows; raises ``BadInput`` where it shows something else."""
    reading = read(image)
    if reading.unclear:
        names = ", ".join(map(cell_name, reading.unclear[:4]))
        raise BadInput(f"I cannot tell what is at {names}. A scene has one shape in each of its 4 x 4 places, on white.")
    return reading.scene


def asks(problem: Problem) -> dict[str, str]:
    return {name: asked(name, problem.words) for name in ("next", "judge", "direct")} | {"describe": INSTRUCTIONS["describe"]}


def request(problem: Problem) -> str:
    return problem.words


def solve(problem: Problem) -> Solution:
    made = solved(FIRST, problem.ask, problem.scene)
    if made is None:
        raise BadInput("This request cannot be fulfilled.")
    return Solution((made,))


def check(problem: Problem, before: Image, after: Image) -> Check:
    """Is ``after`` what was asked for? Read from the pixels; ``before`` says what changed."""
    old, new = read(before), read(after)
    changed = tuple((2 * r + dr, 2 * c + dc) for r, c in differences(old.scene, new.scene) for dr in (0, 1) for dc in (0, 1))
    verdict = _verdict(problem, new)
    right = None if verdict.ok else mend(FIRST, problem.ask, problem.scene, new.scene)
    words = verdict_words(verdict, new.scene, right, compared(problem.ask, problem.scene), problem.ask, new.unclear)
    return Check(verdict.ok, verdict.fault, verdict.where, words, changed, verdict.checks)


def places(problem: Problem, before: Image, after: Image) -> frozenset[Slot]:
    """Slots of a wrong scene at which a repair makes it right: the thing there gone, another one, or moved elsewhere; all slots that
    cannot be read, where there are such."""
    reading = read(after)
    if reading.unclear:
        return frozenset(reading.unclear)
    scene = reading.scene

    def mends(slot: Slot) -> bool:
        thing, rest = scene.at(slot), scene.without(slot)
        others = (rest, *(rest.put(Thing(slot, *look)) for look in product(SHAPES, COLOURS, SIZES)))
        moved = (rest.put(replace(thing, slot=free)) for free in rest.free) if thing else ()
        return any(judged(problem.ask, problem.scene, mended).ok for mended in (*others, *moved))

    return frozenset(thing.slot for thing in scene.things if mends(thing.slot))


def _verdict(problem: Problem, reading: SceneReading) -> Verdict:
    if reading.unclear:
        return Verdict(False, "unreadable", reading.unclear[0])
    return judged(problem.ask, problem.scene, reading.scene)


def score(problem: Problem, frames: Sequence[Image], answer: Sequence[str] = ()) -> Score:
    """Whether the last picture is exactly what was asked for; no picture is the start."""
    verdict = _verdict(problem, read(frames[-1] if frames else problem.image))
    return Score(verdict.ok, verdict.fault, verdict.where)


def moment(rng: random.Random, problem: Problem) -> tuple[Image, list[tuple[Image, bool, str | None, Slot | None]]]:
    """The first picture, a right drawing and two wrong ones with the truth about each."""
    right = solved(rng, problem.ask, problem.scene)
    assert right is not None
    shown = [right]
    for _ in range(20):
        wrong = corrupt(rng, problem.ask, problem.scene, right)
        if wrong not in shown:
            shown.append(wrong)
        if len(shown) == 3:
            break
    truths = [(scene, judged(problem.ask, problem.scene, scene)) for scene in shown]
    return problem.image, [(render(scene), truth.ok, truth.fault, truth.where) for scene, truth in truths]


def picture_words(image: Image) -> str:
    """All that a scene shows, for a model that draws anew from words."""
    reading = read(image)
    if reading.unclear:
        return ""
    rows, columns = ("top", "upper middle", "lower middle", "bottom"), ("left", "middle left", "middle right", "right")
    said = (f"a {t.size} {t.colour} {t.shape} in the {rows[t.slot[0]]} row, {columns[t.slot[1]]}" for t in reading.scene.things)
    return f"On white: {'; '.join(said) or 'nothing'}."


def place_name(place: Slot) -> str:
    return cell_name(place)


def layout(problem: Problem) -> str:
    """Equal for problems that ask for the same, whatever the words."""
    return hashlib.sha256(problem.ask.key.encode()).hexdigest()[:16]


def gold_document(problem: Problem, mistakes: float = 0.25) -> Document:
    """A right conversation: plan, picture (wrong first in a share of them, with verdict and repair)."""
    rng = random.Random(problem.id)
    right = solve(problem).frames[0]
    words = asks(problem)
    document = Document().user(problem.image, Text(words["next"]))
    plan = Text(think_words(problem.scene, right, problem.ask))
    if rng.random() >= mistakes:
        return document.assistant(plan, render(right))
    wrong = corrupt(rng, problem.ask, problem.scene, right)
    repaired = mend(FIRST, problem.ask, problem.scene, wrong) or right
    verdict = judged(problem.ask, problem.scene, wrong)
    document = document.assistant(plan, render(wrong)).user(Text(words["judge"]))
    said = verdict_words(verdict, wrong, repaired, compared(problem.ask, problem.scene), problem.ask)
    return document.assistant(Text(said), render(repaired))
