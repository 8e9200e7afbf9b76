"""What a model is measured on unless the caller brings documents: recorded runs for the embedded one, plain scenes for others."""

from __future__ import annotations

from itertools import product

from PIL import Image as PILImage
from PIL import ImageDraw

from unimm.document import Document, Image, Text
from unimm.model import Want

PROMPTS = (
    "A red circle to the left of a blue square on a white background.",
    "A quiet harbour at sunrise, small wooden boats, mist over the water, soft light, watercolour.",
    "A street sign that says \"Open late\".",
    "Three green apples on a wooden table.",
)  # fmt: skip
"""Short and dense, with counts, places and lettering, as in the published measurement."""
QUESTIONS = ("What is in this picture?", "Describe the picture in one sentence.", "Which shape is on the left? A: a circle. B: a square.")


def scene(size: int = 384, flipped: bool = False) -> Image:
    """A circle and a square on white."""
    picture = PILImage.new("RGB", (size, size), "white")
    pen, unit = ImageDraw.Draw(picture), size / 12
    for number, colour in enumerate(("#dc2626", "#2563eb")):
        left = (1 + 6 * (number ^ flipped)) * unit
        shape = pen.ellipse if number == 0 else pen.rectangle
        shape([left, 4 * unit, left + 4 * unit, 8 * unit], colour)
    return Image.from_pil(picture)


def recorded(want: Want) -> list[Document]:
    """Recorded runs of the embedded model: pictures to draw after their thoughts, or results to judge."""
    from unimm.star.recorded import TRACES, recorded_edits

    edits = [edit for edit in recorded_edits(TRACES) if edit.kind == "next"]
    return [edit.document if want == "image" else edit.judged for edit in edits]


def plain(want: Want) -> list[Document]:
    """Prompts to draw from, or questions about two scenes."""
    if want == "image":
        return [Document().user(Text(prompt)) for prompt in PROMPTS]
    return [Document().user(scene(flipped=flipped), Text(question)) for flipped, question in product((False, True), QUESTIONS)]


def samples(name: str, want: Want, most: int) -> list[Document]:
    """At most ``most`` documents for the model of this name, spread evenly over what there is."""
    found = recorded(want) if name == "star-tiny" else plain(want)
    return [found[number * len(found) // min(most, len(found))] for number in range(min(most, len(found)))]
