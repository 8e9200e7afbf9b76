"""Going on from a step of an earlier trace: what was settled before it, what was changed there, where to begin."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from agents.events import Critiqued, Event, StepDone
from agents.frame import Draft, Run, Start, judged
from agents.trace import Branch, Step, Trace
from unimm.document import Image, Text
from unimm.errors import BadInput


def resume(run: Run, branch: Branch) -> Generator[Event, None, tuple[int, Start]]:
    """Brings the run to the branch point, says the edited step if there is one, and returns the frame and where to begin in it."""
    trace, step = branch.trace, branch.trace.step(branch.step)
    edited = next((value for value in (branch.thought, branch.picture, branch.fault) if value is not None), None)
    again = edited is None and (branch.seed is not None or not step.done)
    goes_on = edited is None and not again
    run.parent = step.id if goes_on else step.parent
    settled = goes_on and step.keeps is not None
    _settle(run, trace, step, step.frame if settled else step.frame - 1)
    if settled:
        return step.frame + 1, Start()
    if edited is not None:
        return step.frame, (yield from _edited(run, trace, step, edited))
    return step.frame, _again(run, trace, step) if again else _after(run, trace, step)


def _settle(run: Run, trace: Trace, step: Step, frames: int) -> None:
    """Take over the pictures and moves of the first ``frames`` frames."""
    rounds = {item.frame: item for item in trace.rounds(step.id) if item.accepted}
    for frame in range(1, frames + 1):
        item = rounds.get(frame)
        if item is None or item.image is None:
            raise BadInput(f"Picture {frame} of this trace was never settled, so nothing can go on from there. Choose an earlier step.")
        run.note_move(item.thought, run.picture, item.image, own=item.number == 0 and not item.picture.edited)
        run.picture = item.image
        run.frames.append(item.image)
        if item.kept is not None and item.kept != "satisfied":
            run.doubt = run.doubt or (frame, item.kept)


def _edited(run: Run, trace: Trace, step: Step, content: str | Image) -> Generator[Event, None, Start]:
    """The step over again with the visitor's content."""
    started = replace(run.step(step.kind, step.frame, step.round, step.before, step.of), edited=True)
    yield started
    if isinstance(content, Image):
        yield StepDone(started.index, 0.0, content, run.changed(run.picture, content))
        draft = Draft(started.index, content, step.round, edited=True)
        return Start(_thought(trace, step), draft)
    if step.kind == "think":
        yield StepDone(started.index, 0.0, Text(content))
        return Start(content)
    ok, fault, where = run.task.parse_verdict(content)
    verdict = Critiqued("visitor", ok, fault, where, 1.0, content)
    yield verdict
    yield StepDone(started.index, 0.0)
    return Start(_thought(trace, step), judged(run, _draft(trace, step.of), (verdict,)))


def _again(run: Run, trace: Trace, step: Step) -> Start:
    """Do the step itself over."""
    match step.kind:
        case "answer":
            return Start(answer=True)
        case "draw":
            return Start(_thought(trace, step))
        case "critique":
            return Start(_thought(trace, step), _draft(trace, step.of))
        case "revise":
            return Start(_thought(trace, step), _judged_draft(run, trace, step), max(step.round - 1, 0))
    return Start()


def _after(run: Run, trace: Trace, step: Step) -> Start:
    """Go on with what comes after the step."""
    match step.kind:
        case "think":
            return Start(step.thought)
        case "critique":
            return Start(_thought(trace, step), _judged_draft(run, trace, step))
    return Start(_thought(trace, step), _draft(trace, step.id))


def _thought(trace: Trace, step: Step) -> str | None:
    """The words that the step's frame was drawn from; None where there are none on its run."""
    thoughts = [item.thought for item in trace.path(step.id) if item.kind == "think" and item.frame == step.frame]
    return thoughts[-1] if thoughts else None


def _draft(trace: Trace, index: int | None) -> Draft:
    step = trace.step(-1 if index is None else index)
    if step.image is None:
        raise BadInput("This step has no picture yet. Choose an earlier step.")
    return Draft(step.id, step.image, step.round, edited=step.edited)


def _judged_draft(run: Run, trace: Trace, step: Step) -> Draft:
    """The picture that the step is about with the verdicts it got on the way there; without verdicts it is judged again."""
    draft = _draft(trace, step.of)
    found = [item.critiques for item in trace.path(step.id) if item.kind == "critique" and item.of == step.of and item.critiques]
    return judged(run, draft, found[-1]) if found else draft
