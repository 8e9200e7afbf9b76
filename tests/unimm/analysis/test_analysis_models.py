"""Every model's attention: maps are probabilities, spans lie where they should, and the numbers are those of its own work."""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path

import pytest
import torch
from toy_star import toy_model

from unimm.analysis import Attention, attention_of, decode_curve, interaction
from unimm.analysis.__main__ import main
from unimm.analysis.attention import ADAPTERS, able
from unimm.analysis.measure import Measured, measure, report
from unimm.analysis.plot import WIDTH, plot
from unimm.analysis.reference import distances, pearson, published, resampled
from unimm.analysis.samples import samples, scene
from unimm.analysis.spans import size
from unimm.bagel.options import BagelOptions
from unimm.document import Document, Text
from unimm.errors import BadInput, ModelUnavailable
from unimm.model import Options, Want
from unimm.star import attention as star_attention
from unimm.star.generate import StarModel

GOLDEN = Path(__file__).parents[2] / "golden"
FAMILIES = [package.removeprefix("unimm.") for package in able()]
OPTIONS = Options(max_tokens=16, think=False)
QUICK = {"bagel": BagelOptions(max_tokens=16, think=False, timesteps=6, height=32, width=32)}


@cache
def model_of(family: str):
    return talkative() if family == "star-toy" else importlib.import_module(f"unimm.{family}").load(GOLDEN / family)


def talkative() -> StarModel:
    """The toy, never ending an answer: what a word of no length is worth is 0, and among so many others some are worth more."""
    model = toy_model()
    with torch.no_grad():
        model.star.base.model.language_model.embed_tokens.weight[model.special["<|im_end|>"]] = 0
    return model


def documents(family: str) -> dict[str, tuple[Want, Document]]:
    picture = scene(256 if family == "star-toy" else 64)
    return {
        "draw": ("image", Document().user(Text("draw a red circle"))),
        "answer": ("text", Document().user(picture, Text("what is it"))),
        "edit": ("image", Document().user(picture, Text("make it blue"))),
    }


def measured(attention: Attention) -> torch.Tensor:
    """The curve, one layer in memory at a time."""
    found: list[torch.Tensor] = []
    attention.visit(lambda layer: found.append(interaction([layer[None]], [attention.output], [attention.keys()])[0, 0]))
    return torch.stack(found)


def test_every_family_takes_part() -> None:
    assert set(ADAPTERS) == set(able())


@pytest.mark.parametrize("case", ["draw", "answer", "edit"])
@pytest.mark.parametrize("family", [*FAMILIES, "star-toy"])
def test_maps_and_spans(family: str, case: str) -> None:
    want, document = documents(family)[case]
    attention = attention_of(model_of(family), document, want, QUICK.get(family, OPTIONS))
    curve = measured(attention)
    maps = attention.maps
    assert len(maps) == len(curve) >= 2 and attention.want == want and attention.note
    for layer in maps:
        rows = [layer[:, start:stop] for start, stop in attention.output]
        assert (torch.cat(rows, 1).sum(-1) - 1).abs().max() < 1e-4
    assert ((curve > 0) & (curve < 1)).all()
    positions = maps[0].shape[-1]
    assert all(0 <= start < stop <= positions for start, stop in (*attention.text, *attention.picture, *attention.marks))
    assert size(attention.keys(marks=False)) <= size(attention.keys()) and size(attention.keys(first=False)) <= size(attention.keys())
    torch.testing.assert_close(interaction((layer[None] for layer in maps), [attention.output], [attention.keys()])[:, 0], curve)


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_leaves_no_trace_on_the_model(family: str) -> None:
    model = model_of(family)
    want, document = documents(family)["answer"]
    said = list(model.stream(document, want, OPTIONS))[-1].part
    curves = [measured(attention_of(model, document, want, OPTIONS)) for _ in range(2)]
    torch.testing.assert_close(*curves)
    assert list(model.stream(document, want, OPTIONS))[-1].part == said


def test_the_embedded_models_pass_is_its_own_drawing() -> None:
    model = model_of("star-toy")
    for case in ("draw", "edit"):
        document = documents("star-toy")[case][1]
        codes, source, _ = star_attention._codes(model, document, OPTIONS)
        hidden = star_attention.drawn(model, document, OPTIONS).run(True)
        assert torch.equal(model.star.pixel_logits(hidden[0, -len(codes) :], source).argmax(-1), codes)


def test_the_embedded_models_curve_is_that_of_decoding() -> None:
    """Word by word with a cache, as the model writes, against one pass over everything."""
    model, document = model_of("star-toy"), documents("star-toy")["answer"][1]
    attention = attention_of(model, document, "text", OPTIONS)
    ((start, stop),), ((first, last),) = attention.output, attention.picture
    forced = star_attention.answered(model, document, OPTIONS)
    words = model.encode("".join(part.text for part in [list(model.stream(document, "text", OPTIONS))[-1].part]))
    assert len(words) == stop - start
    prefix = model.reader.read(star_attention.chunks_of(document, model.encode, model.special))
    steps = []
    with torch.inference_mode():
        for token in words:
            prefix, out = model.reader.step(prefix, [token], output_attentions=True)
            steps.append(torch.stack([layer[0, :, -1] for layer in out.attentions]))
    torch.testing.assert_close(decode_curve(steps, (first, last)), measured(attention), atol=1e-6, rtol=1e-5)
    assert int(forced.where(star_attention.PICTURE).sum()) == last - first


def test_marks_and_the_first_token_can_be_left_out() -> None:
    attention = attention_of(model_of("star-toy"), documents("star-toy")["draw"][1], "image", OPTIONS)
    assert attention.text[0][0] == 0 and attention.keys(first=False)[0][0] == 1
    words = size(attention.keys(marks=False))
    assert words == len(model_of("star-toy").encode("draw a red circle"))
    with pytest.raises(BadInput, match="no picture"):
        attention_of(model_of("star-toy"), Document().user(Text("hello")), "text", OPTIONS).keys()


def test_a_model_without_maps_is_refused_and_one_with_a_method_is_asked() -> None:
    class Mute:
        name = "mute"

    class Open(Mute):
        def attention_maps(self, document, want, options=OPTIONS):
            return Attention(want, lambda each: each(torch.full((1, 2, 2), 0.5)), ((0, 1),), (), ((1, 2),))

    with pytest.raises(ModelUnavailable, match=r"mute does not show its attention.*star"):
        attention_of(Mute(), Document(), "image")
    assert float(measured(attention_of(Open(), Document(), "image"))) == 0.5


def test_numbers_and_plot() -> None:
    model = model_of("star-toy")
    both = [Measured(want, tuple(measure(model, want, [document, document], OPTIONS))) for want, document in
            (documents("star-toy")[case] for case in ("draw", "answer"))]  # fmt: skip
    data = json.loads(json.dumps(report("star-toy", both)))
    drawing = data["tasks"]["drawing"]
    assert drawing["layers"] == len(drawing["curves"]["all"]["mean"]) == sum(drawing["parts"].values()) == 4
    assert drawing["curves"]["all"]["spread"] == [0.0] * 4 and set(drawing["mean_distance_to"]) == set(data["published"])
    assert 0 < drawing["even_attention"] < 1 and "0-" in drawing["samples"][0]["columns, all"]
    assert data["tasks"]["understanding"]["layers"] == 2
    picture = plot("star-toy", both)
    assert picture.size[0] == WIDTH and len(picture.getcolors(2**24)) > 100
    assert plot("star-toy", both[:1]).size[0] < WIDTH


def test_published_curves() -> None:
    rows = {row.name: row for row in published()}
    assert {name: row.layers for name, row in rows.items()} == {"Emu3": 32, "Janus-Pro-7B": 30, "BAGEL": 28, "specialists": 36}
    assert all(len(row.curve(want)) == row.layers for row in rows.values() for want in ("image", "text"))
    found = {name: pearson(row.drawing, row.understanding) for name, row in rows.items()}
    assert found == pytest.approx({"Emu3": -0.322, "Janus-Pro-7B": -0.465, "BAGEL": -0.718, "specialists": -0.186}, abs=2e-3)
    assert resampled([0.0, 1.0], 3).tolist() == [0.0, 0.5, 1.0]
    assert distances(rows["BAGEL"].drawing, "image")["BAGEL"] == 0 < distances(rows["BAGEL"].drawing, "image")["Emu3"]
    assert pearson([0.5, 0.5], [0.1, 0.2]) is None


def test_the_command(tmp_path: Path, capsys) -> None:
    assert main(["star-tiny", "--out", str(tmp_path), "--samples", "1"]) == 0
    out = capsys.readouterr().out
    assert "drawing 1/1: rows" in out and "columns, no first" in out and "Pearson" in out
    data = json.loads((tmp_path / "star-tiny-attention.json").read_text())
    assert data["tasks"]["drawing"]["parts"] == {"base": 5, "stack": 4}
    assert (tmp_path / "star-tiny-attention.png").read_bytes().startswith(b"\x89PNG")
    assert main(["no-such-model", "--out", str(tmp_path)]) == 2
    assert main(["star-tiny", "--out", str(tmp_path), "--image", str(tmp_path / "none.png")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_samples_are_documents_of_both_kinds() -> None:
    assert len(samples("bagel-7b-mot", "image", 3)) == 3 and len(samples("bagel-7b-mot", "text", 100)) == 6
    assert all(document.turns[-1].role == "assistant" for document in samples("star-tiny", "image", 2))
