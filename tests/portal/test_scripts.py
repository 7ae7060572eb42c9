"""The modules of the pages: the browser learns of all of them from the page itself."""

import re

from tests.support.production import ROOT

SCRIPTS = ROOT / "static/js"
IMPORT = re.compile(r'^import .* from "\./([a-z]+\.js)";$', re.MULTILINE)


def imported(name: str) -> set[str]:
    """Return all modules that ``name`` needs, directly or not."""
    direct = set(IMPORT.findall((SCRIPTS / name).read_text(encoding="utf-8")))
    return direct.union(*(imported(other) for other in direct))


def test_the_page_names_every_module_that_its_script_imports() -> None:
    head = (ROOT / "templates/parts/head.html").read_text(encoding="utf-8")
    preloaded = re.findall(r"""rel="modulepreload" href="\{% static 'js/([a-z]+\.js)' %\}""", head)
    assert len(preloaded) == len(set(preloaded)) > 10
    assert set(preloaded) == imported("main.js")
