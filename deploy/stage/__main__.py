"""A stage on which docs/tour.md is played: `python -m deploy.stage`, which is `make stage`.

Kafka, Postgres, a coordinator that lets nobody in without a key, the participants of orders, and a Prometheus where one
can be had, until Ctrl-C. What takes minutes takes seconds here: timeouts of steps, and thresholds of alerts.

    python -m deploy.stage                    start all of it; `. .local/stage/env` in another shell says where it is
    python -m deploy.stage break shipping     from now on this participant takes its commands and does nothing
    python -m deploy.stage mend shipping      from now on it works again; what it let fall is gone
    python -m deploy.stage alerts             what fires, and the page that says what to do

Exit codes: 0 done, 1 it could not be done, 2 a wrong option, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import asyncpg

from deploy.demo.site import Site, usual_port
from deploy.demo.stories.order import order
from deploy.local.choice import LocalStackError, Say
from deploy.local.places import LOCAL, PROJECT
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async
from deploy.stage.monitor import firing, start_prometheus
from participants.kit.faults import clear_faults, set_fault

FOLDER: Final = LOCAL / "stage"
ENVIRONMENT: Final = FOLDER / "env"
FACTS: Final = FOLDER / "facts.json"
ADMINISTRATOR: Final = "ann"
KEY_S: Final = 60.0
# A participant that lets five commands in a row time out is silent; after three seconds it is tried again.
SETTINGS: Final = {"SAGA_FLOW__BREAKER_TIMEOUTS": "5", "SAGA_FLOW__BREAKER_PAUSE_SECONDS": "3"}
FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage, or do something to the one that runs, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.verb is None:
            return _run()
        facts = _facts()
        if options.verb == "alerts":
            _alerts(facts)
        else:
            _change(options.verb, options.participant, facts)
    except LocalStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.stage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb")
    for verb, words in (("break", "let a participant do nothing"), ("mend", "let it work again")):
        verbs.add_parser(verb, help=words).add_argument("participant", choices=order.participants)
    verbs.add_parser("alerts", help="say what fires")
    return parser


def _run() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.1f} s  {line}", flush=True)

    if FACTS.exists() and _lives(json.loads(FACTS.read_text())["pid"]):
        raise LocalStackError(
            "a stage is running already: `. .local/stage/env` says where, Ctrl-C in its shell ends it"
        )
    with LocalStack(say=say) as stack:
        site = Site(stack, [replace(order, settings=SETTINGS)], usual_port())
        try:
            site.set_up(say)
            with _described(stack, site, say):
                print("\neverything is up; Ctrl-C ends it. In another shell, in this folder:\n")
                print(f"    . {ENVIRONMENT.relative_to(PROJECT)}\n\nand go on with docs/tour.md", flush=True)
                _wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            site.tear_down()
    return 0


def _wait() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\nstopping", flush=True)


@contextmanager
def _described(stack: LocalStack, site: Site, say: Say) -> Iterator[None]:
    """Make the first key, start a Prometheus, and write down where everything is, while it is so."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    FOLDER.chmod(0o700)  # there are a key and a password
    try:
        token = _first_key(site)
        say(f"a key of {ADMINISTRATOR}, who may do everything")
        prometheus = _prometheus(stack, site, say)
        variables = {
            "SAGA_URL": site.api_url,
            "SAGA_KEY": token,
            "METRICS_URL": f"{site.metrics_url}/metrics",
            "PROMETHEUS_URL": prometheus,
        }
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        path = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"'
        ENVIRONMENT.write_text("\n".join([path, *lines, ""]))
        facts = {"pid": os.getpid(), "database_url": site.database_url, "prometheus_url": prometheus}
        FACTS.write_text(json.dumps({**facts, "metrics_url": variables["METRICS_URL"]}))
        yield
    finally:
        for file in (ENVIRONMENT, FACTS):
            file.unlink(missing_ok=True)


def _first_key(site: Site) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "coordinator", "keys", "bootstrap", ADMINISTRATOR],
        env={**os.environ, **site.environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=KEY_S,
        check=False,
    )
    if done.returncode:
        raise LocalStackError(f"no key could be made: {done.stderr}")
    return done.stdout.strip()


def _prometheus(stack: LocalStack, site: Site, say: Say) -> str:
    """The URL of a Prometheus, or nothing where there is none to be had."""
    say("Prometheus: from the PATH, or Debian's package")
    try:
        url = start_prometheus(stack, site.metrics_url.removeprefix("http://"))
    except LocalStackError as error:
        say(f"no Prometheus, so no alerts: {error}; the numbers they are about are at {site.metrics_url}/metrics")
        return ""
    say(f"Prometheus: {url}/alerts")
    return url


def _facts() -> dict[str, Any]:
    try:
        return dict(json.loads(FACTS.read_text()))
    except FileNotFoundError:
        raise LocalStackError("no stage is running: `make stage` starts one") from None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _alerts(facts: dict[str, Any]) -> None:
    if not facts["prometheus_url"]:
        raise LocalStackError(
            f"this stage has no Prometheus; the numbers are at {facts['metrics_url']}, what alerts say of them is in"
            " deploy/prometheus/alerts.yml"
        )
    for line in firing(facts["prometheus_url"]):
        print(line)


def _change(verb: str, participant: str, facts: dict[str, Any]) -> None:
    url = facts["database_url"]
    try:
        run_async(clear_faults(url, participant))
        if verb == "break":
            run_async(set_fault(url, participant, "drop"))
    except (asyncpg.PostgresError, OSError) as error:
        raise LocalStackError(f"{participant} could not be told: {error}") from error
    print(f"{participant} " + ("takes its commands and does nothing" if verb == "break" else "works again"))


if __name__ == "__main__":
    sys.exit(main())
