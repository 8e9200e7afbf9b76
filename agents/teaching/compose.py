"""Lessons about scenes: planning, drawing, looking again and putting right."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from agents.tasks.compose_asks import Ask, compared, judged, mend, random_ask, random_scene, random_thing, solved
from agents.tasks.compose_edits import Edit
from agents.tasks.compose_looks import UNCLEAR, look_words, things_words, want_words
from agents.tasks.compose_mistakes import corrupt
from agents.tasks.compose_phrases import PLURALS, phrase
from agents.tasks.compose_rules import FIRST, Kind, Request, Verdict, differences
from agents.tasks.compose_words import INSTRUCTIONS, asked, check_words, describe_words, think_words, verdict_words
from agents.tasks.maze_words import cell_name
from agents.tasks.scene import COLOURS, SHAPES, SIDE, SIZES, Scene, Slot, Thing, canvas, read
from agents.teaching.blots import blotted
from agents.teaching.own import SLOT_TOKENS, pair, slot_tokens, tokens_at
from unimm.document import Image
from unimm.train.data import IGNORED, Branch, Lesson


def picture(rng: random.Random, split: str) -> np.ndarray:
    """A random scene, full ones more often than requests have them: uint8 [128, 128, 3]."""
    return canvas(random_scene(rng, 3, 16))


UNCLEAR_STATE = 1 + len(SHAPES) * len(COLOURS) * len(SIZES)
"""The kind of cell of what has no name, behind those of all things."""


def _states(scene: Scene, unclear: Iterable[Slot] = ()) -> np.ndarray:
    """What every token shows, [64]."""
    slots = np.zeros((SIDE, SIDE), np.int64)
    for slot in unclear:
        slots[slot] = UNCLEAR_STATE
    for thing in scene.things:
        slots[thing.slot] = 1 + (SHAPES.index(thing.shape) * len(COLOURS) + list(COLOURS).index(thing.colour)) * 2 + SIZES.index(thing.size)
    return slots.repeat(2, 0).repeat(2, 1).flatten()


def named(side: int) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(state, token, words) for all things, and what has no name, at all places."""
    looks = [(colour, shape, size) for shape, colour, size in product(SHAPES, COLOURS, SIZES)]
    for state, look in enumerate((*looks, (UNCLEAR,)), 1):
        for cell in range(side * side):
            row, column = divmod(cell, side)
            yield state, cell, (*look, cell_name((row * SIDE // side, column * SIDE // side)))


def _faults(right: Scene | None, after: Scene) -> np.ndarray:
    """1 for every token that is not as the nearest right scene has it, [64]."""
    return _at(differences(right, after) if right is not None else ())


def _verdict(ask: Ask, before: Scene, after: Scene, unclear: tuple[Slot, ...] = ()) -> tuple[Verdict, Scene | None, str]:
    verdict = Verdict(False, "unreadable", unclear[0]) if unclear else judged(ask, before, after)
    right = after if verdict.ok else mend(FIRST, ask, before, after)
    return verdict, right, verdict_words(verdict, after, right, compared(ask, before), ask, unclear)


BLOTTED = 0.2
"""Share of the pictures to be judged or repaired that have tokens in them which do not belong there."""


def _blotted(rng: random.Random, scene: Scene) -> tuple[np.ndarray, Scene, tuple[Slot, ...]]:
    """A scene's picture with blots, what can still be read in it, and the slots that cannot."""
    spoilt, _ = blotted(rng, canvas(scene), picture(rng, "train"))
    shown = spoilt.repeat(2, 0).repeat(2, 1)
    reading = read(Image(shown.shape[1], shown.shape[0], shown.tobytes()))
    return spoilt, reading.scene, reading.unclear


BROKEN = 0.5
"""Share of the inspector's scenes that are blotted."""


def inspection(rng: random.Random, split: str = "train") -> Lesson:
    """One scene and one after it, without words, right or wrong, whole or with blots; and which of its slots cannot be read."""
    ask, before, after = _asked(rng, split)
    shown = corrupt(rng, ask, before, after) if rng.random() < 0.4 else after
    picture, _, unclear = _blotted(rng, shown) if rng.random() < BROKEN else (canvas(shown), shown, ())
    return pair(np.stack([canvas(before), picture]), tokens_at({"damaged": slot_tokens(unclear)}, SLOT_TOKENS * SIDE))


def _at(slots: Iterable[Slot]) -> np.ndarray:
    """1 for every token of the slots, [64]."""
    found = np.zeros((SIDE, SIDE), np.int64)
    for slot in slots:
        found[slot] = 1
    return found.repeat(2, 0).repeat(2, 1).flatten()


def _question(rng: random.Random, scene: Scene) -> tuple[str, str]:
    """The instruction to answer a question about a scene, and the answer."""
    thing = rng.choice(scene.things) if scene.things and rng.random() < 0.7 else None
    shape = rng.choice((thing.shape if thing else rng.choice(SHAPES), None))
    colour = rng.choice((thing.colour if thing else rng.choice(list(COLOURS)), None)) if shape else (thing.colour if thing else "red")
    if rng.random() < 0.6 or thing is None:
        kind = Kind(shape, colour)
        name = " ".join(filter(None, (colour, PLURALS[shape or "shape"])))
        return asked("ask", f"how many {name} ?"), f"{sum(kind.fits(other) for other in scene.things)} ."
    return asked("ask", f"what is at {cell_name(thing.slot)} ?"), f"{thing.colour} {thing.shape} {thing.size} ."


EDITS, MIXED = 0.35, 0.35
"""Shares of the lessons that are about an edit, and about a request of many things, in any case: these have most to find out."""
CHINESE = 0.25
"""Share of what is asked for in Chinese: more than in the problems, for it shares few words with the rest."""
PLANNED = 0.5
"""Share of the pictures that are as a plan would have them; the others are as asked in any way."""


def _group(rng: random.Random) -> str | None:
    """What a lesson is about: an edit, many things, or None for any."""
    return rng.choices(("edit", "mixed", None), (EDITS, MIXED, 1 - EDITS - MIXED))[0]


def _asked(rng: random.Random, split: str) -> tuple[Ask, Scene, Scene]:
    """What is asked for, the scene before and a right one after it."""
    while True:
        ask, before = random_ask(rng, split, _group(rng))
        if (after := solved(FIRST if rng.random() < PLANNED else rng, ask, before)) is not None:
            return ask, before, after


def _plan(ask: Ask, before: Scene, after: Scene) -> str:
    """The thought: the one plan that a request has, whatever the picture that is shown."""
    return think_words(before, solved(FIRST, ask, before) or after, ask)


def understanding(rng: random.Random, split: str) -> Lesson:
    """One request or edit: plan, judge a right or a wrong picture, describe one or answer about it."""
    ask, before, after = _asked(rng, split)
    words = phrase(rng, ask, CHINESE)
    if isinstance(ask, Edit) or rng.random() < 0.93:
        branches = [Branch(asked("next", words), _plan(ask, before, after), draws=True)]
    else:
        before, branches = after, [Branch(asked("next", words), think_words(before, None))]
    blots = rng.random() < BLOTTED
    shown = corrupt(rng, ask, before, after) if rng.random() < (0.2 if blots else 0.6) else after
    picture, shown, unclear = _blotted(rng, shown) if blots else (canvas(shown), shown, ())
    _, right, said = _verdict(ask, before, shown, unclear)
    branches.append(Branch(asked("judge", words), said, shows=(1,)))
    if before.things or rng.random() < 0.1:  # a blank sheet has little to say, and showing the other one again costs much
        question, reply = (INSTRUCTIONS["describe"], describe_words(before)) if rng.random() < 0.4 else _question(rng, before)
        branches.append(Branch(question, reply))
    faults = np.stack([np.full(4 * SIDE * SIDE, IGNORED), _faults(right, shown) | _at(unclear)])
    states = np.stack([_states(before), _states(shown, unclear)])
    return Lesson(np.stack([canvas(before), picture]), (0,), tuple(branches), states, faults)


DRILLS = 0.4
"""Share of the lessons in words that do nothing but hold things against what is wanted."""


def _matching(rng: random.Random, split: str) -> Branch:
    """Many things, most of them nearly what is wanted, each held against that."""
    ask, _ = random_ask(rng, split, _group(rng))
    kinds = [group.kind for group in ask.groups] + list(ask.absent) if isinstance(ask, Request) else [ask.kind, ask.other or ask.kind]
    scene = Scene.of(_near(rng, rng.choice(kinds), slot) for slot in sorted(rng.sample(Scene().free, rng.randint(4, 9))))
    told = f"see : {things_words(scene)} . {want_words(ask)}"
    whole = f"see : {things_words(scene)} . {look_words(ask, scene)}"
    if isinstance(ask, Request):
        whole += f"check : {' , '.join(check_words(judged(ask, Scene(), scene), ask))} ."
    return _told("compose find :", told, whole.strip())


def _near(rng: random.Random, kind: Kind, slot: Slot) -> Thing:
    """A thing of a kind, or one that is of it but for a thing or two."""
    thing = random_thing(rng, slot)
    kept = [name for name in ("shape", "colour", "size") if rng.random() < 0.7]
    return replace(thing, **{name: value for name in kept if (value := getattr(kind, name))})


def reasoning(rng: random.Random, split: str) -> Branch:
    """A plan or a verdict as words alone: from what would be seen in the pictures; or what both begin with, by itself."""
    if rng.random() < DRILLS:
        return _matching(rng, split)
    ask, before, after = _asked(rng, split)
    words = phrase(rng, ask, CHINESE)
    if rng.random() < 0.5:
        if isinstance(ask, Edit) or rng.random() < 0.9:
            return _told(asked("next", words), f"see : {things_words(before)} ." if before.things else "", _plan(ask, before, after), True)
        return _told(asked("next", words), f"see : {things_words(after)} .", think_words(after, None))
    shown = corrupt(rng, ask, before, after) if rng.random() < 0.6 else after
    unclear = tuple(sorted(rng.sample(list(product(range(SIDE), repeat=2)), rng.randint(1, 2)))) if rng.random() < BLOTTED else ()
    for slot in unclear:
        shown = shown.without(slot)
    said = _verdict(ask, before, shown, unclear)[2]
    return _told(asked("judge", words), said[: said.index(" .", said.index("see :")) + 2], said)


def _told(ask: str, told: str, whole: str, draws: bool = False) -> Branch:
    return Branch(ask, whole.removeprefix(told).strip(), draws=draws, alone=True, told=told)


UNSEEN = 0.7
"""Share of the lessons on editing that show the base no picture: plan and source tokens hold all that the stack needs."""
FREE_PLANS = 0.4
"""Share of the lessons whose plan has nothing to do with the request: the picture has to follow the plan."""


def drawing(rng: random.Random, split: str, editing: bool) -> Lesson:
    """One scene to draw: after its plan, after a verdict with the plan of a repair, or at once from the request."""
    ask, before, after = _asked(rng, split)
    words, chance = phrase(rng, ask, CHINESE), rng.random()
    source = 0 if editing else -1
    if chance < 0.05 and not isinstance(ask, Edit):
        return Lesson(
            np.stack([canvas(before), canvas(after)]), (0,), (Branch(asked("direct", words), "", draws=True, source=source, target=1),)
        )
    if chance < 0.3:
        picture, wrong, unclear = _wrong(rng, ask, before, after)
        _, right, said = _verdict(ask, before, wrong, unclear)
        pictures = np.stack([canvas(before), canvas(right or after), picture])
        branch = Branch(asked("judge", words), said, shows=(2,), draws=True, source=2 if editing else -1, target=1)
        states = np.stack([_states(before), _states(right or after), _states(wrong, unclear)])
        return Lesson(pictures, (0,), (branch,), states, about=_about(wrong, right or after, unclear))
    after = solved(FIRST, ask, before) or after
    plan = think_words(before, after, ask)
    if rng.random() < FREE_PLANS:
        before = before if rng.random() < 0.5 else random_scene(rng)
        after = _redone(rng, before)
        plan = think_words(before, after)
    branch = Branch(asked("next", words), plan, draws=True, source=source, target=1)
    shared = () if editing and rng.random() < UNSEEN else (0,)
    states = np.stack([_states(before), _states(after)])
    return Lesson(np.stack([canvas(before), canvas(after)]), shared, (branch,), states, about=_about(before, after))


def _wrong(rng: random.Random, ask: Ask, before: Scene, after: Scene) -> tuple[np.ndarray, Scene, tuple[Slot, ...]]:
    """A picture to be put right, what can be read in it, and the slots that cannot: with a mistake, or with blots that can be seen."""
    while rng.random() < BLOTTED:
        picture, scene, unclear = _blotted(rng, after)
        if unclear:
            return picture, scene, unclear
    wrong = corrupt(rng, ask, before, after)
    return canvas(wrong), wrong, ()


def _about(source: Scene, target: Scene, unclear: tuple[Slot, ...] = ()) -> tuple[tuple[int, str, tuple[float, float]], ...]:
    """(token, name of its slot, way to the slot's middle) for all tokens of slots that change: a plan names each of them."""
    places = ((row, column) for row in range(2 * SIDE) for column in range(2 * SIDE))
    return tuple(
        (row * 2 * SIDE + column, cell_name(slot), (0.5 - row % 2, 0.5 - column % 2))
        for row, column in places
        if source.at(slot := (row // 2, column // 2)) != target.at(slot) or slot in unclear
    )


def _redone(rng: random.Random, scene: Scene) -> Scene:
    """A scene with some slots cleared and some filled anew."""
    while True:
        target = random_scene(rng, 1)
        keep = [thing for thing in scene.things if rng.random() < 0.6]
        after = Scene.of(keep).put(*(thing for thing in target.things if rng.random() < (0.5 if scene.things else 1.0)))
        if after != scene:
            return after
