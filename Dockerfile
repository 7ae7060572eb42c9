# Two stages: the first has pip and the sources of messages; the second an interpreter, the packages and the portal, no shell.
# Both are Debian 12 and Python 3.11, so that what was compiled for one runs in the other.
# For builds that give the same bytes for ever, name both by digest as well:
#   docker build --build-arg BUILD=python:3.11-slim-bookworm@sha256:... --build-arg RUNTIME=...:nonroot@sha256:... .
ARG BUILD=python:3.11-slim-bookworm
ARG RUNTIME=gcr.io/distroless/python3-debian12:nonroot

FROM ${BUILD} AS build
WORKDIR /portal
COPY requirements.txt .
# Wheels with the hashes of the lock, and nothing that a package would compile or run while it is installed.
RUN python -m pip install --no-cache-dir --no-compile --only-binary :all: --require-hashes \
    --target /packages -r requirements.txt
COPY . .
ENV PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1
# Files are collected with the demo's settings, whose throwaway secrets stay behind in this stage. Then goes what no request
# needs: Babel compiles messages and does nothing else, phone numbers are not looked up on a map, Django speaks two languages.
# Byte code is bound to the sources by their hash, not by the time of the build.
RUN python -m babel.messages.frontend --quiet compile -D django -d locale \
    && PORTAL_DEMO=true PORTAL_DATA_DIR=/build python manage.py collectstatic --noinput --verbosity 0 \
    && rm -rf /packages/bin /packages/babel /packages/babel-*.dist-info \
        /packages/phonenumbers/geodata /packages/phonenumbers/carrierdata /packages/phonenumbers/tzdata \
    && find /packages/django -path '*/locale/*' -prune -type d ! -name en ! -name fa ! -name __pycache__ -exec rm -rf {} + \
    && find /packages /portal -name '*.po' -delete \
    && python -m compileall -q --invalidation-mode unchecked-hash /packages /portal

FROM ${RUNTIME}
WORKDIR /portal
COPY --from=build /packages /packages
COPY --from=build /portal /portal
COPY --from=build /build/static /data/static
ENV PYTHONPATH=/portal:/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=hitobit_portal.settings PORTAL_DATA_DIR=/data
# The base image's own "nonroot", by number, so that orchestrators can see that it is not root.
USER 65532:65532
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s \
    CMD ["/usr/bin/python3.11", "-m", "hitobit_portal.http.healthcheck", "8000"]
# Every command of manage.py: run_portal, run_gateway, send_notices --loop, migrate, ... (see compose.yaml)
ENTRYPOINT ["/usr/bin/python3.11", "manage.py"]
CMD ["run_portal", "--host", "0.0.0.0"]
