"""The timings' two sides agree on a toy model, and recorded runs are read as they were."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unimm import bench as command
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.star import bench, races, recorded
from unimm.star.config import CONFIGS, qwen
from unimm.star.generate import StarModel
from unimm.star.model import Star
from unimm.star.tokenizer import word_tokenizer
from unimm.timing import Race

THOUGHT, OBJECTION = "go right .", "wrong . no agent ."


@pytest.fixture(scope="module")
def model() -> Iterator[StarModel]:
    """Untrained, of one layer each, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    base = qwen(128, 128, 1, 2, 2, 512, True, depth=1, hidden_size=64, intermediate_size=64, num_heads=2, patch_size=16,
                spatial_merge_size=1, temporal_patch_size=1, window_size=256, fullatt_block_indexes=[0])  # fmt: skip
    base["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [8, 12, 12]}
    base["text_config"] |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    torch.manual_seed(0)
    words = ["maze", "next", "judge", "go", "right", "wrong", "no", "agent", "."]
    yield StarModel(Star(replace(CONFIGS["tiny"], name="toy", base=base, stack_layers=1)), word_tokenizer(words))
    torch.set_num_threads(threads)


def picture(shade: int) -> Image:
    return Image(256, 256, bytes([shade, 255 - shade, 128]) * (256 * 256))


PICTURES = [picture(shade) for shade in (0, 90, 180)]


def a_run() -> dict:
    """A run of one picture, drawn wrong, judged, and redrawn, in the form in which runs are saved."""
    step = {"round": 0, "of": None, "thought": "", "image": None, "before": 0, "critiques": []}
    verdicts = [{"by": "program", "ok": False, "words": OBJECTION}], [{"by": "program", "ok": True, "words": "correct ."}]
    steps = [
        {"kind": "think", "parent": None, "thought": THOUGHT},
        {"kind": "draw", "parent": 0, "image": 1},
        {"kind": "critique", "parent": 1, "of": 1, "critiques": verdicts[0]},
        {"kind": "revise", "parent": 2, "of": 1, "image": 2},
        {"kind": "critique", "parent": 3, "of": 3, "critiques": verdicts[1]},
    ]
    pictures = [base64.b64encode(image.to_png()).decode() for image in PICTURES]
    return {"task": "maze", "pictures": pictures, "steps": [{**step, "id": number, **row} for number, row in enumerate(steps)]}


@pytest.fixture
def traces(tmp_path) -> Path:
    (tmp_path / "run.json").write_text(json.dumps(a_run()))
    return tmp_path


def test_recorded_edits_are_asked_for_as_they_were(traces) -> None:
    start, wrong, right = PICTURES
    drawn, redrawn = recorded.recorded_edits(traces)
    judge = Text("maze judge")
    assert drawn == recorded.Edit(
        "next", Document().user(start, Text("maze next")).assistant(Text(THOUGHT)), Document().user(start, wrong, judge)
    )
    assert redrawn.document == Document().user(start, wrong, judge).assistant(Text(OBJECTION)) and redrawn.kind == "revise"
    assert redrawn.judged == Document().user(start, right, judge)


def test_both_ways_agree_and_are_printed(traces, model, tmp_path, capsys) -> None:
    out = tmp_path / "out" / "bench.json"
    out.parent.mkdir()
    assert command.main(["star-tiny", "--traces", str(traces), "--repeat", "1", "--json", str(out)], load=lambda path: model) == 0
    shown, data = capsys.readouterr().out, json.loads(out.read_text())
    editing, prefixes = data["editing"], data["prefixes"]
    assert editing["pictures"] == 2 and editing["redrawn"] == 1 and editing["identical"] and prefixes["identical"]
    assert editing["passes_token_by_token"] == 2 * 64 and 2 <= editing["passes_speculative"] <= 2 * 64
    assert editing["ratio"] == pytest.approx(editing["seconds_token_by_token"] / editing["seconds_speculative"])
    assert min(editing["ratio"], editing["stream_ratio"], prefixes["ratio"]) > 0 and 0 < data["peak_memory_gb"] < 64
    assert prefixes["documents"] == 4 and "tokens identical: yes" in shown and f"{editing['ratio']:.1f}x" in shown


def test_tokens_come_one_a_pass_or_in_runs(traces, model) -> None:
    document = recorded.recorded_edits(traces)[0].document
    slow = bench.draw_tokens(model, document, speculative=False)
    fast = bench.draw_tokens(model, document, speculative=True)
    assert slow.passes == len(slow.ids) == 64 and fast.ids.equal(slow.ids) and 0 < fast.passes <= 64


def test_a_difference_is_an_error(traces, model, monkeypatch, capsys) -> None:
    honest = bench.draw_tokens

    def slips(model, document, speculative):
        drawn = honest(model, document, speculative)
        return replace(drawn, ids=drawn.ids + 1) if speculative else drawn

    monkeypatch.setattr(bench, "draw_tokens", slips)
    assert command.main(["star-tiny", "--traces", str(traces), "--repeat", "1", "--n", "1"], load=lambda path: model) == 1
    assert "other tokens" in capsys.readouterr().err


def test_spread_takes_redrawings_and_keeps_to_the_number() -> None:
    empty = Document()
    edits = [recorded.Edit("revise" if number % 5 == 0 else "next", empty, empty.user(Text(str(number)))) for number in range(30)]
    some = recorded.spread(edits, 9)
    assert len(some) == 9 == len(set(some)) and sum(edit.kind == "revise" for edit in some) == 3
    assert sorted(recorded.spread(edits, 99), key=edits.index) == edits and len(recorded.spread(edits[:1], 5)) == 1


@pytest.mark.parametrize("damage", ["{", "[]", json.dumps({**a_run(), "pictures": ["x"]}), json.dumps({**a_run(), "steps": [{}]})])
def test_damaged_and_missing_runs_are_said_plainly(tmp_path, damage, capsys, model) -> None:
    assert command.main(["star-tiny", "--traces", str(tmp_path)], load=lambda path: model) == 2
    assert "holds no recorded run" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text(damage)
    assert command.main(["star-tiny", "--traces", str(tmp_path)], load=lambda path: model) == 2
    assert "bad.json is no undamaged recorded run" in capsys.readouterr().err


# --- races


def raced(what: str = "text, cached", slow: float = 2.0, fast: float = 1.0) -> Race:
    return Race("toy", what, "slow way", "fast way", slow, fast, "identical", 1)


def test_races_are_shown_written_and_held_against_their_targets(tmp_path, capsys, monkeypatch) -> None:
    offered = {"star": [raced("edit, 10% of tokens changed", 4.0)], "mmada": [raced("text, dual cache", 2.0)]}
    monkeypatch.setattr(command, "FAMILIES", tuple(offered))
    monkeypatch.setattr(command, "races_of", lambda family: lambda repeat, size: iter(offered[family]))
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: name)
    out = tmp_path / "all.json"
    assert command.main(["all", "--json", str(out)]) == 1  # one target is missed
    rows = {row["family"]: row for row in json.loads(out.read_text())["races"]}
    assert rows["star"]["met"] and rows["star"]["ratio"] == 4.0 and rows["star"]["at_least"] == 3.0 and not rows["mmada"]["met"]
    assert "at least 3.00x: MISSED" in capsys.readouterr().out
    assert command.main(["all", "--size", "small"]) == 0  # no targets for a size that is only there to try the command


def test_a_broken_contract_is_told_and_the_other_families_go_on(capsys) -> None:
    def broken(repeat: int, size: str) -> Iterator[Race]:
        yield raced()
        raise AssertionError("other tokens")

    shown: list[str] = []
    data = command.run_races(["a", "b"], 1, "small", shown.append, lambda name: broken if name == "a" else lambda *_: iter([raced()]))
    assert data["broken"] == {"a": "other tokens"} and [row["family"] for row in data["races"]] == ["a", "b"]
    assert any("BROKEN: other tokens" in line for line in shown)


def test_unknown_names_and_sizes_are_refused(capsys) -> None:
    assert command.main(["nothing"]) == 2 and "nothing to time for 'nothing'" in capsys.readouterr().err
    assert command.main(["star", "--size", "huge"]) == 2 and "no size 'huge'" in capsys.readouterr().err
    assert command.family_of("star-3b") == "star"


def test_planted_edits_agree_both_ways() -> None:
    row = races.SIZES["small"]
    given = races.scene(races.random_star(row), row.side)
    readings = given.readings()
    slow, fast = races.edited(given, readings, False), races.edited(given, readings, True)
    assert slow.equal(fast) and fast.equal(given.target)
    assert int((given.target != given.source).sum()) == max(1, round(races.CHANGED * row.side**2))


def test_both_ways_of_guidance_draw_the_same() -> None:
    row = races.SIZES["small"]
    given = races.scene(races.random_star(row), row.side)
    assert races.drawn(given).equal(races.drawn_apart(given))


def test_a_run_too_short_for_the_late_step_is_said(model, traces) -> None:
    with pytest.raises(BadInput, match="fewer than 20"):
        next(races.run_races(model, recorded.longest_run(traces), 1))
