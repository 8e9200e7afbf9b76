"""Every unified model as a LangChain chat model with picture blocks in and out."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from PIL import Image as PILImage
from pydantic import ConfigDict, Field

from unimm.document import Document, Image, Part, Text
from unimm.errors import BadInput
from unimm.events import PartDone, TextDelta
from unimm.model import Options, UnifiedModel, Want, options_type

MAX_PIXELS = 2**24


class UnimmChatModel(BaseChatModel):
    """A ``UnifiedModel`` behind LangChain's chat interface.

    ``want`` is what it answers with: a text, or a picture with the thought before it as a reasoning block. ``options``
    and ``want`` can be given per call or with ``bind``; so can ``seed``, ``temperature`` and ``guidance``. Pictures come in as base64
    image blocks (PNG, JPEG, WEBP); addresses are never fetched.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any = Field(exclude=True, repr=False)
    want: Want = "text"
    options: Options = Options()

    def __init__(self, model: UnifiedModel, **kwargs: Any) -> None:
        kwargs = {"options": options_type(model)()} | kwargs
        profile = {"image_inputs": model.capabilities.understand, "image_outputs": model.capabilities.generate}
        super().__init__(**{"model": model, "profile": profile} | kwargs)

    @property
    def _llm_type(self) -> str:
        return "unimm"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model.name, "want": self.want, "options": repr(self.options)}

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole: ChatGenerationChunk | None = None
        for chunk in self._stream(messages, stop, run_manager, **kwargs):
            whole = chunk if whole is None else whole + chunk
        content = whole.message.content if whole is not None else ""
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content))])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        want: Want = kwargs.pop("want", self.want)
        options = _options(kwargs.pop("options", self.options), kwargs)
        for block in _blocks(self.model, document_of(messages), want, options, stop or ()):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=[block]))
            if run_manager is not None:
                run_manager.on_llm_new_token(str(block.get("text", "")), chunk=chunk)
            yield chunk


def document_of(messages: Sequence[BaseMessage]) -> Document:
    """Messages as a document: the model's own turns are the assistant's, all others the user's; raises ``BadInput``."""
    document = Document()
    for message in messages:
        parts = tuple(part for block in message.content_blocks if (part := _part(block)) is not None)
        document = document.assistant(*parts) if isinstance(message, AIMessage) else document.user(*parts)
    return document


def _part(block: Any) -> Part | None:
    match block:
        case {"type": "text", "text": str(text)} | {"type": "reasoning", "reasoning": str(text)}:
            return Text(text)
        case {"type": "image", "base64": str(data)}:
            return _picture(data)
        case {"type": "image"}:
            raise BadInput("Give pictures as base64 data; addresses and file names are not fetched.")
        case {"type": "reasoning"}:
            return None
    raise BadInput(f"This model takes texts and pictures, not {str(block.get('type'))[:40]!r}.")


def _picture(data: str) -> Image:
    try:
        picture = PILImage.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=("PNG", "JPEG", "WEBP"))
        if picture.width * picture.height > MAX_PIXELS:
            raise BadInput(f"The picture has {picture.width}x{picture.height} pixels; make it smaller than {MAX_PIXELS} in all.")
        return Image.from_pil(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput("This is not a readable PNG, JPEG or WEBP picture.") from error


def _options(options: Options, given: dict[str, Any]) -> Options:
    names = {row.name for row in fields(options)}
    return replace(options, **{name: value for name, value in given.items() if name in names})


def _blocks(model: UnifiedModel, document: Document, want: Want, options: Options, stop: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The answer as content blocks. A picture is one chunk with an index of its own: chunks of one index are joined as strings."""
    text, index = "", 0
    kind, key = ("text", "text") if want == "text" else ("reasoning", "reasoning")
    for event in model.stream(document, want, options):
        if isinstance(event, TextDelta):
            cut = min((at for word in stop if (at := (text + event.text).find(word)) >= 0), default=None)
            piece = event.text if cut is None else (text + event.text)[len(text) : cut]
            text += event.text
            if piece:
                yield {"type": kind, key: piece, "index": index}
            if cut is not None and want == "text":
                return
        elif isinstance(event, PartDone) and isinstance(event.part, Image):
            index += 1
            png = base64.b64encode(event.part.to_png()).decode()
            yield {"type": "image", "base64": png, "mime_type": "image/png", "index": index}
            index += 1
