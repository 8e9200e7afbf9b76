"""The LangChain face of a unified model."""

from __future__ import annotations

import asyncio
import base64
import io

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, message_to_dict, messages_from_dict
from langchain_core.messages.content import create_image_block, create_text_block
from PIL import Image as PILImage

from agents.chat_model import UnimmChatModel, document_of
from agents.scripted import ScriptedModel, maze_model
from agents.tasks import maze
from unimm.document import Image, Text
from unimm.errors import BadInput
from unimm.model import Options

PROBLEM = maze.problem("test", 8, 4)


def block(image: Image):
    return create_image_block(base64=base64.b64encode(image.to_png()).decode(), mime_type="image/png")


def ask(words: str, *images: Image) -> list[HumanMessage]:
    return [HumanMessage(content_blocks=[*map(block, images), create_text_block(words)])]


def image_in(content: dict) -> Image:
    return Image.from_png(base64.b64decode(content["base64"]))


def test_text_answer() -> None:
    chat = UnimmChatModel(maze_model())
    reply = chat.invoke(ask("maze describe", PROBLEM.image))
    assert reply.text == maze.describe_words(PROBLEM.board)
    assert "".join(chunk.text for chunk in chat.stream(ask("maze describe", PROBLEM.image))) == reply.text
    assert chat.profile["image_outputs"] is True


def test_picture_answer_with_its_thought() -> None:
    chat = UnimmChatModel(maze_model(), want="image")
    reply = chat.invoke(ask("maze next", PROBLEM.image))
    kinds = [item["type"] for item in reply.content_blocks]
    assert kinds == ["reasoning", "image"]
    assert reply.content_blocks[0]["reasoning"] == maze.think_words(PROBLEM.board)
    assert image_in(reply.content_blocks[1]) == maze.render(maze.next_board(PROBLEM.board))


def test_two_pictures_in_one_answer_stay_apart() -> None:
    pictures = [Image(2, 2, bytes([shade]) * 12) for shade in (1, 2)]
    chat = UnimmChatModel(ScriptedModel(lambda *call: pictures), want="image")
    assert [image_in(item) for item in chat.invoke("go").content_blocks] == pictures


def test_an_answer_goes_back_in_as_history() -> None:
    model = maze_model()
    chat = UnimmChatModel(model, want="image")
    asked = ask("maze next", PROBLEM.image)
    reply = messages_from_dict([message_to_dict(chat.invoke(asked))])[0]
    document = document_of([SystemMessage("be right"), *asked, reply])
    assert [turn.role for turn in document.turns] == ["user", "user", "assistant"]
    assert document.turns[1].parts == (PROBLEM.image, Text("maze next"))
    assert document.turns[2].parts == (Text(maze.think_words(PROBLEM.board)), maze.render(maze.next_board(PROBLEM.board)))


def test_options_per_call() -> None:
    model = maze_model()
    chat = UnimmChatModel(model, options=Options(seed=1))
    chat.bind(seed=7, want="image", temperature=0.5).invoke(ask("maze next", PROBLEM.image))
    _, want, options = model.calls[-1]
    assert (want, options.seed, options.temperature) == ("image", 7, 0.5)
    with pytest.raises(BadInput):
        chat.invoke("x", temperature=9.0)


def test_stop_words_cut_the_text() -> None:
    chat = UnimmChatModel(ScriptedModel(lambda *call: [Text("one two three four")]))
    assert chat.invoke("count", stop=["three"]).text == "one two "


def test_async_and_tokens_are_reported() -> None:
    chat = UnimmChatModel(maze_model())

    async def run() -> list[str]:
        events = chat.astream_events(ask("maze describe", PROBLEM.image), version="v2")
        return [event["data"]["chunk"].text async for event in events if event["event"] == "on_chat_model_stream"]

    assert "".join(asyncio.run(run())) == maze.describe_words(PROBLEM.board)


def test_other_formats_come_in() -> None:
    buffer = io.BytesIO()
    PROBLEM.image.to_pil().save(buffer, "WEBP", lossless=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    document = document_of([HumanMessage(content_blocks=[create_image_block(base64=data, mime_type="image/webp")])])
    assert document.turns[0].parts == (PROBLEM.image,)


def test_bad_blocks_are_refused() -> None:
    huge = io.BytesIO()
    PILImage.new("1", (8000, 8000)).save(huge, "PNG")
    bad = [
        create_image_block(url="http://127.0.0.1/a.png"),
        create_image_block(base64="no!", mime_type="image/png"),
        create_image_block(base64=base64.b64encode(b"<svg/>").decode(), mime_type="image/png"),
        create_image_block(base64=base64.b64encode(huge.getvalue()).decode(), mime_type="image/png"),
        {"type": "audio", "base64": "aaaa", "mime_type": "audio/wav"},
    ]
    for item in bad:
        with pytest.raises(BadInput):
            document_of([HumanMessage(content_blocks=[item])])
    assert document_of([AIMessage("hi")]).turns[0].role == "assistant"
