#!/usr/bin/env bash
# Installs what the tests need into the current environment and runs them.
set -euo pipefail
cd "$(dirname "$0")"
python -m pip install --quiet --disable-pip-version-check "torch==2.13.0" -r requirements.txt -r requirements-dev.txt
ruff check .
python -m pytest
