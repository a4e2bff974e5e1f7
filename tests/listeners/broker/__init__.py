"""A real Apache Kafka for the tests: one node (KRaft), with the logins of SCiMMA and GCN.

``python -m tests.listeners.broker`` fetches the jars once, by Maven; needs Java 17 and
``mvn``. Where they are absent, the tests that need them are skipped and say so.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from listeners.connections import Connection, kafka

QUICK = {"group.protocol": "consumer", "topic.metadata.refresh.interval.ms": 1000}
"""Members join at once, and a new topic is seen within a second."""
USER, PASSWORD = "mmcoord-test", "correct horse"
_JARS = Path(
    os.environ.get("MMCOORD_KAFKA_JARS", Path.home() / ".cache" / "mmcoord-tests" / "kafka-4.1.1")
)
_LISTENERS = {
    "scram": "SASL_PLAINTEXT",
    "plain": "PLAINTEXT",
    "oauth": "SASL_PLAINTEXT",
    "scramtls": "SASL_SSL",
    "oauthtls": "SASL_SSL",
    "controller": "PLAINTEXT",
}
"""Name of each listener, and how it is reached."""
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners={listeners},CONTROLLER://{host}:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER
{logins}
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server.pem
log.dir={log_dir}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
message.max.bytes=8388608
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=2000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
auto.create.topics.enable=false
num.partitions=1
"""
_SCRAM = """\
listener.name.{name}.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.{name}.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;"""
_OAUTH = """\
listener.name.{name}.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.{name}.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub="broker";
listener.name.{name}.oauthbearer.connections.max.reauth.ms=3000"""


def why_not() -> str:
    """Why no broker can be started here; empty if one can."""
    for program in ("java", "openssl"):
        if shutil.which(program) is None:
            return f"no program {program!r}"
    if not is_fetched():
        return f"no Kafka in {_JARS}; fetch it with: python -m tests.listeners.broker"
    return ""


def is_fetched() -> bool:
    """Whether the jars are in the cache."""
    return bool(list(_JARS.glob("kafka_2.13-*.jar")))


def fetch() -> None:
    """Copy Kafka and what it needs into the cache, by Maven."""
    _JARS.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *("mvn", "-q", "-B", "-f", str(Path(__file__).with_name("pom.xml"))),
            *("dependency:copy-dependencies", f"-DoutputDirectory={_JARS}"),
        ],
        check=True,
        timeout=900,
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Certificates:
    """A throw-away certificate authority, and a server's certificate that it signed.

    ``authority`` is what a client trusts; ``server`` holds the key and the certificate, as
    Kafka and Python's ``ssl`` read them; ``stranger`` is another authority, which signed
    nothing here.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self.authority = folder / "authority.pem"
        self.server = folder / "server.pem"
        self.stranger = folder / "stranger.pem"
        key, request, signed = (folder / name for name in ("key.pem", "request", "signed.pem"))
        for authority in (self.authority, self.stranger):
            _openssl(
                *("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"),
                *("-subj", f"/CN={authority.stem} for tests"),
                *("-keyout", f"{authority}.key", "-out", authority),
            )
        _openssl(
            *("req", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=broker for tests"),
            *("-addext", f"subjectAltName=IP:{host},DNS:localhost"),
            *("-keyout", key, "-out", request),
        )
        _openssl(
            *("x509", "-req", "-days", "2", "-copy_extensions", "copy", "-in", request),
            *("-CA", self.authority, "-CAkey", f"{self.authority}.key", "-out", signed),
        )
        self.server.write_text(key.read_text() + signed.read_text() + self.authority.read_text())


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


class Broker:
    """A broker that can be killed and started again on the same ports with the same data."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.ports = dict(zip(_LISTENERS, _free_ports(len(_LISTENERS)), strict=True))
        self.process: subprocess.Popen[bytes] | None = None
        self.certificates = Certificates(folder, host)
        self._properties = folder / "server.properties"
        self._properties.write_text(self._text())
        # 16 bytes that begin with a letter: the tool takes a leading "-" for an option.
        identity = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        subprocess.run(
            [
                *(*self._java(), "kafka.tools.StorageTool", "format", "--standalone"),
                *("-t", identity, "-c", str(self._properties)),
                *("-S", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
            ],
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.start()

    def _text(self) -> str:
        """The broker's settings."""
        clients = [name for name in _LISTENERS if name != "controller"]
        return _PROPERTIES.format(
            host=self.host,
            controller=self.ports["controller"],
            listeners=",".join(f"{name.upper()}://{self.address(name)}" for name in clients),
            protocols=",".join(f"{name.upper()}:{kind}" for name, kind in _LISTENERS.items()),
            logins="\n".join(
                [_SCRAM.format(name=name) for name in clients if name.startswith("scram")]
                + [_OAUTH.format(name=name) for name in clients if name.startswith("oauth")]
            ),
            certificates=self.folder,
            log_dir=self.folder / "log",
        )

    @staticmethod
    def _java() -> list[str]:
        return ["java", "-Xms256m", "-Xmx512m", "-cp", f"{_JARS}/*"]

    def address(self, listener: str) -> str:
        return f"{self.host}:{self.ports[listener]}"

    def start(self) -> None:
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [*self._java(), "kafka.Kafka", str(self._properties)], stdout=log, stderr=log
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin().list_topics(timeout=2)
                return
            except KafkaException:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "Kafka did not start"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def admin(self) -> AdminClient:
        quiet = {"log_level": 0, "error_cb": lambda error: None}
        return AdminClient({"bootstrap.servers": self.address("plain"), **quiet})

    def create(self, topic: str, partitions: int = 1) -> None:
        admin = self.admin()  # lives until the answer is there
        for made in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
            made.result(20)

    def delete_before(self, topic: str, offset: int) -> None:
        """Delete records of partition 0, as retention does."""
        admin = self.admin()
        (deleted,) = admin.delete_records([TopicPartition(topic, 0, offset)]).values()
        assert deleted.result(20).low_watermark == offset

    def committed(self, group: str, topic: str, partitions: int = 1) -> dict[int, int]:
        """Partition -> next offset, as the broker remembers it for a group."""
        consumer = Consumer({"bootstrap.servers": self.address("plain"), "group.id": group})
        try:
            places = [TopicPartition(topic, number) for number in range(partitions)]
            return {p.partition: p.offset for p in consumer.committed(places, timeout=20)}
        finally:
            consumer.close()


def plain(broker: Broker) -> Connection:
    """The broker without a login."""
    return kafka(broker.address("plain"), broker="real", config=QUICK)


def send(broker: Broker, topic: str, *payloads: bytes, **more: Any) -> None:
    """Send and wait until the broker has it all."""
    producer = Producer({"bootstrap.servers": broker.address("plain"), "linger.ms": 0})
    failures: list[object] = []
    for payload in payloads:
        producer.produce(
            topic,
            payload,
            on_delivery=lambda error, _: failures.append(error) if error else None,
            **more,
        )
    assert producer.flush(30) == 0
    assert not failures


def numbered(first: int, last: int) -> list[bytes]:
    """Payloads ``first`` to ``last - 1``."""
    return [b"%d" % i for i in range(first, last)]


class TokenServer:
    """An OpenID Connect token endpoint that gives unsigned tokens of a short life.

    Stands for the one of GCN; the broker above takes unsigned tokens. It answers 401, as GCN's
    does, to a client that it does not know, and speaks TLS where certificates are given.
    """

    def __init__(
        self, lifetime_s: float, certificates: Certificates | None = None, *, refuses: bool = False
    ) -> None:
        self.requests: list[dict[str, list[str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                server.requests.append(urllib.parse.parse_qs(body))
                if refuses:
                    document: dict[str, object] = {"error": "invalid_client"}
                else:
                    document = {
                        "access_token": _unsigned_token(lifetime_s),
                        "token_type": "Bearer",
                        "expires_in": lifetime_s,
                    }
                answer = json.dumps(document).encode()
                self.send_response(401 if refuses else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certificates is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/oauth2/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _unsigned_token(lifetime_s: float) -> str:
    now = time.time()
    claims = {"sub": "client", "iat": now, "exp": now + lifetime_s, "scope": "test"}
    parts = ({"alg": "none"}, claims)
    encoded = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    return ".".join(encoded) + "."
