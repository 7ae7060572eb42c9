"""The exchange behind a proxy, for trials: answers with what it was received. ``python example_upstream.py 9000``."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Exchange(BaseHTTPRequestHandler):
    """Believes X-Portal-*, since nobody but the proxy reaches it."""

    protocol_version = "HTTP/1.1"

    def body_is_whole(self) -> bool:
        """Reads it; False when it breaks off."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return True
        while size := int(self.rfile.readline().partition(b";")[0].strip() or b"-1", 16):
            if size < 0 or len(self.rfile.read(size + 2)) < size + 2:
                return False
        return True

    def answer(self) -> None:
        if not self.body_is_whole():
            self.close_connection = True
            return
        received = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(
            {
                "path": self.path,
                "user": received.get("x-portal-user"),
                "subject": received.get("x-portal-subject"),
                "key": received.get("x-portal-key"),
                "permissions": received.get("x-portal-permissions"),
                "security": received.get("x-portal-security"),
                "client_ip": received.get("x-client-ip"),
                "underscores": sorted(name for name in received if "_" in name),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a query string holds a signature."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Exchange).serve_forever()
