"""The README's tree, snippets and numbers against what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agents.summary import tables

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCORES = ROOT / "assets" / "scores"


def block(after: str, language: str = "") -> str:
    """The first fenced block behind some words."""
    return README.split(after, 1)[1].split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_every_file_of_the_tree_is_there() -> None:
    folder, seen = ROOT, 0
    for line in block("## Where everything is").splitlines():
        indent = len(line) - len(line.lstrip())
        names = [name for name in line.split() if re.fullmatch(r"[\w.]+(/|\.py)", name)]
        for name in names[: 1 if line.split()[0].endswith("/") else None]:
            if indent == 0:
                folder = ROOT
            assert (folder / name).exists(), f"{name} is in the README and not in the project"
            seen += 1
            if indent == 0 and name.endswith("/"):
                folder = ROOT / name
    assert seen > 20


@pytest.mark.parametrize("name", ["maze", "uni_mmmu"])
def test_the_results_are_those_of_the_score_files(name: str) -> None:
    data = json.loads((SCORES / f"{name}.json").read_text())
    assert data["command"] in README
    if name == "maze":
        assert tables(data["summary"]) in README
    else:
        for key in ("image_sample", "image_step", "text_sample", "text_step"):
            assert f"{100 * data[key]:.1f}" in README.split("Uni-MMMU", 1)[1]


def test_boards_with_several_routes_and_races_are_those_of_their_files() -> None:
    loops = json.loads((SCORES / "maze_loops.json").read_text())
    assert loops["command"] in README and loops["exam"]["style"] == "loops"
    for size, conditions in loops["summary"]["boards"].items():
        row = next(line for line in README.split("several routes")[1].splitlines() if line.startswith(f"| {size}"))
        assert all(f"{100 * shown['success']['value']:.1f}" in row for shown in conditions.values())
    races = json.loads((SCORES / "races.json").read_text())["races"]
    table = README.split("<!-- races -->")[1].split("<!-- /races -->")[0].strip().splitlines()[2:]
    assert len(table) == len(races) > 15
    for row, race in zip(table, races, strict=True):
        assert race["what"] in row and f"| {race['ratio']:.1f} |" in row and race["contract"] in row and race["met"]


def test_the_scores_are_of_the_shipped_weights() -> None:
    from agents.evaluate import weights_hash

    for path in (SCORES / "maze.json", SCORES / "maze_loops.json", SCORES / "uni_mmmu.json"):
        data = json.loads(path.read_text())
        measured = data["sha256"] if "sha256" in data else data["model"]["sha256"]
        assert measured == weights_hash("star-tiny"), f"{path.name} is of other weights"


def test_the_front_matter_is_a_spaces() -> None:
    head = README.split("---\n")[1]
    keys = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert keys["sdk"] == "gradio" and (ROOT / keys["app_file"]).is_file()
    assert len(keys["short_description"]) <= 60


def test_no_tracked_file_is_too_large_to_push() -> None:
    shipped = [path for folder in ("assets", "tests", "agents", "unimm") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in shipped) < 10_000_000
    weights = [path for path in shipped if path.suffix == ".safetensors" and "assets" in path.parts]
    assert sum(path.stat().st_size for path in weights) < 40_000_000
