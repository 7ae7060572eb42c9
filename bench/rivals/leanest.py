# mypy: ignore-errors
"""djangorestframework-api-key with nothing else: no middleware, no sessions, one view; served by granian's WSGI.

Its keys sign nothing: the key itself is the secret, so it does less than the others, and asks the database each time.
``python leanest.py COUNT`` prepares the database and prints so many keys.
"""

import os
import sys

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["LEANEST_SECRET"],
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",  # the framework's imports want both
        "rest_framework",
        "rest_framework_api_key",
    ],
    MIDDLEWARE=[],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "CONN_MAX_AGE": None,
        }
    },
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None},
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_api_key.models import APIKey  # noqa: E402
from rest_framework_api_key.permissions import HasAPIKey  # noqa: E402


class Auth(APIView):
    permission_classes = [HasAPIKey]

    def get(self, request):
        return Response(status=204)


urlpatterns = [
    path("gateway/v1/auth", Auth.as_view()),
    path("healthz", lambda request: HttpResponse(status=204)),
]
app = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for number in range(int(sys.argv[1])):
        sys.stdout.write(APIKey.objects.create_key(name=f"bot {number}")[1] + "\n")
