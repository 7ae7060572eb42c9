"""The OpenAPI document and the endpoints agree: schemathesis sends valid and invalid requests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateways import GatewayProcess, token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]
EXAMPLES = 25
#: This check expects 401 without a token; the contract says 403 and empty.
NOT_OURS = "missing_required_header"


def test_endpoints_agree_with_their_document(tmp_path: Path) -> None:
    bearer, report = token(), tmp_path / "report.ndjson"
    with GatewayProcess(bearer) as gateway:
        url = f"http://127.0.0.1:{gateway.port}/gateway/v1/openapi.json"
        options = [
            "--checks",
            "all",
            "--exclude-checks",
            NOT_OURS,
            "--max-examples",
            str(EXAMPLES),
            "--no-color",
        ]
        process = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run", url, *options,
             "-H", f"Authorization: Bearer {bearer}", "--report", "ndjson", "--report-ndjson-path", str(report)],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
    assert process.returncode == 0, process.stdout.replace(bearer, "(token)")[-4000:]
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    paths = {
        path
        for line in lines
        for path in ("/auth", "/authorize", "/envoy/{path}")
        if path in json.dumps(line)
    }
    assert paths == {"/auth", "/authorize", "/envoy/{path}"}
