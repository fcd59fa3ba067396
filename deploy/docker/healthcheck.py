"""The image's health check: is the coordinator in this container ready? Says what is missing when it is not.

Copied into the image and run there by itself, so it uses the standard library only.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 10.0


def main() -> int:
    """Ask /readyz and print its answer; 0 when it is a 200, 1 otherwise."""
    port = int(os.environ.get("SAGA_METRICS__PORT", "9464"))  # every role listens there
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"nothing answers on port {port}: {error!r}")
        return 1
    return 0 if answer.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
