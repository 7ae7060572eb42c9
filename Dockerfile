# Two stages: the first has pip and the sources of messages, the second only what runs.
FROM python:3.11-slim AS build
WORKDIR /portal
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . .
RUN /venv/bin/pybabel compile -D django -d locale
# Collected with the demo's settings, whose throwaway secrets stay behind in this stage.
RUN PORTAL_DEMO=true PORTAL_DATA_DIR=/build /venv/bin/python manage.py collectstatic --noinput

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home portal
WORKDIR /portal
COPY --from=build /venv /venv
COPY --from=build /portal .
COPY --from=build /build/static /data/static
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=hitobit_portal.settings PORTAL_DATA_DIR=/data
USER portal
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s CMD ["python", "-c", "\
import os, urllib.parse, urllib.request as http; \
host = urllib.parse.urlsplit(os.environ['PORTAL_BASE_URL']).netloc; \
http.urlopen(http.Request('http://127.0.0.1:8000/healthz', headers={'Host': host}), timeout=3)"]
# The sender of notices is the same image with the command "python manage.py send_notices --loop" (see compose.yaml).
# Processes without shared state behind the proxy; PORTAL_PROCESSES says how many, and the settings check what that needs.
CMD ["sh", "-c", "exec granian --interface wsgi --host 0.0.0.0 --port 8000 --http 1 --no-ws \
--workers \"${PORTAL_PROCESSES:-1}\" --blocking-threads 8 --respawn-failed-workers --log-level warning \
hitobit_portal.wsgi:application"]
