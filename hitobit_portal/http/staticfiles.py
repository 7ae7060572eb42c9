"""Hashed and compressed static files, ES modules included."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """Rewrites ``import "./x.js"`` too, so that a module and what it imports are always of one release."""

    support_js_module_import_aggregation = True
