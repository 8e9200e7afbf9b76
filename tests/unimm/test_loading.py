"""``unimm.load``: names, folders, memory known before anything is read, devices, and the hub through a stand-in."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import unimm
from unimm import loading, memory, models, spread
from unimm.errors import BadInput, MissingWeights, ModelUnavailable
from unimm.memory import Size
from unimm.models import MODELS

GOLDEN = Path(__file__).parents[1] / "golden"
GIGABYTE = 10**9


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UNIMM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_embedded_model_loads_by_name() -> None:
    assert unimm.load("star-tiny").name == "star-tiny"


def test_a_folder_loads_under_its_models_name() -> None:
    assert unimm.load("bagel-7b-mot", GOLDEN / "bagel", dtype="bf16").capabilities.edit


def test_a_name_that_is_not_there_and_a_dtype_that_is_none() -> None:
    with pytest.raises(BadInput, match=r"There is no model 'gpt'"):
        unimm.load("gpt")
    with pytest.raises(BadInput, match=r"no dtype 'int7'.*fp32, bf16"):
        unimm.load("star-tiny", dtype="int7")
    with pytest.raises(BadInput, match=r"no quantisation 'int3'"):
        unimm.load("star-tiny", quantize="int3")


# --- memory


def test_headers_tell_the_size_without_reading_weights(tmp_path) -> None:
    table = torch.zeros(16, 4, dtype=torch.bfloat16)
    state = {"layers.0.q.weight": torch.zeros(8, 4), "table.weight": table, "layers.0.norm": torch.ones(4)}
    save_file(state, tmp_path / "model.safetensors")
    size = memory.size_of(tmp_path)
    assert size == Size(32, 68, 4 * 32 + 2 * 64 + 4 * 4)
    assert size.bytes_at("fp32") == 400 and size.bytes_at("bf16") == 200 and size.bytes_at("int8") == 32 + 136
    assert size.bytes_at("nf4") == 18 + 136 and size.bytes_at(None) == size.stored
    assert memory.size_of(tmp_path, ("other*",)) == size  # a layout that is not the row's is counted whole


@pytest.mark.parametrize("damage", ["short", "long", "header", "empty"])
def test_damaged_files_are_seen_in_their_header(tmp_path, damage) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(100)}, path)
    whole = path.read_bytes()
    path.write_bytes({"short": whole[:-7], "long": whole + b"1234", "header": struct.pack("<Q", 2**40) + whole[8:], "empty": b""}[damage])
    with pytest.raises(MissingWeights, match=r"model.safetensors .*Fetch it again"):
        memory.read_header(path)


@pytest.mark.parametrize(
    ("precision", "room", "advice"),
    [
        ("bf16", 22, "needs about 29 GB in bf16, you have 22 GB: try quantize='int8' (about 16 GB)"),
        ("bf16", 12, "try quantize='nf4' (about 10 GB)"), ("int8", 12, "needs about 16 GB in int8, you have 12 GB: try quantize='nf4'"),
        ("fp32", 40, "needs about 59 GB in fp32, you have 40 GB: try dtype='bf16'"),
        ("nf4", 8, "try a smaller model, or a machine with 10 GB"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_said_with_the_next_thing_to_try(precision, room, advice) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        memory.check_room("bagel-7b-mot", MODELS["bagel-7b-mot"].size, precision, room * GIGABYTE)
    assert advice in str(caught.value)


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(monkeypatch) -> None:
    monkeypatch.setattr(loading, "free_bytes", lambda: {"cpu": 1000})
    monkeypatch.setattr("unimm.bagel.load", lambda *given, **options: pytest.fail("weights were read"))
    with pytest.raises(ModelUnavailable, match=r"bagel-7b-mot needs about"):
        unimm.load("bagel-7b-mot", GOLDEN / "bagel")


def test_a_containers_limit_counts(tmp_path) -> None:
    assert memory._container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000")
    (tmp_path / "memory.current").write_text("400")
    assert memory._container_limit(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max")
    assert memory._container_limit(tmp_path) is None
    assert memory.free_bytes()["cpu"] > 0


# --- devices


def placed(size_gb: float, free: dict[int | str, float], device: str | None = None, quantize: str | None = None, monkeypatch=None):
    count = int(size_gb * GIGABYTE / 2)
    monkeypatch.setattr(loading, "size_of", lambda folder, files: Size(count, 0, 2 * count))
    rooms = {place: int(size * GIGABYTE) for place, size in free.items()}
    return loading._place(MODELS["bagel-7b-mot"], Path(), device, None, quantize, rooms)


def test_one_gpu_is_taken_where_it_is_enough(monkeypatch) -> None:
    assert placed(10, {0: 24, 1: 24, "cpu": 60}, monkeypatch=monkeypatch) == ("cuda:0", None)
    assert placed(10, {0: 24, 1: 24, "cpu": 60}, "cuda:1", monkeypatch=monkeypatch) == ("cuda:1", None)
    assert placed(10, {"cpu": 60}, "auto", monkeypatch=monkeypatch) == ("cpu", None)
    assert placed(10, {0: 4, "cpu": 60}, "cpu", monkeypatch=monkeypatch) == ("cpu", None)


def test_several_gpus_are_taken_where_one_is_not_enough_and_main_memory_only_when_asked(monkeypatch) -> None:
    place, rooms = placed(29, {0: 24, 1: 24, "cpu": 60}, monkeypatch=monkeypatch)
    assert place == "cuda:0" and set(rooms) == {0, 1}
    place, rooms = placed(29, {0: 24, "cpu": 60}, "auto", monkeypatch=monkeypatch)
    assert place == "cuda:0" and list(rooms) == [0, "cpu"]
    with pytest.raises(ModelUnavailable, match=r"needs about 29 GB in bf16, you have 20 GB: try quantize"):
        placed(29, {0: 24, "cpu": 60}, monkeypatch=monkeypatch)
    with pytest.raises(BadInput, match=r"no device 'cuda:3'.*cuda:0"):
        placed(10, {0: 24, "cpu": 60}, "cuda:3", monkeypatch=monkeypatch)


def test_rooms_reach_the_family_and_no_further(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(loading, "_place", lambda *given: ("cpu", {"cpu": 10**12}))
    monkeypatch.setattr("unimm.bagel.load", lambda folder, **options: seen.append((spread._ROOMS.get(), options)) or "model")
    assert unimm.load("bagel-7b-mot", GOLDEN / "bagel", dtype=torch.float32) == "model"
    assert seen == [({"cpu": int(spread.RESERVE * 10**12)}, {"device": "cpu", "dtype": torch.float32})] and spread._ROOMS.get() is None


def test_running_out_while_loading_is_named(monkeypatch) -> None:
    def full(folder, **options):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("unimm.bagel.load", full)
    with pytest.raises(ModelUnavailable, match=r"Loading bagel-7b-mot ran out of memory"):
        unimm.load("bagel-7b-mot", GOLDEN / "bagel")


# --- the hub


class Hub:
    """Stands in for the hub's library: writes small files where real ones would go."""

    def __init__(self, files: dict[str, list[str]]) -> None:
        self.files, self.asked = files, []

    def download(self, repository: str, revision: str, local_dir: Path, allow_patterns: list[str]) -> str:
        self.asked.append((repository, revision, tuple(allow_patterns)))
        for name in self.files[repository]:
            local_dir.mkdir(parents=True, exist_ok=True)
            save_file({"a": torch.zeros(2)}, local_dir / name)
        return str(local_dir)

    def commit_of(self, repository: str, revision: str) -> str:
        return f"commit-of-{revision}" if revision == "main" else revision

    def fetch(self, name: str) -> Path:
        return loading.fetch(name, self.download, self.commit_of)


def test_fetching_writes_down_the_commits_and_keeps_to_them(elsewhere) -> None:
    hub = Hub({"Gen-Verse/MMaDA-8B-Base": ["model.safetensors"], "showlab/magvitv2": ["pytorch_model.safetensors"]})
    folder = hub.fetch("mmada-8b-base")
    assert folder == elsewhere / "mmada-8b-base" and (folder / "vq" / "pytorch_model.safetensors").is_file()
    assert json.loads((folder / "sources.json").read_text()) == {
        "Gen-Verse/MMaDA-8B-Base": "commit-of-main", "showlab/magvitv2": "commit-of-main",
    }  # fmt: skip
    assert [row[:2] for row in hub.asked] == [(name, "commit-of-main") for name in hub.files]
    assert all("*" not in row[2] for row in hub.asked), "only the files a run needs"
    hub.fetch("mmada-8b-base")
    assert hub.asked[-1][1] == "commit-of-main"
    hub.fetch("mmada-8b-base@abc")
    assert hub.asked[-2][:2] == ("Gen-Verse/MMaDA-8B-Base", "abc")


def test_without_a_network_the_reason_and_the_way_out_are_said(elsewhere) -> None:
    def offline(repository: str, revision: str) -> str:
        raise OSError("no route to host")

    with pytest.raises(ModelUnavailable, match=r"BAGEL-7B-MoT could not be fetched \(no route to host\).*put its files into"):
        loading.fetch("bagel-7b-mot", Hub({}).download, offline)
    assert models.missing_files(elsewhere / "bagel-7b-mot", MODELS["bagel-7b-mot"])


def test_a_repository_without_the_files_is_said() -> None:
    with pytest.raises(ModelUnavailable, match=r"holds no weights under the expected names"):
        Hub({"ByteDance-Seed/BAGEL-7B-MoT": ["other.safetensors"]}).fetch("bagel-7b-mot")


def test_what_is_here_is_not_fetched_again(elsewhere, monkeypatch) -> None:
    Hub({"ByteDance-Seed/BAGEL-7B-MoT": ["ema.safetensors", "ae.safetensors"]}).fetch("bagel-7b-mot")
    monkeypatch.setattr(loading, "fetch", lambda name: pytest.fail("fetched again"))
    monkeypatch.setattr("unimm.bagel.load", lambda folder, **options: folder)
    assert unimm.load("bagel-7b-mot") == elsewhere / "bagel-7b-mot"
