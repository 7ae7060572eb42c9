"""`collectstatic` while servers send the files of before, as in an upgrade and a return."""

import threading
from pathlib import Path
from typing import Any

from django.core.management import call_command


def test_files_that_are_there_stay_whole_while_they_are_collected_again(
    settings: Any, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    call_command("collectstatic", interactive=False, verbosity=0)
    contents = {path: path.read_bytes() for path in settings.STATIC_ROOT.rglob("*") if path.is_file()}
    assert {".css", ".js", ".gz", ".json"} <= {path.suffix for path in contents}
    broken, is_over = set(), threading.Event()

    def read() -> None:
        while not is_over.is_set():
            for path, content in contents.items():
                try:
                    if path.read_bytes() != content:
                        broken.add(f"{path.name} is not whole")
                except FileNotFoundError:
                    broken.add(f"{path.name} is not there")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        call_command("collectstatic", interactive=False, verbosity=0)
    finally:
        is_over.set()
        reader.join()
    assert broken == set()
    assert {path for path in settings.STATIC_ROOT.rglob("*") if path.is_file()} == set(contents)
    assert {path.stat().st_mode & 0o777 for path in contents} == {0o644}
