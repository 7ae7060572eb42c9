"""Load Python files of deploy/, which are files to copy and no modules of the portal."""

import importlib.util
from pathlib import Path
from typing import Any

from tests.support.production import ROOT


def load(path: str) -> Any:
    """Return the module at ``path`` below deploy/."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "deploy" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
