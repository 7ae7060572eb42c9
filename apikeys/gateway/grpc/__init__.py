"""Envoy's gRPC form of an authorization request: ``envoy.service.auth.v3.Authorization/Check``.

- `messages`: the two messages of the call.
- `service`: the service, and the server that serves it beside HTTP.

Needs the packages in requirements-grpc.txt. Only `manage.py run_gateway --grpc-port` imports these modules.
"""

__all__ = ["messages", "service"]
