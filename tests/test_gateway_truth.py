"""Three gateway processes, programs, authors and a saboteur: nothing passes that its author was told is over."""

import json
import os
import subprocess
import sys

import pytest

from tests.production import ROOT, without_settings
from tests.truth_changes import CHANGES

pytestmark = pytest.mark.postgres


def test_no_wrong_yes_and_no_wrong_no_while_keys_change_and_machines_fail() -> None:
    command = [sys.executable, "-m", "tests.truth", "--keys", "40", "--seconds", "12"]
    result = subprocess.run(
        command, cwd=ROOT, env=without_settings(dict(os.environ)), capture_output=True, text=True
    )
    assert result.stdout, result.stderr[-3000:]
    report = json.loads(result.stdout)
    assert report["wrong"] == 0, report["examples"]
    seen = report["seen"]
    assert min(seen["allowed"], seen["refused"]) > 300
    assert all(seen.get(f"change: {change.name}") for change in CHANGES), seen
    assert seen["unavailable"] > 0  # while the database was stopped nobody could say
