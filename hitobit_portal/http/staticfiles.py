"""Hashed and compressed static files, ES modules included."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """Also rewrite ``import "./x.js"``, so that a module and its imports are always of one release."""

    support_js_module_import_aggregation = True
