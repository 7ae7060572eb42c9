"""The OpenAPI document and the endpoints agree: schemathesis sends valid and invalid requests, with all checks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apikeys.management_api.scopes import Scope
from apikeys.management_api.urls import RESOURCES
from tests.support.live_portal import LivePortal

pytestmark = pytest.mark.verify
EXAMPLES = 5
#: JSON Schema cannot say which texts are a mobile number, or free of links, and a body with an id of nobody is right
#: for the document: those valid requests get 400, 404 and 409.
NOT_FOR_BODIES = "positive_data_acceptance"


def test_endpoints_agree_with_their_document(live_portal: LivePortal, tmp_path: Path) -> None:
    scopes = ",".join(scope.value for scope in Scope)
    made = live_portal.manage(
        "management_token", "create", tmp_path.name, "--scope", scopes, "--networks", "127.0.0.1", "--days", "1",
        "--json",
    )  # fmt: skip
    text, report = json.loads(made)["token"], tmp_path / "report.ndjson"
    process = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), "run", f"{live_portal.url}/manage/v1/openapi.json",
         "--checks", "all", "--exclude-checks", NOT_FOR_BODIES, "--max-examples", str(EXAMPLES), "--no-color",
         "-H", f"Authorization: Bearer {text}", "--report", "ndjson", "--report-ndjson-path", str(report)],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout.replace(text, "(token)")[-6000:]
    called = set(re.findall(r'"label":"([A-Z]+ /[^"]*)"', report.read_text(encoding="utf-8")))
    assert called == {
        f"{operation.method} {path}"
        for path, operations in RESOURCES.items()
        for operation in operations
        if path != "/openapi.json"
    }
