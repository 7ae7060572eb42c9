"""Hashed and compressed static files, ES modules included, and the middleware that serves them."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.http import HttpRequest, HttpResponse
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

from hitobit_portal.http import script_bundle

#: The script of the pages. What pages name is the file with all modules that it imports.
MAIN_SCRIPT = "js/main.js"
#: The name of a file that has the hash of its content.
HASHED = re.compile(r"\.[0-9a-f]{12}\.\w+$")


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """Join the modules of `MAIN_SCRIPT` in its hashed file, so that they are one request and always of one release.

    Files that are there already are replaced at once: servers of the version before send them meanwhile.
    """

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        if MAIN_SCRIPT in paths and not dry_run:
            modules = script_bundle.modules(posixpath.basename(MAIN_SCRIPT), self._read_script)
            joined = {f"{posixpath.dirname(MAIN_SCRIPT)}/{name}" for name in modules} - {MAIN_SCRIPT}
            paths = {name: path for name, path in paths.items() if name not in joined}
            paths[MAIN_SCRIPT] = (_Text("".join(modules.values())), MAIN_SCRIPT)
            self.delete_files(joined)
        yield from super().post_process(paths, dry_run, **options)

    def _read_script(self, name: str) -> str:
        with self.open(f"{posixpath.dirname(MAIN_SCRIPT)}/{name}") as file:
            text: str = file.read().decode()
        return text

    def delete(self, name: str) -> None:
        # Django deletes style sheets, modules and the manifest before it writes them again.
        if not self._is_in_use(name):
            super().delete(name)

    def _save(self, name: str, content: File[Any]) -> str:
        if not self._is_in_use(name):
            saved: str = super()._save(name, content)
            return saved
        content.seek(0)
        replace(Path(self.path(name)), b"".join(content.chunks()))
        return name

    def _is_in_use(self, name: str) -> bool:
        return name == self.manifest_name or bool(HASHED.search(name))

    def create_compressor(self, **options: Any) -> Compressor:
        return _Compressor(**options)


class _Text:
    """Where `post_process` reads the content of one file, which differs from the file of that name."""

    def __init__(self, text: str) -> None:
        self._text = text

    def open(self, _name: str) -> File[Any]:
        return ContentFile(self._text.encode())


class _Compressor(Compressor):
    def write_data(self, path: str, data: bytes, suffix: str, stat_result: os.stat_result) -> str:
        replace(Path(path + suffix), data)
        os.utime(path + suffix, (stat_result.st_atime, stat_result.st_mtime))
        return path + suffix


def replace(path: Path, data: bytes) -> None:
    """Write a file that everybody may read. Whoever opens it meanwhile gets the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.chmod(name, 0o644)  # nosec B103
    os.replace(name, path)


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Send files whole. A server that is stopped cuts a response that is streamed, after its headers were sent."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
        try:
            response = HttpResponse(b"".join(streamed), status=streamed.status_code)
        finally:
            streamed.close()
        # Also without a type, as 304 has none.
        response.headers = streamed.headers
        return response
