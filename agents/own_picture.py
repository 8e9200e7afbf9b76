"""A run shown on the picture that the visitor brought: its own pixels stay, only what was drawn is put on it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFilter

from agents import uploads
from agents.tasks import foreign, maze
from agents.trace import Trace
from unimm.document import Image
from unimm.errors import BadInput

RIM = 3


def fit_of(trace: Trace) -> foreign.Fit | None:
    """How the visitor's picture lies under the run's board; None where the visitor brought none, or it does not show that board."""
    if trace.task != "maze" or not trace.problem.get("picture"):
        return None
    problem = maze.Problem.from_dict(trace.problem)
    fit = _fit(problem.picture, problem.board.n)
    return fit if fit is not None and fit.board == problem.board else None


@lru_cache(maxsize=64)
def _fit(picture: str, cells: int) -> foreign.Fit | None:
    try:
        return foreign.fit(uploads.open_picture(base64.b64decode(picture, validate=True)), cells)[1]
    except (BadInput, ValueError):  # a trace file may come from anybody; the run itself can still be shown
        return None


def place(fit: foreign.Fit) -> dict[str, Any]:
    """The visitor's picture as a page shows it, and where on it the board is, in pixels."""
    return {
        "src": _data_url(fit.image.to_pil()), "width": fit.image.width, "height": fit.image.height,
        "left": fit.box.left, "top": fit.box.top, "side": fit.box.side,
    }


@lru_cache(maxsize=1024)
def overlay(fit: foreign.Fit, drawn: Image) -> str | None:
    """What a drawing puts on the visitor's picture: a picture of the same size, transparent where that keeps its own pixels.

    None where the drawing shows no board.
    """
    back = on_it(fit)(drawn)
    if back is None:
        return None
    own, now = (np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3) for image in (fit.image, back))
    changed = PILImage.fromarray((own != now).any(-1).astype(np.uint8) * 255)
    # A few own pixels around what changed: where the page scales both, no edge of what lies below shines through.
    opaque = np.asarray(changed.filter(ImageFilter.MaxFilter(2 * RIM + 1)))[..., None]
    return _data_url(PILImage.fromarray(np.concatenate([now * (opaque > 0), opaque], -1)))


def on_it(fit: foreign.Fit) -> Callable[[Image], Image | None]:
    """Drawing -> the visitor's picture with it; None where the drawing shows no board."""

    def wear(drawn: Image) -> Image | None:
        try:
            return foreign.put_back(fit, drawn)
        except BadInput:
            return None

    return wear


def _data_url(picture: PILImage.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
