"""Keeps a Kafka and a Postgres running until Ctrl-C: `python -m deploy.local [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from deploy.local.choice import LocalStackError
from deploy.local.stack import LocalStack


def main() -> int:
    """Start both, print how to use them, wait for the end."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the addresses to FILE; removed at the end")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with LocalStack() as stack:
            _show(stack, arguments.json)
            signal.pause()
    except LocalStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ended")
    finally:
        if arguments.json is not None:
            arguments.json.unlink(missing_ok=True)
    return 0


def _show(stack: LocalStack, file: Path | None) -> None:
    for name, value in stack.environment().items():
        print(f"export {name}={value}")
    if file is not None:
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(stack.facts(), indent=2) + "\n")
        unfinished.chmod(0o600)
        unfinished.rename(file)
        print(f"export SAGA_TEST_STACK_JSON={file.resolve()}")
    print(f"logs: {stack.run.path}")
    print("running; Ctrl-C ends it", flush=True)


if __name__ == "__main__":
    sys.exit(main())
