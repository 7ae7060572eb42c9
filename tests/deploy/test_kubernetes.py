"""The manifests of deploy/kubernetes: kustomize renders them, schemas take them, and the code knows all in them."""

import argparse
import functools
import http.client
import io
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.core.management import call_command, get_commands, load_command_class

from accounts.management.commands.run_portal import STOP_SECONDS
from apikeys.gateway.supervisor import KILL_SECONDS
from hitobit_portal.config import declarations as declared
from tests.portal.test_settings import manage
from tests.support import dockerfiles, kubernetes, production
from tests.support.dns import Dns
from tests.support.documented_machine import blocks
from tests.support.kubernetes import BASE, MONITORING, PRODUCTION, SECRETS, file_of, kustomize
from tests.support.portal_nginx import HOST, Nginx, certificate, replaced
from tests.support.production import ROOT
from tests.support.servers import free_port

#: The oldest version that has all of it (`sleep` before a container stops), and the newest one.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
#: Of the Prometheus operator; the other kinds are Kubernetes' own.
OPERATOR = {"ServiceMonitor", "PrometheusRule", "Probe"}
COMPONENT = "app.kubernetes.io/component"
IMAGE = "registry.example.com/hitobit-portal:1"
Object = dict[str, Any]


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What `kubectl apply -k` would send for the production overlay."""
    return kustomize(PRODUCTION)


@pytest.fixture(scope="module")
def pods(objects: list[Object]) -> dict[str, Object]:
    """The templates of pods by component."""
    results = {}
    for each in objects:
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            results[template["metadata"]["labels"][COMPONENT]] = template
    return results


def named(objects: list[Object], kind: str, name: str) -> Object:
    return next(
        each
        for each in objects
        if each["kind"] == kind and re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", each["metadata"]["name"])
    )


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def of_the_portal(pods: dict[str, Object]) -> dict[str, Object]:
    return {name: pod for name, pod in pods.items() if pod["spec"]["containers"][0]["image"] == IMAGE}


def settings_of(objects: list[Object]) -> dict[str, str]:
    return dict(named(objects, "ConfigMap", "settings")["data"])


# --- Rendered and valid -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", kubernetes.MADE, ids=lambda path: path.name)
def test_what_is_made_from_other_files_is_up_to_date(path: Path) -> None:
    made = kubernetes.MADE[path]()
    assert path.read_text(encoding="utf-8") == made, "run `python -m tests.support.kubernetes --write`"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_kubernetes_take_each_object(
    objects: list[Object], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It reads all definitions, several megabytes, for each object.
    cached = functools.cache(kubernetes_validate.utils.schema_contents)
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", cached)
    checked = [each for each in objects if each["kind"] not in OPERATOR]
    assert len(checked) > 25
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)
    operators = [each for each in objects if each["kind"] in OPERATOR]
    assert {each["apiVersion"] for each in operators} == {"monitoring.coreos.com/v1"}


def test_a_misspelled_field_would_be_refused(objects: list[Object]) -> None:
    wrong = json.loads(json.dumps(named(objects, "Deployment", "portal")))
    wrong["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("base/kustomization.yaml", "gateway.yaml", "gateways.yaml"),
        ("overlays/production/kustomization.yaml", "files: [names.inc]", "files: [name.inc]"),
        ("overlays/production/scale.yaml", "name: gateway", "name: gateways"),
    ],
)
def test_a_file_or_object_that_does_not_exist_would_be_found(
    file: str, old: str, new: str, tmp_path: Path
) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(kubernetes.DIRECTORY, copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(new.split("[")[-1].rstrip("]").removeprefix("name: "))):
        kustomize(copy / "overlays/production")


def test_every_file_belongs_to_something() -> None:
    for directory in (BASE, MONITORING, PRODUCTION):
        text = (directory / "kustomization.yaml").read_text(encoding="utf-8")
        files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
        assert {name for name in files if name not in text} == {"kustomization.yaml"}


# --- Settings and secrets ---------------------------------------------------------------------------------------------


def test_every_setting_is_there_and_every_name_is_a_setting(objects: list[Object]) -> None:
    given = set(settings_of(objects))
    assert {name.removesuffix("_FILE") for name in given} <= declared.NAMES
    listed = set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", (BASE / "settings.env").read_text(encoding="utf-8")))
    assert {name.removesuffix("_FILE") for name in listed} == declared.NAMES - kubernetes.OF_THE_IMAGE
    for name in declared.SECRETS:
        assert f"{name}_FILE" in given
        assert name not in given


def test_settings_of_an_overlay_are_known_ones() -> None:
    text = (PRODUCTION / "settings.env").read_text(encoding="utf-8")
    names = {
        line.partition("=")[0] for line in text.splitlines() if line.strip() and not line.startswith("#")
    }
    assert names <= declared.NAMES - declared.SECRETS


def test_secrets_are_referenced_and_nowhere_written(objects: list[Object], pods: dict[str, Object]) -> None:
    assert not [each for each in objects if each["kind"] == "Secret"]
    files = {file_of(setting) for setting in declared.SETTINGS if setting.secret}
    for name, pod in of_the_portal(pods).items():
        volume = next(each for each in pod["spec"]["volumes"] if "secret" in each)["secret"]
        assert volume["secretName"] == "portal", name
        assert {item["key"] for item in volume["items"]} == files
        assert all(item["key"] == item["path"] for item in volume["items"])
        assert volume["defaultMode"] == 0o440
        for container in containers(pod):
            assert "env" not in container
            mounted = [each for each in container["volumeMounts"] if each["name"] == "secrets"]
            assert [(each["mountPath"], each["readOnly"]) for each in mounted] == [(str(SECRETS), True)]
    for name, value in settings_of(objects).items():
        assert name.endswith("_FILE") == value.startswith(f"{SECRETS}/"), name


def test_each_process_has_the_settings(objects: list[Object], pods: dict[str, Object]) -> None:
    name = named(objects, "ConfigMap", "settings")["metadata"]["name"]
    for pod in of_the_portal(pods).values():
        for container in containers(pod):
            assert container["envFrom"] == [{"configMapRef": {"name": name}}]


@pytest.fixture(scope="module")
def documented_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the first commands of docs/kubernetes.md make."""
    directory = tmp_path_factory.mktemp("secrets")
    make, _create = blocks("kubernetes-secrets", ROOT / "docs/kubernetes.md")
    subprocess.run(["sh", "-euc", make], cwd=directory, check=True)
    return directory


def test_documented_secrets_are_those_that_the_pods_mount(
    documented_secrets: Path, pods: dict[str, Object]
) -> None:
    certificate(documented_secrets)
    (documented_secrets / "tls-certificate").rename(documented_secrets / "fullchain.pem")
    (documented_secrets / "tls-key").rename(documented_secrets / "key.pem")
    _make, create = blocks("kubernetes-secrets", ROOT / "docs/kubernetes.md")
    made = {}
    for line in create.splitlines():
        words = [kubernetes.kubectl(), *line.split()[1:], "--dry-run=client", "--output=yaml"]
        result = subprocess.run(words, cwd=documented_secrets, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        secret = yaml.safe_load(result.stdout)
        made[secret["metadata"]["name"]] = set(secret["data"])
    assert made["portal"] == {file_of(setting) for setting in declared.SETTINGS if setting.secret}
    assert made["front-tls"] == {"tls.crt", "tls.key"}
    mounted = {
        volume["secret"]["secretName"]
        for pod in pods.values()
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted == set(made)


def test_the_settings_stand_the_check_for_deployment(
    objects: list[Object], documented_secrets: Path, tmp_path: Path
) -> None:
    for name in ("kavenegar-api-key", "smsir-api-key"):
        (documented_secrets / "secrets" / name).write_text("a key")
    values: dict[str, str | None] = dict.fromkeys(production.settings(tmp_path))
    values |= {
        name: value.replace(str(SECRETS), str(documented_secrets / "secrets"))
        for name, value in settings_of(objects).items()
    }
    values["DJANGO_SETTINGS_MODULE"] = "hitobit_portal.settings"
    result = manage(tmp_path, values, "check", "--deploy", "--fail-level", "WARNING")
    assert result.returncode == 0, result.stderr


def test_processes_are_the_most_workers_that_there_can_be(
    objects: list[Object], pods: dict[str, Object]
) -> None:
    def workers(name: str) -> int:
        return int(pods[name]["spec"]["containers"][0]["args"][-1])

    for rendered in (objects, kustomize(BASE)):
        most = named(rendered, "HorizontalPodAutoscaler", "portal")["spec"]["maxReplicas"]
        surge = named(rendered, "Deployment", "portal")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        expected = (most + surge) * workers("portal") + workers("metrics")
        assert int(settings_of(rendered)["PORTAL_PROCESSES"]) == expected
    # docs/kubernetes.md says how many connections PostgreSQL has to accept.
    gateways = named(objects, "HorizontalPodAutoscaler", "gateway")["spec"]["maxReplicas"] + 1
    notices = named(objects, "Deployment", "notices")["spec"]["replicas"] + 1
    jobs = sum(each["kind"] in ("Job", "CronJob") for each in objects)
    processes = int(settings_of(objects)["PORTAL_PROCESSES"])
    others = notices + jobs
    connections = 16 * processes + 6 * workers("gateway") * gateways + 2 * others
    assert f"16 × {processes} + 6 × {workers('gateway')} × {gateways} + 2 × {others} = {connections}." in (
        ROOT / "docs/kubernetes.md"
    ).read_text(encoding="utf-8")


# --- Pods -------------------------------------------------------------------------------------------------------------


def test_everything_that_has_to_run_does(pods: dict[str, Object]) -> None:
    commands = {name: pod["spec"]["containers"][0].get("args", [""])[0] for name, pod in pods.items()}
    assert commands == {
        "front": "", "portal": "run_portal", "gateway": "run_gateway", "notices": "send_notices",
        "metrics": "run_portal", "migrate": "migrate", "tick": "tick", "verify-audit": "verify_audit",
    }  # fmt: skip


def test_commands_and_their_options_exist(pods: dict[str, Object]) -> None:
    commands = get_commands()
    for pod in of_the_portal(pods).values():
        for container in containers(pod):
            name, *options = container["args"]
            application = commands[name]
            command = load_command_class(application, name) if isinstance(application, str) else application
            try:
                with redirect_stderr(io.StringIO()) as errors:
                    command.create_parser("manage.py", name).parse_args(options)
            except (SystemExit, argparse.ArgumentError):
                pytest.fail(f"{container['args']}: {errors.getvalue()}")


def test_nothing_runs_as_root_or_could_become_it(pods: dict[str, Object]) -> None:
    _, stages = dockerfiles.parse(ROOT / "Dockerfile")
    (user,) = stages[1].all("USER")
    for name, pod in pods.items():
        spec = pod["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        if name != "front":
            assert f"{security['runAsUser']}:{security['runAsGroup']}" == user, name
        assert security["fsGroup"] == security["runAsGroup"], "or it could not read its secrets"
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert {"requests", "limits"} <= set(container["resources"])


def test_the_image_can_live_with_it(pods: dict[str, Object]) -> None:
    """Nothing but /tmp can be written, as in tests/deploy/test_image.py, and no mount hides what the image has."""
    _, stages = dockerfiles.parse(ROOT / "Dockerfile")
    of_the_image = {text.split()[-1] for text in stages[1].all("COPY")}
    for pod in of_the_portal(pods).values():
        kinds = {volume["name"]: set(volume) - {"name"} for volume in pod["spec"]["volumes"]}
        assert kinds == {"secrets": {"secret"}, "tmp": {"emptyDir"}}
        # SECURITY of the start: a Service called "portal" would set PORTAL_PORT, which is no setting.
        assert pod["spec"]["enableServiceLinks"] is False
        for container in containers(pod):
            mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
            assert mounts == {str(SECRETS): "secrets", "/tmp": "tmp"}
            assert not [
                path for path in mounts for own in of_the_image if Path(own).is_relative_to(Path(path))
            ]
            assert "command" not in container, "the image's entry point is manage.py"


def test_ports_are_those_of_the_servers_everywhere(objects: list[Object], pods: dict[str, Object]) -> None:
    _, stages = dockerfiles.parse(ROOT / "Dockerfile")
    exposed = {int(word) for text in stages[1].all("EXPOSE") for word in text.split()}
    expected = {
        "portal": declared.PORT.default, "metrics": declared.PORT.default,
        "gateway": int(settings_of(objects)["PORTAL_GATEWAY_PORT"]),
    }  # fmt: skip
    assert set(expected.values()) == exposed
    for name, port in expected.items():
        container = pods[name]["spec"]["containers"][0]
        assert [each["containerPort"] for each in container["ports"]] == [port]
        assert "--port" not in container["args"]
        assert container["args"][1:3] == ["--host", "0.0.0.0"]
    front = {each["name"]: each["containerPort"] for each in pods["front"]["spec"]["containers"][0]["ports"]}
    text = (BASE / "front/portal.conf").read_text(encoding="utf-8")
    assert {int(port) for port in re.findall(r"listen (\d+)", text)} == set(front.values())
    for service in (each for each in objects if each["kind"] == "Service"):
        component = service["spec"]["selector"][COMPONENT]
        names = {
            each["name"]: each["containerPort"] for each in pods[component]["spec"]["containers"][0]["ports"]
        }
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in names
            if component != "front":
                assert port["port"] == names[port["targetPort"]]


def test_probes_ask_what_the_servers_answer_and_an_outage_takes_nobody_out(pods: dict[str, Object]) -> None:
    for name in ("portal", "gateway", "metrics"):
        container = pods[name]["spec"]["containers"][0]
        paths = {
            kind: container[f"{kind}Probe"]["httpGet"]["path"]
            for kind in ("startup", "readiness", "liveness")
        }
        # /readyz asks the database, which all pods share.
        assert paths == {"startup": "/readyz", "readiness": "/healthz", "liveness": "/healthz"}
        for kind in paths:
            assert container[f"{kind}Probe"]["httpGet"]["port"] in {
                each["name"] for each in container["ports"]
            }
            assert container[f"{kind}Probe"]["timeoutSeconds"] > 2, "/readyz answers within 2 seconds"


def test_pods_serve_after_they_left_and_have_the_time_to_end(pods: dict[str, Object]) -> None:
    needed = {"portal": STOP_SECONDS, "gateway": KILL_SECONDS, "front": 30}
    for name, seconds in needed.items():
        spec = pods[name]["spec"]
        before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        # The front asks DNS again after 5 seconds.
        assert before >= 10
        assert spec["terminationGracePeriodSeconds"] > before + seconds


def test_servers_wait_for_the_migration_that_a_job_makes(
    objects: list[Object], pods: dict[str, Object]
) -> None:
    for name in ("portal", "gateway", "notices", "metrics"):
        (first,) = pods[name]["spec"]["initContainers"]
        assert (first["image"], first["args"]) == (IMAGE, ["migrate", "--check"])
    assert pods["migrate"]["spec"]["containers"][0]["args"] == ["migrate", "--noinput"]
    assert named(objects, "Job", "migrate")["spec"]["ttlSecondsAfterFinished"] > 60


@pytest.mark.django_db
def test_the_wait_ends_when_all_migrations_were_applied() -> None:
    from django.db.migrations.recorder import MigrationRecorder

    call_command("migrate", "--check")
    MigrationRecorder.Migration.objects.filter(app="apikeys").latest("pk").delete()
    with pytest.raises(SystemExit) as ended:
        call_command("migrate", "--check", verbosity=0)
    assert ended.value.code == 1


# --- Objects about other objects --------------------------------------------------------------------------------------


def selected(selector: Object, pods: dict[str, Object]) -> set[str]:
    """The components that a selector of pods names."""
    names = set(pods)
    if COMPONENT in selector.get("matchLabels", {}):
        names &= {selector["matchLabels"][COMPONENT]}
    for expression in selector.get("matchExpressions", ()):
        assert (expression["key"], expression["operator"]) == (COMPONENT, "In")
        assert set(expression["values"]) <= names
        names &= set(expression["values"])
    return names


def test_selectors_and_targets_exist(objects: list[Object], pods: dict[str, Object]) -> None:
    for each in objects:
        kind, spec = each["kind"], each.get("spec", {})
        if kind in ("Deployment", "PodDisruptionBudget"):
            assert selected(spec["selector"], pods) == {each["metadata"]["name"]}
        if kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            assert "replicas" not in named(objects, target["kind"], target["name"])["spec"]
            assert spec["minReplicas"] >= 2
        if kind == "ServiceMonitor":
            (service,) = [
                other
                for other in objects
                if other["kind"] == "Service"
                and other["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
            ]
            ports = {port["name"] for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in spec["endpoints"]} <= ports
    budgets = {each["metadata"]["name"] for each in objects if each["kind"] == "PodDisruptionBudget"}
    assert budgets == {"front", "portal", "gateway", "notices"}
    scaled = {each["metadata"]["name"] for each in objects if each["kind"] == "HorizontalPodAutoscaler"}
    assert scaled == {"portal", "gateway"}
    assert {each["metadata"].get("namespace") for each in objects} == {None, "portal"}


def test_network_policies_let_in_and_out_what_is_needed(
    objects: list[Object], pods: dict[str, Object]
) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "NetworkPolicy"}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    incoming: dict[str, set[tuple[str, int]]] = {}
    outgoing: dict[str, set[int]] = {}
    for name, policy in policies.items():
        for component in selected(policy["podSelector"], pods):
            for rule in policy.get("ingress", ()):
                for port in rule["ports"]:
                    incoming.setdefault(component, set()).add((_peer(rule), port["port"]))
            for rule in policy.get("egress", ()):
                ports = {port["port"] for port in rule["ports"]}
                outgoing.setdefault(component, set()).update(ports if name != "dns" else ())
    assert incoming == {
        "front": {("anybody", 8443), ("anybody", 8080)},
        "portal": {("front", 8000)},
        "gateway": {("portal-gateway-client=true", 8001), ("kubernetes.io/metadata.name=monitoring", 8001)},
        "metrics": {("kubernetes.io/metadata.name=monitoring", 8000)},
    }
    database, internet = {5432, 6379}, {443, 465, 587}
    assert outgoing == {
        "front": {8000}, "portal": database | internet, "notices": database | internet, "tick": database | internet,
        "gateway": database, "metrics": database, "migrate": database, "verify-audit": database,
    }  # fmt: skip


def _peer(rule: Object) -> str:
    if "from" not in rule:
        return "anybody"
    (peer,) = rule["from"]
    if "podSelector" in peer:
        return str(peer["podSelector"]["matchLabels"][COMPONENT])
    ((key, value),) = peer["namespaceSelector"]["matchLabels"].items()
    return f"{key}={value}"


def test_prometheus_scrapes_one_server_of_the_portal_and_each_gateway(objects: list[Object]) -> None:
    scraped = {}
    for monitor in (each for each in objects if each["kind"] == "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        assert (endpoint["path"], endpoint["authorization"]["credentials"]) == (
            "/metrics", {"name": "metrics-token", "key": "token"},
        )  # fmt: skip
        (job,) = endpoint["relabelings"]
        scraped[job["replacement"]] = monitor["spec"]["selector"]["matchLabels"][COMPONENT]
    assert scraped == {"portal": "metrics", "portal-gateway": "gateway"}
    metrics = named(objects, "Deployment", "metrics")["spec"]
    assert (metrics["replicas"], metrics["strategy"]) == (1, {"type": "Recreate"})
    probe = named(objects, "Probe", "portal-probe")["spec"]
    assert probe["targets"]["staticConfig"]["static"] == [f"{settings_of(objects)['PORTAL_BASE_URL']}/login/"]
    jobs = {*scraped, probe["jobName"]}
    rules = (MONITORING / "rules.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r'job="([^"]+)"', rules)) == jobs


# --- The front --------------------------------------------------------------------------------------------------------


def test_the_front_has_the_name_that_the_portal_has(objects: list[Object], pods: dict[str, Object]) -> None:
    host = settings_of(objects)["PORTAL_BASE_URL"].removeprefix("https://")
    front = named(objects, "ConfigMap", "front")
    assert f"server_name {host};" in front["data"]["names.inc"]
    namespace = named(objects, "Namespace", "portal")["metadata"]["name"]
    upstream = f"portal-pods.{namespace}.svc.cluster.local:{declared.PORT.default}"
    assert f"set $portal_upstream {upstream};" in front["data"]["names.inc"]
    assert named(objects, "Service", "portal-pods")["spec"]["clusterIP"] == "None"
    spec = pods["front"]["spec"]
    (configuration,) = [volume["configMap"] for volume in spec["volumes"] if "configMap" in volume]
    assert configuration["name"] == front["metadata"]["name"]
    mounts = {each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    assert mounts == {"/etc/nginx/conf.d", "/run/secrets/tls", "/tmp"}


class Pod(BaseHTTPRequestHandler):
    """Says which pod it is and what arrived. Each pod has one static file: its own."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        own = str(self.connection.getsockname()[0])
        if self.path.startswith("/static/") and own not in self.path:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({"pod": own, "headers": dict(self.headers.items())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_arguments: Any) -> None:
        pass


class Cluster:
    """Three pods of the portal, a DNS that knows them, and the front's nginx as the overlay configures it."""

    def __init__(self, directory: Path, front: Object) -> None:
        port = free_port()
        self.pods = {
            address: ThreadingHTTPServer((address, port), Pod)
            for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        }
        for server in self.pods.values():
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.dns = Dns("portal-pods.portal.svc.cluster.local", list(self.pods))
        self.tls, self.plain = free_port(), free_port()
        self.secrets = directory / "tls"
        self.secrets.mkdir()
        self.renew()
        (directory / "names.inc").write_text(
            replaced(
                front["data"]["names.inc"],
                {
                    "kube-dns.kube-system.svc.cluster.local valid=5s": f"127.0.0.1:{self.dns.port} valid=1s",
                    ":8000": f":{port}",
                },
            )
        )
        text = replaced(
            front["data"]["portal.conf"],
            {
                "listen 8080": f"listen 127.0.0.1:{self.plain}",
                "listen 8443": f"listen 127.0.0.1:{self.tls}",
                "/etc/nginx/conf.d": str(directory),
                "/run/secrets/tls": str(self.secrets),
                "/dev/stdout": f"{directory}/access.log",
                "/dev/stderr": f"{directory}/error.log",
                "/var/lib/portal": f"{directory}/none",
            },
        )
        self.nginx = Nginx(directory, text)

    def renew(self) -> None:
        """What cert-manager and the kubelet do."""
        certificate(self.secrets)
        (self.secrets / "tls-certificate").replace(self.secrets / "tls.crt")
        (self.secrets / "tls-key").replace(self.secrets / "tls.key")

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(self.secrets / "tls.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=10, context=context)
        raw = socket.create_connection(("127.0.0.1", self.tls), 10)
        connection.sock = context.wrap_socket(raw, server_hostname=HOST)
        connection.request(
            method, path, body=b"a=b" if method == "POST" else None, headers={"Host": HOST, **headers}
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, json.loads(body) if answer.status == 200 else body

    def answering(self, method: str = "GET", times: int = 12) -> set[str]:
        """The pods that answer; each request has to get an answer."""
        answers = [self.ask("/login/", method) for _ in range(times)]
        assert {status for status, _ in answers} == {200}, self.nginx.errors
        return {body["pod"] for _, body in answers}


@pytest.fixture
def cluster(tmp_path: Path, objects: list[Object]) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, named(objects, "ConfigMap", "front"))
    with cluster.dns, cluster.nginx:
        yield cluster
    for server in cluster.pods.values():
        server.shutdown()
        server.server_close()


def test_the_front_asks_all_pods_that_dns_names_and_says_who_calls(cluster: Cluster) -> None:
    assert cluster.answering() == set(cluster.pods)
    forged = {
        "X-Forwarded-For": "198.51.100.1",
        "X_Forwarded_For": "198.51.100.2",
        "X-Forwarded-Proto": "http",
    }
    _, body = cluster.ask("/keys/", **forged)
    headers = {name.lower(): value for name, value in body["headers"].items()}
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "https")
    assert "x_forwarded_for" not in headers
    for path in ("/metrics", "/readyz", "/gateway/v1/auth"):
        assert cluster.ask(path)[0] == 404


def test_a_static_file_that_one_pod_alone_has_is_found(cluster: Cluster) -> None:
    """During an upgrade pods of both versions serve, and nobody else has the files of the other version."""
    for pod in cluster.pods:
        for _ in range(4):
            status, body = cluster.ask(f"/static/{pod}.css")
            assert (status, body and body["pod"]) == (200, pod)
    assert cluster.ask("/static/none.css")[0] == 404


def test_a_pod_that_is_gone_loses_no_request_and_one_that_left_dns_gets_none(cluster: Cluster) -> None:
    gone = cluster.pods["127.0.0.2"]
    gone.shutdown()
    gone.server_close()
    assert cluster.answering() == cluster.answering("POST") == {"127.0.0.1", "127.0.0.3"}
    cluster.dns.addresses = ["127.0.0.3"]
    deadline = time.monotonic() + 15
    while (answering := cluster.answering()) != {"127.0.0.3"}:
        assert time.monotonic() < deadline, answering
        time.sleep(0.2)


def test_the_front_uses_a_renewed_certificate_and_answers_probes(cluster: Cluster) -> None:
    before = (cluster.secrets / "tls.crt").read_bytes()
    assert cluster.ask("/login/")[0] == 200
    cluster.renew()
    assert (cluster.secrets / "tls.crt").read_bytes() != before
    assert cluster.ask("/login/")[0] == 200, "the client trusts the new certificate alone"
    for path, status, location in (
        ("/healthz", 200, None),
        ("/login/?a=b", 308, f"https://{HOST}/login/?a=b"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", cluster.plain, timeout=10)
        connection.request("GET", path, headers={"Host": HOST})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (status, location)
        connection.close()


def test_the_documented_commands_run_the_image_s_interpreter() -> None:
    assert dockerfiles.INTERPRETER in (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
