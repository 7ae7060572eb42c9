"""The modules of the pages are joined into one script, which works like the modules."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from hitobit_portal.http import script_bundle
from tests.support.production import ROOT

SCRIPTS = ROOT / "static/js"
#: Scripts that pages name themselves.
ENTRIES = {"main.js", "boot.js"}


def read(name: str) -> str:
    return (SCRIPTS / name).read_text(encoding="utf-8")


def joined(**texts: str) -> str:
    return "".join(script_bundle.modules("main.js", lambda name: texts[name.removesuffix(".js")]).values())


def test_every_module_is_in_the_script_of_the_pages() -> None:
    modules = script_bundle.modules("main.js", read)
    assert set(modules) | ENTRIES == {path.name for path in SCRIPTS.iterdir()}
    assert list(modules)[-1] == "main.js"


def test_a_module_stands_once_and_before_those_that_import_it() -> None:
    text = joined(
        main='import { b } from "./b.js";\nimport { c } from "./c.js";\nb(c());\n',
        b='import { c } from "./c.js";\nexport function b(x) { c(x); }\n',
        c="export const c = () => 1;\n",
    )
    assert text.count("const $c = ") == 1
    assert text.index("const $c = ") < text.index("const $b = ") < text.index("const $main = ")
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    "line",
    [
        'import "./b.js";',
        'import * as b from "./b.js";',
        'import b from "./b.js";',
        'import { b as x } from "./b.js";',
        'import { b } from "https://elsewhere.example/b.js";',
        'import { b } from "../b.js";',
        'const b = await import("./b.js");',
        "export default 1;",
        "export { b };",
        "export let b = 1;",
        "export class B {}",
        'export * from "./b.js";',
        "const here = import.meta.url;",
    ],
)
def test_a_form_that_is_not_understood_stops_the_collection(line: str) -> None:
    with pytest.raises(script_bundle.BundleError, match=r"main\.js"):
        joined(main=f"{line}\n", b="export const b = 1;\n")


def test_modules_in_a_circle_stop_the_collection() -> None:
    with pytest.raises(script_bundle.BundleError, match="imports itself"):
        joined(main='import { b } from "./b.js";\n', b='import { b } from "./b.js";\nexport const b = 1;\n')


def test_what_is_collected_is_one_script_with_a_hashed_name(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    call_command("collectstatic", interactive=False, verbosity=0)
    names = json.loads((settings.STATIC_ROOT / "staticfiles.json").read_text())["paths"]
    assert {name for name in names if name.startswith("js/")} == {"js/main.js", "js/boot.js"}
    files = {re.sub(r"\.[0-9a-f]{12}", "", path.name) for path in (settings.STATIC_ROOT / "js").iterdir()}
    assert files <= {"main.js", "boot.js", "main.js.gz", "boot.js.gz", "main.js.br", "boot.js.br"}
    text = (settings.STATIC_ROOT / names["js/main.js"]).read_text(encoding="utf-8")
    for path in SCRIPTS.iterdir():
        if path.name not in ENTRIES:
            assert f"const ${path.stem} = " in text
    node = shutil.which("node")
    if node:
        checked = subprocess.run([node, "--check", "--input-type=module"], input=text, text=True, check=False)
        assert checked.returncode == 0
