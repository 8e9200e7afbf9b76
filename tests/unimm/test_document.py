"""Documents as values: exact round trips, hashes, refusals."""

from __future__ import annotations

import json

import pytest
from PIL import Image as PILImage

from unimm.document import Document, Image, Text, Turn, part_from_dict
from unimm.errors import BadInput
from unimm.model import Options

DOTS = Image(3, 2, bytes(range(18)))
TALK = Document().user(DOTS, Text("what is ${this} {{}} <b>?")).assistant(Text("点 \\frac"), DOTS)


def test_round_trip_through_json() -> None:
    again = Document.from_dict(json.loads(json.dumps(TALK.to_dict())))
    assert again == TALK and again.hash == TALK.hash and again.turns[0].parts[0].rgb == bytes(range(18))


def test_pictures_keep_their_pixels() -> None:
    assert Image.from_png(DOTS.to_png()) == DOTS == Image.from_pil(DOTS.to_pil())
    assert Image.from_pil(PILImage.new("RGBA", (2, 2), (1, 2, 3, 4))).rgb == bytes((1, 2, 3)) * 4
    with pytest.raises(BadInput):
        Image(2, 2, bytes(11))
    with pytest.raises(BadInput):
        Image(0, 0, b"")


def test_extending_makes_a_new_document() -> None:
    start = Document()
    assert start.user(Text("a")).turns == (Turn("user", (Text("a"),)),) and start.turns == ()


def test_hash_tells_contents_apart() -> None:
    others = [
        Document().user(DOTS, Text("what")), Document().assistant(DOTS, Text("what")), Document().user(Text("what"), DOTS),
        Document().user(DOTS).user(Text("what")), Document().user(Text("wh"), Text("at"), DOTS), Document(),
    ]
    assert len({document.hash for document in others}) == len(others)
    assert Image(6, 1, bytes(18)).hash != Image(1, 6, bytes(18)).hash


@pytest.mark.parametrize("bad", [
    {}, [], None, {"turns": 5}, {"turns": [{}]}, {"turns": [{"role": "system", "parts": []}]}, {"turns": [{"role": ["user"], "parts": []}]},
    {"turns": [{"role": "user", "parts": [{"type": "sound"}]}]}, {"turns": [{"role": "user", "parts": ["text"]}]},
])  # fmt: skip
def test_other_shapes_are_refused(bad) -> None:
    with pytest.raises(BadInput):
        Document.from_dict(bad)


@pytest.mark.parametrize("bad", [
    {"type": "text", "text": 5}, {"type": "image", "png": "!"}, {"type": "image", "png": ""}, {"type": "image", "png": "aGVsbG8="},
    {"type": "image", "png": DOTS.to_dict()["png"][:40]}, None,
])  # fmt: skip
def test_damaged_parts_are_refused(bad) -> None:
    with pytest.raises(BadInput):
        part_from_dict(bad)


def test_options_are_bounded() -> None:
    assert Options(seed=3, temperature=0.5).seed == 3
    for bad in ({"seed": -1}, {"temperature": 3.0}, {"temperature": float("nan")}, {"top_p": "x"}):
        with pytest.raises(BadInput):
            Options(**bad)
