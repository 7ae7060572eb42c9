"""The authorization API: the exchange's gateways send signed requests over HTTP, and receive the decision.

It runs outside Django's request stack, in processes of its own (``make gateway``):

- `supervisor` starts `worker` processes; `app` builds the objects of a worker from the settings.
- `http` is the HTTP server. It passes requests to `endpoints`, which parses them (`requests`), checks the gateway's
  token (`tokens`), calls `authorizer` and formats the result (`responses`).
- `grpc` serves the same decisions as Envoy's ext_authz over gRPC, if its packages are installed.
- `authorizer` decides on the fast path (`fastpath`) from the key cache (`keycache`), or with `verification.decide`.
- `routes` parses the route table and renders it for each proxy.
- `metrics` measures a worker; `prometheus` renders the metrics; openapi.json describes the endpoints.
"""

__all__ = ["routes", "supervisor"]
