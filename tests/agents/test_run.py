"""The command in the terminal."""

from __future__ import annotations

import pytest

from agents.run import load_model, main, parser
from agents.scripted import ScriptedModel, maze_model
from agents.settings import Settings
from agents.trace import Trace
from unimm.errors import BadInput, MissingWeights


def test_a_run_is_printed_and_written(tmp_path, capsys) -> None:
    given = ["--task", "maze", "--seed", "8", "--size", "4", "--out", str(tmp_path / "out"), "--steer", "both", "--rounds", "2"]
    assert main(given, load=lambda name: maze_model(name=name)) == 0
    lines = capsys.readouterr().out.splitlines()
    trace = Trace.load(tmp_path / "out" / "trace.json")
    assert trace.model == "star-tiny" and trace.settings["steer"] == "both" and trace.settings["seed"] == 8 and trace.score["solved"]
    assert sum(line.split()[1:2] == ["draw"] for line in lines) == len(trace.pictures())
    assert any("program: correct" in line for line in lines)
    assert (tmp_path / "out" / "strip.png").stat().st_size and (tmp_path / "out" / "run.gif").read_bytes()[:3] == b"GIF"


def test_an_unsolved_run_has_another_status(tmp_path) -> None:
    still = maze_model(draw=lambda before, options: before, redraw=lambda before, wrong, options: wrong)
    assert main(["--seed", "8", "--size", "4", "--out", str(tmp_path)], load=lambda name: still) == 1
    assert Trace.load(tmp_path / "trace.json").reason == "no gain"


def test_missing_weights_are_said_plainly(tmp_path, capsys) -> None:
    def load(name: str):
        raise MissingWeights("There are no weights. Train them first.")

    assert main(["--out", str(tmp_path / "out")], load=load) == 2
    assert capsys.readouterr().err == "error: There are no weights. Train them first.\n" and not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [["--rounds", "99"], ["--split", "nowhere"], ["--size", "99"]])
def test_bad_values_are_refused(bad, tmp_path, capsys) -> None:
    assert main(["--out", str(tmp_path), *bad], load=lambda name: ScriptedModel([])) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_unknown_models_are_refused() -> None:
    with pytest.raises(BadInput, match="star-tiny"):
        load_model("no-such-model")


def test_flags_come_from_the_settings() -> None:
    given = vars(parser().parse_args(["--out", "x", "--no-critique"]))
    assert Settings(**{name: given[name] for name in Settings().to_dict()}) == Settings(critique=False)
