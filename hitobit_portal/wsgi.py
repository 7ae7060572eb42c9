"""The WSGI entry point: ``granian --interface wsgi hitobit_portal.wsgi:application``."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")

application = get_wsgi_application()
