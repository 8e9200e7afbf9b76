"""Interleaved content: what goes into a model, what comes out, and what it is trained on."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from PIL import Image as PILImage

from unimm.errors import BadInput

Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class Text:
    """A piece of text."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"type": "text", "text": self.text}


@dataclass(frozen=True)
class Image:
    """A picture as a value: ``rgb`` holds ``height * width * 3`` bytes, row by row."""

    width: int
    height: int
    rgb: bytes

    def __post_init__(self) -> None:
        if len(self.rgb) != self.width * self.height * 3 or self.width < 1 or self.height < 1:
            raise BadInput(f"A {self.width}x{self.height} picture needs {self.width * self.height * 3} bytes, not {len(self.rgb)}.")

    @classmethod
    def from_pil(cls, picture: PILImage.Image) -> Image:
        picture = picture.convert("RGB")
        return cls(picture.width, picture.height, picture.tobytes())

    @classmethod
    def from_png(cls, png: bytes) -> Image:
        """Decode PNG bytes; raises ``BadInput`` where they are not a PNG picture."""
        try:
            return cls.from_pil(PILImage.open(io.BytesIO(png), formats=("PNG",)))
        except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError) as error:
            raise BadInput("This is not a readable PNG picture. Save it again as PNG.") from error

    def to_pil(self) -> PILImage.Image:
        return PILImage.frombytes("RGB", (self.width, self.height), self.rgb)

    def to_png(self) -> bytes:
        buffer = io.BytesIO()
        self.to_pil().save(buffer, "PNG")
        return buffer.getvalue()

    @cached_property
    def hash(self) -> str:
        """Content hash: equal for equal pixels, whatever file they came from."""
        return hashlib.sha256(f"{self.width}x{self.height}:".encode() + self.rgb).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {"type": "image", "png": base64.b64encode(self.to_png()).decode()}


Part = Text | Image


def part_from_dict(data: dict[str, Any]) -> Part:
    """Inverse of ``to_dict`` of both parts; raises ``BadInput`` on anything else."""
    match data:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image", "png": str(png)}:
            try:
                return Image.from_png(base64.b64decode(png, validate=True))
            except ValueError as error:
                raise BadInput("A picture in this file is damaged. Take an undamaged copy of the file.") from error
    raise BadInput("A part of a document must be a text or a picture.")


@dataclass(frozen=True)
class Turn:
    """What one side said: texts and pictures in order."""

    role: Role
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"role": self.role, "parts": [part.to_dict() for part in self.parts]}


@dataclass(frozen=True)
class Document:
    """A conversation of interleaved turns; immutable, so extending one makes a new one."""

    turns: tuple[Turn, ...] = ()

    def user(self, *parts: Part) -> Document:
        return Document((*self.turns, Turn("user", parts)))

    def assistant(self, *parts: Part) -> Document:
        return Document((*self.turns, Turn("assistant", parts)))

    @cached_property
    def hash(self) -> str:
        """Content hash over roles, texts and pixels."""
        digest = hashlib.sha256()
        for turn in self.turns:
            digest.update(f"\x00turn:{turn.role}".encode())
            for part in turn.parts:
                digest.update(f"\x00image:{part.hash}".encode() if isinstance(part, Image) else f"\x00text:{part.text}".encode())
        return digest.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {"turns": [turn.to_dict() for turn in self.turns]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Document:
        """Inverse of ``to_dict``; raises ``BadInput`` where the data has another shape."""
        try:
            return cls(tuple(Turn(_role(turn["role"]), tuple(part_from_dict(part) for part in turn["parts"])) for turn in data["turns"]))
        except (KeyError, TypeError) as error:
            raise BadInput("This is not a document: it needs turns with a role and parts.") from error


def _role(value: object) -> Role:
    if value == "user" or value == "assistant":
        return value
    raise BadInput(f"A turn's role is 'user' or 'assistant', not {value!r}.")
