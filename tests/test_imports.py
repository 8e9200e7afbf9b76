"""What may import what, read from the syntax trees; and that importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(path for folder in ("unimm", "agents") for path in (ROOT / folder).rglob("*.py"))
PAGE = [ROOT / "app.py"] if (ROOT / "app.py").exists() else []


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", [*MODULES, *PAGE], ids=name_of)
def test_the_dependency_rule(path: Path) -> None:
    package, used = name_of(path).split(".")[0], packages(path)
    assert "app" not in used
    if package == "unimm":
        assert "agents" not in used
    if package != "app":
        assert "gradio" not in used
    if package != "agents":
        assert not {name for name in used if name.startswith("langchain")}
    if package != "unimm":
        assert not used & {"transformers", "diffusers"}
    assert "tests" not in used
    scripted = {name for name in imported(path) if name.startswith("agents.scripted")}
    assert not scripted, "the scripted model is for tests"


def test_there_are_modules_to_look_at() -> None:
    names = set(map(name_of, MODULES))
    assert {"unimm", "unimm.document", "agents.loop", "agents.tasks.maze"} <= names
    assert "unimm.document" in imported(ROOT / "agents" / "trace.py")


PROBE = """
import socket, sys, threading

def refuse(*args, **kwargs):
    raise AssertionError("importing touches the network")

socket.socket.connect = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import importlib

names = sys.argv[1:]
for name in names:
    threads = set(threading.enumerate())
    importlib.import_module(name)
    new = set(threading.enumerate()) - threads
    assert not new, f"{name} starts {new}"
weights = [path for path in opened if path.endswith((".safetensors", ".pt", ".pth", ".bin", ".ckpt"))]
assert not weights, weights
assert "gradio" not in sys.modules
"""


def test_importing_starts_and_loads_nothing() -> None:
    names = [name for name in map(name_of, MODULES) if not name.endswith("__main__")]
    done = subprocess.run([sys.executable, "-c", PROBE, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
