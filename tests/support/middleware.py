"""Load deploy/middleware/portal_asgi.py, which is a file to copy and no module of the portal."""

import importlib.util
from typing import Any

from tests.support.production import ROOT


def shipped() -> Any:
    path = ROOT / "deploy/middleware/portal_asgi.py"
    spec = importlib.util.spec_from_file_location("portal_asgi", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
