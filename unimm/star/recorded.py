"""The pictures of recorded runs as documents: what the model was asked with, and in which order."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unimm.document import Document, Image, Text
from unimm.errors import BadInput

TRACES = Path(__file__).parents[2] / "assets" / "traces"


@dataclass(frozen=True)
class Edit:
    """One picture to draw from its source, as it came up in a recorded run: a next picture, or a redrawn wrong one.

    Thought or verdict stand in ``document``, so only drawing is left; ``judged`` is what was asked about the result.
    """

    kind: str
    document: Document
    judged: Document


def longest_run(folder: Path) -> list[Edit]:
    """The edits of the recorded run in a folder that drew the most; raises ``BadInput`` where there is none."""
    recorded_edits(folder)
    return max((list(_edits_of(path)) for path in sorted(folder.glob("*.json"))), key=len)


def recorded_edits(folder: Path) -> list[Edit]:
    """The edits in all runs of a folder (``*.json`` as the page saves them), in order; raises ``BadInput`` where there are none."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    edits = [edit for path in paths for edit in _edits_of(path)]
    if not edits:
        raise BadInput(f"{folder} holds no recorded run with pictures. Record one and give its folder with --traces.")
    return edits


def _edits_of(path: Path) -> Iterator[Edit]:
    """The documents with which a recorded run asked for its pictures."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        pictures = [Image.from_png(base64.b64decode(png, validate=True)) for png in data["pictures"]]
        task, steps = str(data["task"]), data["steps"]
        critiques = {step["of"]: step["critiques"] for step in steps if step["kind"] == "critique"}
        for step in steps:
            if step["before"] is None or step["image"] is None or step["kind"] not in ("draw", "revise"):
                continue
            before, after = pictures[step["before"]], pictures[step["image"]]
            judge = Text(f"{task} judge")
            judged = Document().user(before, after, judge)
            if step["kind"] == "draw" and step["parent"] is not None and steps[step["parent"]]["kind"] == "think":
                thought = Text(steps[step["parent"]]["thought"])
                yield Edit("next", Document().user(before, Text(f"{task} next")).assistant(thought), judged)
            objections = [critique["words"] for critique in critiques.get(step["of"], ()) if not critique["ok"]]
            if step["kind"] == "revise" and objections:
                wrong = pictures[steps[step["of"]]["image"]]
                yield Edit("revise", Document().user(before, wrong, judge).assistant(Text(objections[0])), judged)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, BadInput) as error:
        raise BadInput(f"{path.name} is no undamaged recorded run. Remove it from the folder, or record it again.") from error


def spread(edits: Sequence[Edit], count: int) -> list[Edit]:
    """At most ``count`` of them, evenly over all, redrawings (up to a third) among them."""
    redrawn = [edit for edit in edits if edit.kind == "revise"][: max(count // 3, 1)]
    rest = [edit for edit in edits if edit.kind != "revise"]
    wanted = min(count - len(redrawn), len(rest))
    return redrawn + [rest[at * len(rest) // wanted] for at in range(wanted)]
