"""Events over MQTT, with a real broker: Debian's mosquitto on a loopback port, killed, restarted, slow and dead."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ecg_edge.runtime.events import Alert, Status
from ecg_edge.runtime.sinks import Undelivered, forward, queued
from ecg_edge.runtime.sinks.forward import StoreAndForward
from ecg_edge.runtime.sinks.mqtt import MqttCourier, MqttSettings
from ecg_edge.runtime.sinks.store import Message, Store

PATIENCE_S = 60.0  # a busy machine is slow and not wrong
TOPIC = "ecg-edge/bed-7"


def until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alert(seq: int) -> Alert:
    return Alert(
        seq=seq, time=seq, id="AF-1", phase="new", kind="rule", label="AF", priority="high", onset=0, leads=("II",),
        quality=1.0,
    )  # fmt: skip


def message(seq: int) -> Message:
    return Message(seq + 1, 3, "alert", json.dumps({"seq": seq}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto that can be killed and started again; what it keeps for subscribers it keeps on disk."""

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._command = [program, "-c", str(folder / "mosquitto.conf")]
        lines = (f"listener {self.port} 127.0.0.1", "user root", *(options or ("allow_anonymous true",)))
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._child: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._child = subprocess.Popen(self._command, stdout=quiet, stderr=quiet)
        until(self._listens)

    def kill(self) -> None:
        if self._child:
            self._child.kill()
            self._child.wait()
            self._child = None

    def stop(self, seconds: float) -> None:
        """Let it hang for so long, its connections open."""
        assert self._child
        self._child.send_signal(19)
        time.sleep(seconds)
        self._child.send_signal(18)

    def _listens(self) -> bool:
        assert self._child
        assert self._child.poll() is None, "mosquitto has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="module")
def paho() -> ModuleType:
    return pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (extra mqtt)")


@pytest.fixture
def broker_with(paho: ModuleType, tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
    if program is None:
        pytest.skip("no mosquitto: MQTT is not tested against a broker (Debian: mosquitto)")
    started: list[Broker] = []

    def start(*options: str) -> Broker:
        started.append(Broker(program, tmp_path, *options))
        return started[-1]

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture
def broker(broker_with: Callable[..., Broker]) -> Broker:
    return broker_with()


class Subscriber:
    """Keeps what is published below the topic, connecting again as often as need be."""

    def __init__(self, paho: ModuleType, port: int, name: str = "", password: str = "") -> None:
        self.got: list[tuple[str, Any, bool]] = []
        self.ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(0.05, 0.05)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{TOPIC}/#", qos=1)
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_disconnect = lambda *_: self.ready.clear()
        self._client.on_message = lambda _c, _d, m: self.got.append((m.topic, json.loads(m.payload), m.retain))
        if name:
            self._client.username_pw_set(name, password)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(self.ready.is_set)

    def events(self) -> list[int]:
        return [payload["seq"] for _, payload, _ in self.got if "seq" in payload]

    def states(self) -> list[str]:
        return [payload["state"] for topic, payload, _ in self.got if topic == f"{TOPIC}/monitor"]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listen(paho: ModuleType) -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(port: int, *login: str) -> Subscriber:
        made.append(Subscriber(paho, port, *login))
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()


@pytest.fixture
def forwarding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], StoreAndForward]]:
    monkeypatch.setattr(queued, "RETRY_S", (0.1,))
    monkeypatch.setattr(forward, "IDLE_S", 0.2)
    made: list[StoreAndForward] = []

    def make(port: int, timeout_s: float = 3.0) -> StoreAndForward:
        courier = MqttCourier(MqttSettings(host="127.0.0.1", port=port, topic=TOPIC, timeout_s=timeout_s), None)
        made.append(StoreAndForward("ward", Store(tmp_path / "ward.db"), courier, types=("alert", "status")))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def first_arrivals(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def test_topics_and_payloads(broker: Broker, listen: Any, forwarding: Any) -> None:
    subscriber = listen(broker.port)
    sink = forwarding(broker.port)
    sink.emit(alert(0))
    sink.emit(Status(seq=1, time=1, quality=0.5, leads=("II",)))
    until(lambda: len(subscriber.events()) == 2)
    found = {topic: payload for topic, payload, _ in subscriber.got}
    assert set(found) == {f"{TOPIC}/monitor", f"{TOPIC}/alert", f"{TOPIC}/status"}
    assert found[f"{TOPIC}/alert"]["label"] == "AF"
    assert found[f"{TOPIC}/status"] == {
        "type": "status", "seq": 1, "time": 1.0, "quality": 0.5, "leads": ["II"],
    }  # fmt: skip
    sink.close()
    until(lambda: subscriber.states() == ["online", "ended"])
    late = listen(broker.port)
    until(lambda: late.got)
    assert late.got == [(f"{TOPIC}/monitor", {"state": "ended"}, True)], "the state is retained, events are not"


def test_every_alert_arrives_through_a_broker_that_is_killed(broker: Broker, listen: Any, forwarding: Any) -> None:
    subscriber = listen(broker.port)
    sink = forwarding(broker.port)
    sent = 0
    for _ in range(3):
        for _ in range(40):
            sink.emit(alert(sent))
            sent += 1
            time.sleep(0.005)
        # What the broker has acknowledged it has given to the subscriber, before it is killed: QoS 1 promises no more.
        until(lambda: len(first_arrivals(subscriber.events())) >= sink.accounts()["ward"].delivered)
        broker.kill()
        for _ in range(20):
            sink.emit(alert(sent))
            sent += 1
        until(lambda: sink.trouble)
        broker.start()
        subscriber.ready.clear()
        until(subscriber.ready.is_set)
    until(lambda: sink.accounts()["ward"].held == 0)
    until(lambda: sent - 1 in subscriber.events())
    assert first_arrivals(subscriber.events()) == list(range(sent)), "each at least once, and in order"
    account = sink.accounts()["ward"]
    assert (account.delivered, account.dropped) == (sent, 0)
    assert account.failures > 0
    assert sink.trouble is None


def test_a_slow_broker(broker: Broker, listen: Any, forwarding: Any) -> None:
    """It hangs for longer than an acknowledgement is waited for, and then answers all at once."""
    subscriber = listen(broker.port)
    sink = forwarding(broker.port, timeout_s=0.5)
    sink.emit(alert(0))
    until(lambda: sink.accounts()["ward"].delivered == 1)
    hang = threading.Thread(target=broker.stop, args=(2.5,))
    hang.start()
    time.sleep(0.1)
    begun = time.monotonic()
    for n in range(1, 200):
        sink.emit(alert(n))
    assert time.monotonic() - begun < 1.0, "nobody waits"
    until(lambda: sink.trouble)
    assert "127.0.0.1" in sink.trouble
    hang.join()
    until(lambda: sink.accounts()["ward"].held == 0)
    until(lambda: 199 in subscriber.events())
    assert first_arrivals(subscriber.events()) == list(range(200))


@pytest.mark.parametrize("answers", [False, True])
def test_a_dead_broker(paho: ModuleType, forwarding: Any, answers: bool) -> None:
    """Nobody listens, or somebody who never says a word."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        port = mute.getsockname()[1]
        if answers:
            mute.listen(100)
        sink = forwarding(port, 0.3)
        for n in range(10):
            sink.emit(alert(n))
        until(lambda: sink.accounts()["ward"].failures >= 3)
        assert ("no answer" if answers else "cannot be reached") in sink.trouble
        account = sink.accounts()["ward"]
        assert (account.delivered, account.dropped, account.held) == (0, 0, 10)
        begun = time.monotonic()
        sink.settle(30.0)
        sink.close()
        assert time.monotonic() - begun < 10.0


def test_events_of_a_run_whose_broker_was_dead_go_out_with_the_next(
    broker: Broker, listen: Any, forwarding: Any
) -> None:
    subscriber = listen(broker.port)
    dead = forwarding(free_port(), 0.3)
    for n in range(5):
        dead.emit(alert(n))
    until(lambda: dead.trouble and len(dead._store) == 5)
    dead.close()
    until(lambda: not dead._sender.is_alive())
    sink = forwarding(broker.port)
    sink.emit(alert(5))
    until(lambda: 5 in subscriber.events())
    assert subscriber.events() == [0, 1, 2, 3, 4, 5]


def test_the_will_tells_of_a_monitor_that_is_gone(broker: Broker, listen: Any, paho: ModuleType) -> None:
    subscriber = listen(broker.port)
    courier = MqttCourier(MqttSettings(host="127.0.0.1", port=broker.port, topic=TOPIC), None)
    courier.look_after()
    until(lambda: subscriber.states() == ["online"])
    courier._drop()  # the connection ends without a farewell, as when the process is killed
    until(lambda: subscriber.states() == ["online", "gone"])
    courier.look_after()
    until(lambda: subscriber.states() == ["online", "gone", "online"])
    courier.close()
    until(lambda: subscriber.states()[-1] == "ended")


def test_an_idle_connection_that_is_lost_comes_back(broker: Broker, listen: Any, forwarding: Any) -> None:
    forwarding(broker.port)
    subscriber = listen(broker.port)
    until(lambda: "online" in subscriber.states())
    broker.kill()
    broker.start()
    subscriber.got.clear()
    until(lambda: "online" in subscriber.states())


def test_name_and_password(broker_with: Any, listen: Any, tmp_path: Path) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("no mosquitto_passwd: logging in is not tested (Debian: mosquitto)")
    subprocess.run([tool, "-b", "-c", tmp_path / "users", "ecg", "s3cret"], check=True, capture_output=True)
    broker = broker_with("allow_anonymous false", f"password_file {tmp_path / 'users'}")
    subscriber = listen(broker.port, "ecg", "s3cret")
    settings = MqttSettings(host="127.0.0.1", port=broker.port, topic=TOPIC, username="ecg")
    with pytest.raises(Undelivered, match=r"does not let us in \(Not authorized\)"):
        MqttCourier(settings, "wrong").look_after()
    courier = MqttCourier(settings, "s3cret")
    courier.look_after()
    assert courier.send([message(n) for n in range(20)]) == 20
    until(lambda: subscriber.events() == list(range(20)))
    courier.close()


def test_tls(broker_with: Any, paho: ModuleType, tmp_path: Path) -> None:
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("no openssl: TLS is not tested")
    arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate"]
    subprocess.run([tool, *arguments.split(), *files], check=True, capture_output=True)
    broker = broker_with("allow_anonymous true", f"certfile {tmp_path / 'certificate'}", f"keyfile {tmp_path / 'key'}")
    common: dict[str, Any] = {"host": "127.0.0.1", "port": broker.port, "topic": TOPIC, "tls": True}
    with pytest.raises(Undelivered, match="certificate verify failed"):
        MqttCourier(MqttSettings(**common), None).look_after()
    courier = MqttCourier(MqttSettings(**common, ca_file=str(tmp_path / "certificate")), None)
    courier.look_after()
    assert courier.send([message(0)]) == 1
    courier.close()
    with pytest.raises(Undelivered, match="cannot be reached"):
        MqttCourier(MqttSettings(**common, ca_file=str(tmp_path / "none")), None).look_after()
