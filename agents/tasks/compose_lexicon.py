"""What the words of a request or an edit mean, in English and Chinese, one part of speech each."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache

from agents.tasks import compose_phrases as said
from agents.tasks.compose_edits import CORNERS
from agents.tasks.maze_words import cell_at, cell_name
from agents.tasks.scene import COLOURS, SHAPES, SIDE, SIZES
from unimm.errors import BadInput

CAN = (
    f"I can draw {', '.join(said.PLURALS[shape] for shape in SHAPES[:-1])} and {said.PLURALS[SHAPES[-1]]} in "
    f"{', '.join(list(COLOURS)[:-1])} or {list(COLOURS)[-1]}, {' or '.join(SIZES)}, up to six on one sheet."
)
CHANGES = "I can add, remove, recolour, resize, move and swap things, one change at a time."
LONGEST = 400
"""Characters of a request."""

SYNONYMS: dict[str, str] = {
    "circle shaped": "circle", "plus sign": "plus", "plus signs": "pluses", "disk": "disc", "disks": "discs",
    "item": "thing", "items": "things", "ones": "things", "figure": "shape", "figures": "shapes", "everything": "all things",
    "pair of": "two", "a pair of": "two", "couple of": "two", "a couple of": "two", "single": "one", "zero": "no", "0": "no",
    "colored": "", "coloured": "", "shaped": "", "exactly": "", "just": "", "only": "", "also": "", "then": "", "now": "", "stands": "is",
    "stand": "are", "that's": "that is", "there's": "there is", "nothing else": "", "and nothing else": "", "nothing but": "",
    "nothing": "no", "anything": "", "any": "", "not": "no", "neither": "no", "nor": "no", "enormous": "huge", "giant": "huge",
    "on top of": "above", "underneath": "under", "to the left side of": "left of", "to the right side of": "right of",
    "on the left side of": "left of", "on the right side of": "right of", "upper left": "top left", "upper right": "top right",
    "lower left": "bottom left", "lower right": "bottom right", "left top": "top left", "right top": "top right",
    "left bottom": "bottom left", "right bottom": "bottom right", "both": "all", "each": "every", "get rid of": "remove",
    "rub out": "erase", "insert": "add", "place": "put", "switch": "swap", "shift": "move", "recolor": "recolour", "color": "recolour",
    "colour": "recolour", "would like": "want", "i'd like": "i want", "image": "picture", "scene": "picture", "&": "and",
}  # fmt: skip
"""Words that the model was never taught, and what is said for them."""
ZH_SYNONYMS: dict[str, str] = {
    "圆形": "圆", "圆圈": "圆", "方形": "正方形", "方块": "正方形", "三角": "三角形", "星星": "星", "星形": "星", "五角星": "星",
    "十字形": "十字", "六角形": "六边形", "图形": "图", "形状": "图", "东西": "图", "橘": "橙", "左侧": "左边", "左面": "左边",
    "右侧": "右边", "右面": "右边", "上方": "上面", "上边": "上面", "下方": "下面", "下边": "下面", "以及": "和", "与": "和",
    "跟": "和", "只": "个", "颗": "个", "不要": "没有", "去掉": "删除", "移除": "删除", "擦掉": "删除", "增加": "添加",
    "加上": "添加", "加": "添加", "放": "添加", "移到": "移动 到", "改成": "变成", "变为": "变成", "换成": "变成", "涂成": "变成",
    "变大": "变成 大", "变小": "变成 小", "全部": "所有", "互换": "交换", "对调": "交换", "都": "", "左上方": "左 上 角",
    "右上方": "右 上 角", "左下方": "左 下 角", "右下方": "右 下 角",
}  # fmt: skip
_HAN = re.compile(r"[\u4e00-\u9fff]+")


@dataclass(frozen=True)
class Token:
    """A word or a phrase: part of speech, meaning, and how it was said."""

    part: str
    value: str = ""
    word: str = ""
    plural: bool = False


def _each(part: str, words: dict[str, tuple[str, ...]]) -> dict[str, Token]:
    return {form: Token(part, value, form) for value, forms in words.items() for form in forms}


def _shapes() -> dict[str, Token]:
    forms = {shape: tuple(dict.fromkeys(said.SHAPE_WORDS.get(shape, (shape,)))) for shape in SHAPES}
    tokens = _each("shape", forms) | _each("any", {"": said.ANY})
    return tokens | {said.PLURALS[form]: Token(token.part, token.value, said.PLURALS[form], True) for form, token in tokens.items()}


@cache
def lexicon() -> dict[str, Token]:
    """Everything that is understood; phrases are words split by spaces."""
    numbers = {str(count): forms for count, forms in said.NUMBERS.items()}
    numbers |= {str(count): (word, str(count)) for count, word in enumerate(("seven", "eight", "nine", "ten"), 7)}
    verbs = {"add": ("add",), "remove": ("remove", "delete", "erase", "take away"), "move": ("move",), "swap": ("swap", "exchange"),
             "draw": ("draw",), "put": ("put",), "paint": ("paint",), "make": ("make",),
             "turn": ("turn", "recolour", "change", "resize")}  # fmt: skip
    fillers = ("please", "show me", "show", "i want", "draw me", "a picture with", "a picture of", "picture with", "picture of", "there is",
               "there are", "of", "corner")  # fmt: skip
    english = {
        **_each("number", numbers), **_each("size", said.SIZE_WORDS), **_shapes(), **_each("side", said.SIDES), **_each("verb", verbs),
        **_each("colour", {colour: said.COLOUR_WORDS.get(colour, (colour,)) for colour in COLOURS}),
        **_each("size", {"large": ("bigger", "larger"), "small": ("smaller",)}), **_each("fill", {"": fillers}),
        **_each("corner", {name: (name,) for name in CORNERS}), **_each("all", {"": ("all", "all the", "all of the", "every")}),
        **_each("the", {"": ("the",)}), **_each("and", {"": ("and", "with", "or", "but", ",")}), **_each("no", {"": ("no", "without")}),
        **_each("is", {"": ("is", "are")}), **_each("that", {"": ("that", "which")}), **_each("to", {"": ("to", "in", "at", "on", "into")}),
    }  # fmt: skip
    chinese = {
        **_each("number", {str(count): (word,) for count, word in said.ZH_NUMBERS.items()} | {"2": ("两", "二")}),
        **_each("size", {size: (word,) for size, word in said.ZH_SIZES.items()}),
        **_each("colour", {colour: (word, f"{word} 色") for colour, word in said.ZH_COLOURS.items()}),
        **_each("shape", {shape: (word,) for shape, word in said.ZH_SHAPES.items()}), **_each("any", {"": ("图",)}),
        **_each("zh side", {side: (word, word[0]) for side, word in said.ZH_SIDES.items()}),
        **_each("corner", {name: (word,) for name, word in said.ZH_CORNERS.items()}),
        **_each("verb", {"add": ("添加",), "remove": ("删除",), "move": ("移动",), "swap": ("交换",), "draw": ("画",), "turn": ("变成",)}),
        **_each("fill", {"": ("请", "个")}), **_each("zh of", {"": ("的",)}), **_each("zh at", {"": ("在",)}), 
        **_each("zh take", {"": ("把",)}),
        **_each("zh is", {"": ("有", "是")}), **_each("and", {"": ("和",)}), **_each("no", {"": ("没有",)}),
        **_each("all", {"": ("所有",)}),
        **_each("to", {"": ("到",)}),
    }  # fmt: skip
    slots = {name: Token("slot", name, name) for name in (cell_name((row, column)) for row in range(SIDE) for column in range(SIDE))}
    return english | chinese | slots


@cache
def _chinese() -> tuple[str, ...]:
    """All Chinese words that can be split off, the longest first."""
    single = {word for phrase in lexicon() for word in phrase.split() if _HAN.fullmatch(word)}
    return tuple(sorted(single | set(ZH_SYNONYMS), key=len, reverse=True))


def _split(text: str) -> str:
    """A run of Chinese, split into known words by longest match; what is unknown stays as it is, character by character."""
    words = []
    while text:
        word = next((word for word in _chinese() if text.startswith(word)), text[0])
        words.append(ZH_SYNONYMS.get(word, word))
        text = text[len(word) :]
    return f" {' '.join(words)} "


def _longest(words: list[str], known: Container[str], most: int = 5) -> int:
    """How many of the first words make the longest known phrase; 0 for none."""
    return next((size for size in range(min(most, len(words)), 0, -1) if " ".join(words[:size]) in known), 0)


def normalise(text: str) -> str:
    """A request as the model reads it: lower case, words and commas split by spaces, words that it was taught where there are some.

    Typing mistakes are not repaired. Raises ``BadInput`` for a text that is too long.
    """
    if len(text) > LONGEST:
        raise BadInput(f"A request has at most {LONGEST} characters. Say it in fewer words.")
    text = re.sub(r"[.,;:!?，。、；：！？\n]", " , ", text.lower().replace("’", "'"))
    text = re.sub(r"(?<=[a-z])-(?=[a-z])|[\"“”()]", " ", text)
    words, kept = _HAN.sub(lambda match: _split(match[0]), text).split(), list[str]()
    while words:
        size = _longest(words, SYNONYMS)
        kept += SYNONYMS[" ".join(words[:size])].split() if size else words[:1]
        words = words[size or 1 :]
    return re.sub(r"( ,)+(?= ,|$)|^(, )+", "", " ".join(kept)).strip(" ,")


def tokens(text: str) -> list[Token]:
    """The words of a normalised text. Raises ``BadInput`` that names the first word that is not understood."""
    words, found = text.split(), list[Token]()
    while words:
        size = _longest(words, lexicon())
        if not size:
            raise BadInput(_unknown(words))
        found.append(lexicon()[" ".join(words[:size])])
        words = words[size:]
    return [
        Token("and", "", "plus")
        if token.word == "plus" and (at == 0 or found[at - 1].part in ("shape", "any")) and found[at + 1 : at + 2] and
        found[at + 1].part == "number"
        else token
        for at, token in enumerate(found)
    ]  # fmt: skip


def _unknown(words: list[str]) -> str:
    word = words[0][:30]
    if word in ("left", "right", "top", "bottom"):
        return f"'{word}' of what? Say 'left of the star', 'top left' or a place from a1 to {cell_name((SIDE - 1, SIDE - 1))}."
    if word in ("some", "many", "few", "several"):
        return f"Say how many instead of '{word}': a number from one to six."
    if word in ("it", "them", "they", "its", "itself"):
        return f"Say the name of the thing again instead of '{word}', such as 'the star'."
    if word in ("beside", "near", "between", "inside", "next", "behind"):
        return f"I do not know '{word}'. Places can be said with left of, right of, above and below."
    if word in ("middle", "center", "centre") or cell_at(word):
        return f"I do not know the place '{word}'. Places are the corners, such as 'top left', and a1 to {cell_name((SIDE - 1, SIDE - 1))}."
    return f"{CAN} I do not know '{word}'."
