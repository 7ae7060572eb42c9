"""The OpenAPI document and the endpoints agree: schemathesis sends valid and invalid requests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateways import GatewayProcess, token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.verify]
EXAMPLES = 25
#: This check expects 401 without a token; the contract says 403 and empty.
NOT_OURS = "missing_required_header"
#: OpenAPI cannot say that a header is required unless another one has a certain value: without X-Required-Permission, a
#: request is valid for the document, and refused unless X-Required-Security is "none".
NOT_FOR_HEADERS = "positive_data_acceptance"
DOCUMENT = "/authorize"
FORMS = {"/auth", DOCUMENT, "/check/{path}", "/envoy/{path}"}


def paths_checked(gateway: GatewayProcess, tmp_path: Path, excluded: str, *options: str) -> set[str]:
    """Run schemathesis with all checks except ``excluded``; return the forms of a request that it sent."""
    report = tmp_path / "report.ndjson"
    url = f"http://127.0.0.1:{gateway.port}/gateway/v1/openapi.json"
    process = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), "run", url, "--checks", "all",
         "--exclude-checks", excluded, "--max-examples", str(EXAMPLES), "--no-color", *options,
         "-H", f"Authorization: Bearer {gateway.bearer}", "--report", "ndjson", "--report-ndjson-path", str(report)],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout.replace(gateway.bearer, "(token)")[-4000:]
    lines = report.read_text(encoding="utf-8").splitlines()
    return {path for line in lines for path in FORMS if f'/gateway/v1{path}"' in json.dumps(json.loads(line))}


def test_endpoints_agree_with_their_document(tmp_path: Path) -> None:
    with GatewayProcess(token()) as gateway:
        assert paths_checked(gateway, tmp_path, f"{NOT_OURS},{NOT_FOR_HEADERS}") == FORMS
        only = "--include-path", f"/gateway/v1{DOCUMENT}"
        assert paths_checked(gateway, tmp_path, NOT_OURS, *only) == {DOCUMENT}
