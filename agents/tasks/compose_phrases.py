"""Requests and edits in everyday words, English and Chinese, one of many ways at random."""

from __future__ import annotations

import random

from agents.tasks.compose_asks import Ask
from agents.tasks.compose_edits import Edit, corner_of
from agents.tasks.compose_rules import Group, Kind, Request
from agents.tasks.maze_words import cell_name

NUMBERS = {1: ("a", "one", "1", "an"), 2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4"), 5: ("five", "5"), 6: ("six", "6")}
SIZE_WORDS = {"small": ("small", "small", "little", "tiny"), "large": ("large", "big", "huge")}
COLOUR_WORDS = {"purple": ("purple", "purple", "violet")}
SHAPE_WORDS = {"circle": ("circle", "circle", "disc"), "square": ("square", "square", "box"), "cross": ("cross", "cross", "plus")}
PLURALS = {"circle": "circles", "square": "squares", "triangle": "triangles", "star": "stars", "cross": "crosses", "hexagon": "hexagons",
           "disc": "discs", "box": "boxes", "plus": "pluses", "shape": "shapes", "thing": "things", "object": "objects"}  # fmt: skip
ANY = ("shape", "thing", "object")
SIDES = {
    "left": ("left of", "to the left of", "on the left of"), "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"), "below": ("below", "under", "beneath"),
}  # fmt: skip
OPENINGS = ("", "", "", "", "", "draw", "draw", "please draw", "show me", "paint", "i want", "put", "a picture with")

ZH_NUMBERS = {1: "一", 2: "两", 3: "三", 4: "四", 5: "五", 6: "六"}
ZH_COLOURS = {"red": "红", "orange": "橙", "yellow": "黄", "green": "绿", "blue": "蓝", "purple": "紫", "black": "黑"}
ZH_SHAPES = {"circle": "圆", "square": "正方形", "triangle": "三角形", "star": "星", "cross": "十字", "hexagon": "六边形"}
ZH_SIZES = {"small": "小", "large": "大"}
ZH_SIDES = {"left": "左边", "right": "右边", "above": "上面", "below": "下面"}
ZH_CORNERS = {"top left": "左 上 角", "top right": "右 上 角", "bottom left": "左 下 角", "bottom right": "右 下 角"}


def phrase(rng: random.Random, ask: Ask, chinese: float = 0.15) -> str:
    """One way to say a request or an edit, words split by spaces."""
    if rng.random() < chinese:
        return _zh_request(rng, ask) if isinstance(ask, Request) else _zh_edit(rng, ask)
    return _request(rng, ask) if isinstance(ask, Request) else _edit(rng, ask)


def _noun(rng: random.Random, kind: Kind, plural: bool = False) -> str:
    shape = rng.choice(SHAPE_WORDS.get(kind.shape, (kind.shape,))) if kind.shape else rng.choice(ANY)
    words = [rng.choice(COLOUR_WORDS.get(kind.colour, (kind.colour,)))] if kind.colour else []
    if kind.size:
        words.insert(0 if rng.random() < 0.85 else len(words), rng.choice(SIZE_WORDS[kind.size]))
    return " ".join((*words, PLURALS[shape] if plural else shape))


def _group(rng: random.Random, group: Group) -> str:
    noun = _noun(rng, group.kind, group.count > 1)
    number = rng.choice(NUMBERS[group.count])
    if number in ("a", "an"):
        number = ("an" if noun[0] in "aeiou" else "a") if rng.random() < 0.97 else "a"
    return f"{number} {noun}"


def _request(rng: random.Random, request: Request) -> str:
    names, said = [_group(rng, group) for group in request.groups], ""
    relations = list(request.relations)
    if relations and len(names) == 2 and rng.random() < 0.75:
        relation = relations.pop(0)
        link = rng.choice(("", "are " if request.groups[0].count > 1 else "is "))
        said = f"{names[0]} {link}{rng.choice(SIDES[relation.word])} {names[1]}"
    elif len(names) <= 2 or rng.random() < 0.5:
        said = " and ".join(names)
    else:
        said = f"{' , '.join(names[:-1])} and {names[-1]}"
    for relation in relations:
        first, second = (request.groups[index] for index in (relation.first, relation.second))
        pair = [f"the {_noun(rng, group.kind, group.count > 1)}" for group in (first, second)]
        said += f" , {pair[0]} {rng.choice(('', 'are ' if first.count > 1 else 'is '))}{rng.choice(SIDES[relation.word])} {pair[1]}"
    for kind in request.absent:
        what = kind.colour if kind.colour and not kind.shape else _noun(rng, kind, True)
        said += rng.choice((f" , no {what}", f" without {what}", f" but no {what}", f" and no {what}"))
    return f"{rng.choice(OPENINGS)} {said}".strip()


def _the(rng: random.Random, kind: Kind, every: bool = False) -> str:
    if every and rng.random() < 1 / 3:
        return f"every {_noun(rng, kind)}"
    return f"{rng.choice(('all', 'all the'))} {_noun(rng, kind, True)}" if every else f"the {_noun(rng, kind)}"


def _where(rng: random.Random, edit: Edit) -> str:
    if edit.place is not None:
        corner = corner_of(edit.place)
        if corner and rng.random() < 0.7:
            return rng.choice((f"to the {corner}", f"in the {corner} corner", f"at the {corner}", f"to the {corner} corner"))
        return f"{rng.choice(('to', 'at', 'on'))} {cell_name(edit.place)}"
    if edit.relation and edit.other:
        return f"{rng.choice(SIDES[edit.relation])} the {_noun(rng, edit.other)}"
    return ""


def _edit(rng: random.Random, edit: Edit) -> str:
    what = _the(rng, edit.kind, edit.every)
    if edit.verb == "add":
        return f"{rng.choice(('add', 'add', 'put', 'draw'))} {_group(rng, Group(1, edit.kind))} {_where(rng, edit)}".strip()
    if edit.verb == "remove":
        return f"{rng.choice(('remove', 'delete', 'erase', 'take away'))} {what}"
    if edit.verb == "recolour":
        colour = rng.choice(COLOUR_WORDS.get(edit.value, (edit.value,)))
        return rng.choice((f"make {what} {colour}", f"turn {what} {colour}", f"recolour {what} {colour}", f"change {what} to {colour}",
                           f"paint {what} {colour}"))  # fmt: skip
    if edit.verb == "resize":
        size = rng.choice({"large": ("bigger", "large", "larger", "big"), "small": ("smaller", "small")}[edit.value])
        return f"make {what} {size}"
    if edit.verb == "move":
        return f"{rng.choice(('move', 'move', 'put'))} {what} {_where(rng, edit)}"
    return f"{rng.choice(('swap', 'exchange'))} {what} {rng.choice(('and', 'with'))} the {_noun(rng, edit.other or Kind())}"


def _zh_noun(kind: Kind) -> str:
    words = [ZH_SIZES[kind.size]] if kind.size else []
    words += [ZH_COLOURS[kind.colour], "色"] if kind.colour else []
    return " ".join((*words, *(["的"] if kind.colour and kind.shape else []), ZH_SHAPES[kind.shape] if kind.shape else "图"))


def _zh_request(rng: random.Random, request: Request) -> str:
    names = [f"{ZH_NUMBERS[group.count]} 个 {_zh_noun(group.kind)}" for group in request.groups]
    relations, said = list(request.relations), " 和 ".join(names)
    if relations and len(names) == 2:
        said = f"{names[0]} 在 {names[1]} 的 {ZH_SIDES[relations.pop(0).word]}"
    for relation in relations:
        first, second = (_zh_noun(request.groups[index].kind) for index in (relation.first, relation.second))
        said += f" , {first} 在 {second} 的 {ZH_SIDES[relation.word]}"
    for kind in request.absent:
        said += f" , 没有 {_zh_noun(kind)}"
    return f"{rng.choice(('', '画', '请 画'))} {said}".strip()


def _zh_where(edit: Edit) -> str:
    if edit.place is not None:
        return ZH_CORNERS.get(corner_of(edit.place) or "", cell_name(edit.place))
    return f"{_zh_noun(edit.other)} 的 {ZH_SIDES[edit.relation]}" if edit.relation and edit.other else ""


def _zh_edit(rng: random.Random, edit: Edit) -> str:
    what = f"{'所有 ' if edit.every else ''}{_zh_noun(edit.kind)}"
    if edit.verb == "add":
        where = _zh_where(edit)
        return f"{f'在 {where} ' if where else ''}添加 一 个 {_zh_noun(edit.kind)}"
    if edit.verb == "remove":
        return f"删除 {what}"
    if edit.verb == "recolour":
        return f"把 {what} 变成 {ZH_COLOURS[edit.value]} 色"
    if edit.verb == "resize":
        return f"把 {what} 变成 {ZH_SIZES[edit.value]} 的"
    if edit.verb == "move":
        return f"把 {what} 移动 {rng.choice(('', '到 '))}{_zh_where(edit)}"
    return f"交换 {what} 和 {_zh_noun(edit.other or Kind())}"
