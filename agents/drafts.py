"""The first drawing of a picture: the thought, and what is drawn from it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from agents.events import Event, StepDone
from agents.state import Draft, Run, measured
from unimm.document import Document, Image, Text
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta


def draw_draft(
    run: Run, frame: int, before: Image, thought: str | None, number: int = 0
) -> Generator[Event, None, tuple[str, Draft | None]]:
    """Think (unless the thought is given) and draw, in one call to the model; the first draft, or a further one by its number."""
    latent = run.settings.thoughts == "latent"
    if thought is None and not latent:
        thought = yield from think(run, frame, before)
    if thought is not None and run.asks.done(thought):
        return thought, None
    began, thinking = run.clock(), None
    if thought is None:
        thinking = run.step("think", frame, before=before)
        yield thinking
    words, drawing, image, stats = thought or "", None, None, {}
    early: list[Event] = []  # latents of a given thought, which come before the drawing that they belong to
    options = run.options(frame, -number)
    if not latent:
        options = replace(options, think=False)
    events = run.ask(picture_of(run, before, thought), "image", options)
    for event in events:
        if drawing is None and _draws(event):
            if thinking is not None:
                yield StepDone(thinking.index, run.clock() - began, Text(words))
                began, thinking = run.clock(), None
            drawing = run.step("draw", frame, before=before, draft=number)
            yield drawing
            yield from early
        if drawing is not None or thought is None:
            yield event
        elif not isinstance(event, (TextDelta, PartDone)):
            early.append(event)
        if isinstance(event, PartDone):
            if isinstance(event.part, Image):
                image, stats = run.fitted(event.part), measured(event)
            elif thinking is not None:
                words = event.part.text
                yield StepDone(thinking.index, run.clock() - began, event.part, (), measured(event))
                began, thinking = run.clock(), None
                if not run.asks.taught and run.asks.done(words):  # a model that was not taught to end there draws on
                    events.close()
                    break
    if thinking is not None:
        yield StepDone(thinking.index, run.clock() - began, Text(words))
    if image is None or drawing is None:
        return words, None
    yield StepDone(drawing.index, run.clock() - began, image, run.changed(before, image), stats)
    return words, Draft(drawing.index, image)


def picture_of(run: Run, before: Image, thought: str | None) -> Document:
    """What a picture is asked for with: its thought as it was thought (None: it is thought first), as words read anew, or none at all."""
    match run.settings.thoughts:
        case "words":
            return run.asks.retell(run.problem, thought or "", before)
        case "none":
            return run.asks.next_step(run.problem, before)
    return run.asks.next_step(run.problem, before, thought)


def think(run: Run, frame: int, before: Image) -> Generator[Event, None, str]:
    """The thought alone: the model is stopped where it begins to draw."""
    began, thinking, words, stats = run.clock(), run.step("think", frame, before=before), "", {}
    yield thinking
    with closing(run.ask(run.asks.next_step(run.problem, before), "image", run.options(frame, 0))) as events:
        for event in events:
            if _draws(event):
                break
            yield event
            if isinstance(event, PartDone):
                words, stats = event.part.text, measured(event)
                break
    yield StepDone(thinking.index, run.clock() - began, Text(words), (), stats)
    return words


def _draws(event: ModelEvent) -> bool:
    return isinstance(event, ImagePreview) or (isinstance(event, PartDone) and isinstance(event.part, Image))
