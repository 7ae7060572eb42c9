"""Hashed and compressed static files, ES modules included, and the middleware that serves them."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

#: The name of a file that has the hash of its content.
HASHED = re.compile(r"\.[0-9a-f]{12}\.\w+$")


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """Also rewrite ``import "./x.js"``, so that a module and its imports are always of one release.

    Files that are there already are replaced at once: servers of the version before send them meanwhile.
    """

    support_js_module_import_aggregation = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._urls: dict[str, str] = {}

    def url(self, name: str | None, force: bool = False) -> str:
        """Return the URL of a file. It does not change while a process lives, and a page has 26 of them."""
        if force or name is None:
            return super().url(name, force)
        url = self._urls.get(name)
        if url is None:
            url = self._urls[name] = super().url(name)
        return url

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
