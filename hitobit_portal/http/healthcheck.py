"""``python -m hitobit_portal.http.healthcheck PORT [PATH]``: exit with 0 if the process answers 200. For containers."""

import http.client
import sys

SECONDS = 3.0


def answers(port: int, path: str = "/healthz") -> bool:
    """Return whether 127.0.0.1 answers 200 within `SECONDS`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not answers(int(sys.argv[1]), *sys.argv[2:3]))
