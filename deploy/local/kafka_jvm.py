"""Real Apache Kafka, one KRaft node, straight on the local JVM; its jars come from Maven once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from deploy.local.broker import KAFKA_VERSION, Broker
from deploy.local.choice import LocalStackError, Say, Unavailable
from deploy.local.places import LOCAL, RunDirectory, locked
from deploy.local.processes import Child, Processes, free_port

FILES = Path(__file__).parent / "jvm"
NEEDED_JAVA = 17
START_TIMEOUT_S = 90.0
FETCH_TIMEOUT_S = 600.0
STARTED = r"Kafka Server started"
JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
log.cleaner.dedupe.buffer.size=16777216
"""


class JvmBroker(Broker):
    """An Apache Kafka broker that runs as our child on the local JVM."""

    kind = "jvm"
    durable = True

    def __init__(self, java: Path, java_version: int, libraries: Path, processes: Processes, home: Path) -> None:
        port = free_port()
        super().__init__(
            f"127.0.0.1:{port}",
            f"Apache Kafka {KAFKA_VERSION} (KRaft, one node) on Java {java_version} at 127.0.0.1:{port}",
        )
        self._processes = processes
        self._properties = home / "server.properties"
        self._properties.write_text(
            SERVER_PROPERTIES.format(port=port, controller_port=free_port(), logs=home / "logs")
        )
        self._java = [
            str(java),
            *JAVA_OPTIONS,
            f"-Dlog4j2.configurationFile={FILES / 'log4j2.properties'}",
            "-cp",
            f"{libraries}/*",
        ]
        self._format()
        self._child = self._launch()

    def stop(self) -> None:
        """Shut it down in order (SIGTERM)."""
        self._child.stop(grace_s=30)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._child.kill()

    def start(self) -> None:
        """Start it again on the same port and log directory."""
        if self._child.exit_code is None:
            raise LocalStackError("Kafka is running already; stop or kill it first")
        self._child = self._launch()

    def pause(self) -> None:
        """Freeze it with SIGSTOP."""
        self._child.pause()

    def resume(self) -> None:
        """Let it go on with SIGCONT."""
        self._child.resume()

    def close(self) -> None:
        """End it without the seconds that an orderly shutdown takes: its data goes away with it."""
        self._child.stop(signal.SIGKILL)

    def _format(self) -> None:
        done = subprocess.run(
            [*self._java, "kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(self._properties)],
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"formatting Kafka's log directory failed: {_last_line(done.stdout + done.stderr)}")

    def _launch(self) -> Child:
        child = self._processes.start("kafka", [*self._java, "kafka.Kafka", self._properties])
        child.wait_for_line(STARTED, timeout_s=START_TIMEOUT_S)
        return child


def new_cluster_id() -> str:
    """A random UUID as Kafka writes it; never with a leading "-", which its tools take for an option."""
    while True:
        text = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def start_on_jvm(run: RunDirectory, processes: Processes, say: Say) -> JvmBroker:
    """Start a broker; raises Unavailable where Java or Maven are missing or too old."""
    java, version = _java()
    libraries = _libraries(say)
    try:
        return JvmBroker(java, version, libraries, processes, run.data("kafka"))
    except (LocalStackError, OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"the broker did not start: {error}") from error


def _java() -> tuple[Path, int]:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if not found:
        raise Unavailable("no java on the PATH")
    try:
        done = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{found} does not run: {error}") from error
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if done.returncode or not match:
        raise Unavailable(f"{found} -version does not tell a version")
    if int(match[1]) < NEEDED_JAVA:
        raise Unavailable(f"Java {match[1]} found, Kafka {KAFKA_VERSION} needs {NEEDED_JAVA}")
    return Path(found), int(match[1])


def _libraries(say: Say) -> Path:
    pom = FILES / "pom.xml"
    # Named by what is in it: a changed pom never meets the jars of an older one.
    folder = LOCAL / "kafka" / f"libs-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    with locked(LOCAL / "kafka" / "libs.lock"):
        if not folder.is_dir():
            _fetch(pom, folder, say)
    return folder


def _fetch(pom: Path, folder: Path, say: Say) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise Unavailable("Java is there, Maven (mvn) is not, and the jars were not fetched before")
    say(f"kafka: fetching Apache Kafka {KAFKA_VERSION} with Maven (about 43 MB, once)")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [
        *(maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"),
        *("-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"Maven did not fetch the jars within {FETCH_TIMEOUT_S:g} s") from error
    if done.returncode:
        raise Unavailable(f"Maven could not fetch the jars: {_first_error(done.stdout + done.stderr)}")
    unfinished.rename(folder)


def _first_error(output: str) -> str:
    errors = [line for line in output.splitlines() if "ERROR" in line]
    return (errors or [_last_line(output)])[0].strip()[:300]


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"
