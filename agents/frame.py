"""One frame: think, draw, then critique and revise until a stop rule holds. The loop strings frames together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from agents.drafts import draw_draft, picture_of
from agents.events import Answered, Critiqued, Event, Finished, Kept, Reason, StepDone
from agents.state import Draft, Halt, Run, Start, Verdicts, measured
from unimm.document import Document, Image, Text
from unimm.events import PartDone, TextDelta

__all__ = ["Draft", "Halt", "Run", "Start", "answer", "draw_frame", "judged", "measured"]

DOUBT = 0.5
"""By how much the worth of a redraw that is refused too has to be above that of the picture before: more than one verdict's doubt."""


def draw_frame(run: Run, frame: int, start: Start) -> Generator[Event, None, Draft | None]:
    """One picture of the solution: returns the draft that is kept, or None where the model says that it is done."""
    before, thought, best = run.picture, start.thought or "", start.draft
    reason: Reason = "satisfied"
    known: Verdicts = {}
    if best is None:
        thought, best = yield from draw_draft(run, frame, before, start.thought)
        if best is None:
            return None
        if run.settings.best_of > 1 and run.settings.critique:
            best = yield from _best_of(run, frame, before, thought, best, known)
    if run.settings.critique or best.verdicts:
        if not best.verdicts:
            best = yield from _critique(run, frame, before, best, known)
        best, reason = yield from _improve(run, frame, before, thought, best, max(best.round, start.round), known)
    yield Kept(run.parent or 0, best.step, reason)
    if reason != "satisfied":
        run.doubt = run.doubt or (frame, reason)
        if reason == "contradiction" or run.settings.steer != "model" or not run.settings.go_on:
            raise Halt(reason, _doubt_words(frame, reason))
    run.note_move(thought, before, best.image, own=best.round == 0 and not best.edited)
    return best


def _best_of(run: Run, frame: int, before: Image, thought: str, first: Draft, known: Verdicts) -> Generator[Event, None, Draft]:
    """Further first drafts of the same thought, all judged: the one that those who steer rate best."""
    best = yield from _critique(run, frame, before, first, known)
    for number in range(1, run.settings.best_of):
        _, draft = yield from draw_draft(run, frame, before, thought, number)
        if draft is None:
            break
        draft = yield from _critique(run, frame, before, draft, known)
        best = draft if (draft.ok, draft.worth) > (best.ok, best.worth) else best
    return best


def _critique(run: Run, frame: int, before: Image, draft: Draft, known: Verdicts) -> Generator[Event, None, Draft]:
    """Both verdicts on a picture, whoever steers; pixels that were judged before in this frame keep their verdicts."""
    began, started = run.clock(), run.step("critique", frame, draft.round, before, draft.step)
    yield started
    verdicts: list[Critiqued] = []
    for index, critic in enumerate(run.critics.values()):
        seen = known.get(draft.image)
        verdicts.append(seen[index] if seen else critic(run.problem, before, draft.image))
        yield verdicts[-1]
        run.poll()
    yield StepDone(started.index, run.clock() - began)
    known[draft.image] = tuple(verdicts)
    return judged(run, draft, tuple(verdicts))


def judged(run: Run, draft: Draft, verdicts: tuple[Critiqued, ...]) -> Draft:
    """The draft with the verdicts that decide: those of who steers, or a visitor's, which stands above all."""
    visitor = tuple(verdict for verdict in verdicts if verdict.by == "visitor")
    proofs = tuple(verdict for verdict in verdicts if verdict.by == "program")
    opinions = tuple(verdict for verdict in verdicts if verdict.by != "program")
    steering = visitor or {"program": proofs, "model": opinions, "both": verdicts}[run.settings.steer] or verdicts
    worth = sum(verdict.confidence if verdict.ok else -verdict.confidence for verdict in steering)
    return replace(draft, verdicts=steering, ok=all(verdict.ok for verdict in steering), worth=worth)


def _improve(
    run: Run, frame: int, before: Image, thought: str, best: Draft, round: int, known: Verdicts,
) -> Generator[Event, None, tuple[Draft, Reason]]:
    """Redraw until the steering critics are satisfied or a stop rule holds; a redraw replaces the best only if it is clearly better.

    Of two pictures that a critic refuses, the one that it is less sure about is not the better one: the first came from the thought, the
    other from a verdict that may be mistaken.
    """
    stale, clashes = 0, _clash(best)
    for redraws in range(run.settings.rounds + 1):
        if best.ok:
            return best, "satisfied"
        if clashes > 1:
            return best, "contradiction"
        if redraws == run.settings.rounds:
            break
        if stale >= run.settings.patience:
            return best, "no gain"
        round += 1
        draft = yield from _revise(run, frame, before, thought, best, round)
        draft = yield from _critique(run, frame, before, draft, known)
        clashes = clashes + 1 if _clash(draft) else 0
        better = draft.ok or draft.worth > best.worth + DOUBT
        best, stale = (draft, 0) if better else (best, stale + 1)
    return best, "rounds used up"


def _clash(draft: Draft) -> int:
    return int(len({verdict.ok for verdict in draft.verdicts}) > 1)


def _revise(run: Run, frame: int, before: Image, thought: str, wrong: Draft, round: int) -> Generator[Event, None, Draft]:
    """Redraw the best picture so far, told what is wrong with it; every second time draw anew from the thought, without looking at it.

    A picture that is damaged all over is sooner drawn again than mended.
    """
    objections = sorted((verdict for verdict in wrong.verdicts if not verdict.ok), key=lambda verdict: -verdict.confidence)
    began, started = run.clock(), run.step("revise", frame, round, before, wrong.step)
    yield started
    image, stats = wrong.image, {}
    options = run.options(frame, round)
    if not run.asks.taught or run.settings.thoughts != "latent":
        options = replace(options, think=False)  # the request says all; no further thought
    anew = round % 2 == 0 and thought != ""
    document = picture_of(run, before, thought) if anew else _repair(run, before, wrong.image, objections[0].objection)
    for event in run.ask(document, "image", options):
        if isinstance(event, PartDone) and isinstance(event.part, Image):
            image, stats = run.fitted(event.part), measured(event)
        yield event
    yield StepDone(started.index, run.clock() - began, image, run.changed(before, image), stats)
    return Draft(started.index, image, round)


def _repair(run: Run, before: Image, wrong: Image, verdict: str) -> Document:
    """What a redraw is asked for with; verdicts are told as thoughts are: as they were said, as words read anew, or not at all."""
    match run.settings.thoughts:
        case "words":
            return run.asks.retell(run.problem, verdict, before, wrong)
        case "none":
            return run.asks.judge(run.problem, before, wrong)
    return run.asks.revise(run.problem, before, wrong, verdict)


def answer(run: Run, frame: int, early: Finished | None = None) -> Generator[Event, None, Finished]:
    """Ask for the answer if there is one in words, score the whole run from the problem alone, and say why it ends.

    ``early`` is why the drawing ended where the model did not say that it was done.
    """
    words, asked = "", run.asks.answers(run.problem, run.picture, run.moves)
    if asked:
        began, started = run.clock(), run.step("answer", frame, before=run.picture)
        yield started
        words, stats = yield from _said(run, frame, asked)
        yield StepDone(started.index, run.clock() - began, Text(words), (), stats)
    found = tuple(run.asks.parse_answer(words)) if asked else ()
    yield Answered(words, found, run.task.score(run.problem, run.frames, found).to_dict())
    if run.doubt:
        return Finished(run.doubt[1], _doubt_words(*run.doubt))
    return early or Finished("satisfied", "The model says that nothing is left to draw.")


def _said(run: Run, frame: int, asked: Sequence[Document]) -> Generator[Event, None, tuple[str, dict[str, float]]]:
    """The replies to all that is asked, as one text, and what was measured of the longest part of it."""
    words, stats = "", dict[str, float]()
    for number, document in enumerate(asked):
        if number:
            yield TextDelta(" ")
        for event in run.ask(document, "text", run.options(frame, 0)):
            if isinstance(event, PartDone) and isinstance(event.part, Text):
                words = " ".join(filter(None, (words, event.part.text.strip())))
                stats = max(stats, measured(event), key=lambda found: found.get("tokens", 0))
                event = replace(event, part=Text(words))
            yield event
    return words, stats


def _doubt_words(frame: int, reason: Reason) -> str:
    if reason == "contradiction":
        return f"The critics contradict each other about picture {frame}."
    return f"No redraw of picture {frame} satisfied the critic ({reason})."
