"""Every family on files and requests that cannot be used: one named error with the next thing to try, and it goes on working."""

from __future__ import annotations

import gc
import shutil
import weakref
from functools import cache
from pathlib import Path

import pytest
import torch

import unimm
from agents.scripted import CAPABILITIES
from unimm.document import Document, Image, Text
from unimm.errors import BadInput, MissingWeights, ModelUnavailable, UnimmError
from unimm.events import PartDone, TextDelta
from unimm.model import Options, UnifiedModel, write
from unimm.worker import Worker

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = {"star-3b": "star", "bagel-7b-mot": "bagel", "mmada-8b-base": "mmada", "janus-pro-1b": "janus", "emu3": "emu3"}
ALL = ["star-tiny", *FAMILIES]


def copy_of(name: str, folder: Path) -> Path:
    """A copy of a family's toy without its reference numbers."""
    return Path(shutil.copytree(GOLDEN / FAMILIES[name], folder / "toy", ignore=shutil.ignore_patterns("cases.safetensors")))


def refused(name: str, folder: Path, *kinds: type[UnimmError]) -> str:
    """The message with which a folder is refused: of these kinds, short, and with an end."""
    with pytest.raises(kinds) as caught:
        unimm.load(name, folder)
    return plain(caught.value)


def plain(error: BaseException) -> str:
    words = str(error)
    assert isinstance(error, UnimmError) and "\n" not in words and 20 < len(words) < 420, words
    return words


def largest(folder: Path) -> Path:
    return max(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)


# --- files


@pytest.mark.parametrize("name", FAMILIES)
def test_a_truncated_file_is_named(name, tmp_path) -> None:
    file = largest(copy_of(name, tmp_path))
    file.write_bytes(file.read_bytes()[: -file.stat().st_size // 3])
    assert file.name in refused(name, tmp_path / "toy", MissingWeights)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_folder_is_said(name, tmp_path) -> None:
    assert "no folder" in refused(name, tmp_path / "nothing", MissingWeights)
    assert "no weights" in refused(name, tmp_path, MissingWeights)
    (tmp_path / "model.safetensors").write_bytes(largest(GOLDEN / FAMILIES[name]).read_bytes())
    refused(name, tmp_path, MissingWeights, BadInput)  # weights alone, without a config


@pytest.mark.parametrize("name", FAMILIES)
def test_a_damaged_config_is_said(name, tmp_path) -> None:
    for path in copy_of(name, tmp_path).rglob("config.json"):
        path.write_text("{")
    refused(name, tmp_path / "toy", MissingWeights, BadInput)


@pytest.mark.parametrize("name", FAMILIES)
def test_another_models_folder_and_config_are_refused(name, tmp_path) -> None:
    folder = copy_of(name, tmp_path)
    for other in (GOLDEN / part for other, part in FAMILIES.items() if other != name):
        refused(name, other, MissingWeights, BadInput)
        foreign = next(iter(sorted(other.rglob("config.json"))))
        for path in (folder / "config.json", *folder.rglob("config.json")):
            path.write_bytes(foreign.read_bytes())
        refused(name, folder, MissingWeights, BadInput)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-pickle"),))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
def test_a_pickle_with_code_in_it_runs_nothing(name, suffix, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, "evil.pt")
    folder = copy_of(name, tmp_path)
    for path in list(folder.rglob("*.safetensors")):
        path.unlink()
        names = [path.with_suffix(suffix)] if suffix != ".bin" else [path.with_name("pytorch_model.bin")]
        for evil in names:
            shutil.copy("evil.pt", evil)
    refused(name, folder, MissingWeights, BadInput)
    assert not Path("touched-by-pickle").exists()


# --- requests


@cache
def toy(name: str) -> Worker:
    """A loaded toy behind its worker, as every caller gets it."""
    if name == "star-tiny":
        return Worker(unimm.load(name))
    return Worker(unimm.load(name, GOLDEN / FAMILIES[name]))


QUICK = Options(max_tokens=4, think=False)
PICTURE = Image(64, 64, bytes(range(256)) * 48)


def ask(model: UnifiedModel, document: Document, want: str) -> str | None:
    """The message of the named error with which a request is refused; None where it is answered."""
    try:
        list(model.stream(document, want, QUICK))
    except UnimmError as error:
        return plain(error)
    return None


def words_of(name: str) -> str:
    return "maze next" if name == "star-tiny" else "Draw a house."


def still_works(name: str) -> bool:
    return ask(toy(name), Document().user(PICTURE, Text(words_of(name))), "text") is None


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("want", ["text", "image"])
def test_an_empty_document_is_refused(name, want) -> None:
    assert ask(toy(name), Document(), want)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("want", ["text", "image"])
def test_an_empty_prompt_is_refused_in_words(name, want) -> None:
    assert ask(toy(name), Document().user(Text("")), want) and still_works(name)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("want", ["text", "image"])
def test_fifty_thousand_characters_are_refused(name, want) -> None:
    words = ask(toy(name), Document().user(Text("maze next " * 5000)), want)
    assert words and still_works(name)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side", [1, 10_000])
@pytest.mark.parametrize("want", ["text", "image"])
def test_pictures_of_no_sane_size_are_refused(name, side, want) -> None:
    if want == "image" and not toy(name).capabilities.edit:
        pytest.skip("a picture is not what this model draws from")
    words = ask(toy(name), Document().user(Image(side, side, bytes(3 * side * side)), Text("What is this?")), want)
    assert words and (str(side) in words or "pixel" in words) and still_works(name)


@pytest.mark.parametrize("side", [1, 10_000])
def test_the_embedded_model_resizes_or_refuses(side) -> None:
    ask(toy("star-tiny"), Document().user(Image(side, side, bytes(3 * side * side)), Text("maze next")), "text")
    assert still_works("star-tiny")


# --- memory that runs out


@pytest.mark.parametrize("name", ALL)
def test_running_out_of_memory_is_named_and_over(name, monkeypatch) -> None:
    model = toy(name)
    document = Document().user(PICTURE, Text(words_of(name)))
    with monkeypatch.context() as patched:

        def full(*given, **options):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

        patched.setattr(torch.nn.functional, "linear", full)
        patched.setattr(torch.nn.Linear, "forward", full)
        said = ask(model, Document().user(PICTURE, Text(words_of(name) + " now")), "text")
    assert said and "memory" in said and "quantize='nf4'" in said
    assert ask(model, document, "text") is None


class Hungry:
    """Takes memory and runs out of it."""

    name, capabilities = "hungry", CAPABILITIES

    def __init__(self, error: BaseException) -> None:
        self.error, self.held = error, None

    def stream(self, document: Document, want, options: Options = Options()):
        if document.turns[0].parts[0].text == "fine":
            yield PartDone(Text("fine"))
            return
        taken = torch.zeros(1000)
        self.held = weakref.ref(taken)
        yield TextDelta("a")
        self.inner(taken)

    def inner(self, taken: torch.Tensor) -> None:
        more = taken + 1
        raise self.error if more.sum() > 0 else AssertionError


RAN_OUT = [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")]


@pytest.mark.parametrize("error", RAN_OUT)
def test_the_memory_of_a_failed_job_comes_back(error) -> None:
    model = Hungry(error)
    worker = Worker(model)
    with pytest.raises(ModelUnavailable, match=r"hungry ran out of memory. Try a smaller picture"):
        write(worker, Document().user(Text("much")))
    gc.collect()
    assert model.held() is None and write(worker, Document().user(Text("fine"))) == "fine"
    worker.close()


def test_other_errors_stay_what_they_are() -> None:
    worker = Worker(Hungry(RuntimeError("a fault of the program")))
    with pytest.raises(RuntimeError, match=r"a fault of the program"):
        write(worker, Document().user(Text("much")))
    worker.close()
