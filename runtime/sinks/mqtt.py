"""Events to an MQTT broker (3.1.1), with QoS 1: at least once, and in order.

    TOPIC/alert, TOPIC/technical, TOPIC/status, TOPIC/summary     the events, a JSON object a message
    TOPIC/monitor     retained: {"state": "online"}; "ended" after a run; "gone" said by the broker itself (the will)

paho-mqtt does not reconnect here: each connection is a new client with empty queues, and what is sent again is decided
by the store alone.
"""

import json
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from ..ranges import Range
from . import Undelivered
from .forward import BATCH
from .store import Message

KEEPALIVE_S = 15  # the broker gives a silent monitor up for gone after one and a half of these, MQTT 3.1.1, 3.1.2.10
LEAVE_S = 1.0  # so long a broker has to acknowledge the farewell


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """Where the broker is."""

    host: str
    """Name or address of the broker."""
    port: Annotated[int, Range(0, 65535)] = 0
    """Its port; 0 for the usual one, 1883, or 8883 with `tls`."""
    topic: str
    """Start of every topic, unique to this monitor, such as `ecg-edge/bed-7`; it is the client's identifier too."""
    username: str = ""
    """Name to log in with; empty for none."""
    password_env: str = ""
    """Environment variable that holds the password."""
    password_file: str = ""
    """File that holds the password, instead."""
    tls: bool = False
    """Encrypt, and check the broker's certificate."""
    ca_file: str = ""
    """File of the authority that signed it; empty for those that the system trusts."""
    timeout_s: Annotated[float, Range(0.1, 300)] = 10.0
    """Longest wait in seconds for a connection, and for an acknowledgement."""


class MqttCourier:
    """Publishes to one broker."""

    def __init__(self, settings: MqttSettings, password: str | None) -> None:
        """Prepare; raises ModuleNotFoundError where paho-mqtt is not installed."""
        import paho.mqtt.client as paho

        self._paho, self._settings, self._password = paho, settings, password
        self._client: paho.Client | None = None
        self._change = threading.Condition()
        self._answer: str | None = None  # of the broker to the connection: empty when it agrees
        self._connected = False
        self._acknowledged: set[int] = set()

    def look_after(self) -> None:
        """Connect if there is no connection; see Courier."""
        if self._client is None or not self._connected:
            self._drop()
            self._connect()

    def send(self, messages: Sequence[Message]) -> int:
        """Publish and wait for the acknowledgements; see Courier."""
        topics = [f"{self._settings.topic}/{message.type}" for message in messages]
        numbers = [self._publish(topic, message.line) for topic, message in zip(topics, messages, strict=True)]
        deadline = time.monotonic() + self._settings.timeout_s
        for done, number in enumerate(numbers):
            if not self._wait_for(number, deadline):
                self._drop()
                if done:
                    return done
                raise Undelivered(f"{self._name} does not acknowledge: check the broker and the network")
        return len(numbers)

    def close(self) -> None:
        """Say that the run has ended, and disconnect; see Courier."""
        if self._client is not None and self._connected:
            with suppress(Undelivered):
                self._wait_for(self._state("ended"), time.monotonic() + LEAVE_S)
        if self._client is not None and self._connected:
            self._client.disconnect()
            with self._change:  # cut off before it is sent, the farewell would be none and the will be published
                self._change.wait_for(lambda: not self._connected, LEAVE_S)
        self._drop()

    @property
    def _name(self) -> str:
        return f"MQTT broker {self._settings.host}:{self._port}"

    @property
    def _port(self) -> int:
        return self._settings.port or (8883 if self._settings.tls else 1883)

    def _connect(self) -> None:
        s = self._settings
        client = self._paho.Client(
            self._paho.CallbackAPIVersion.VERSION2,
            client_id=s.topic,  # always the same: a broker that still holds the last connection lets go of it first
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(BATCH + 1)
        client.connect_timeout = s.timeout_s
        client.on_connect, client.on_disconnect, client.on_publish = self._on_connect, self._on_end, self._on_publish
        client.will_set(f"{s.topic}/monitor", _state("gone"), qos=1, retain=True)
        if s.username:
            client.username_pw_set(s.username, self._password)
        try:
            if s.tls:
                client.tls_set_context(ssl.create_default_context(cafile=s.ca_file or None))
            self._answer, self._connected = None, False
            self._acknowledged.clear()
            client.connect(s.host, self._port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise Undelivered(f"{self._name} cannot be reached ({error}): check host, port and network") from None
        client.loop_start()
        self._client = client
        deadline = time.monotonic() + s.timeout_s
        with self._change:
            self._change.wait_for(lambda: self._answer is not None, s.timeout_s)
        if self._answer != "":
            self._drop()
            raise Undelivered(
                f"{self._name} does not let us in ({self._answer or 'no answer'}): check name and password"
            )
        if not self._wait_for(self._state("online"), deadline):
            self._drop()
            raise Undelivered(f"{self._name} does not acknowledge: check the broker and the network")

    def _state(self, state: str) -> int:
        return self._publish(f"{self._settings.topic}/monitor", _state(state), retain=True)

    def _publish(self, topic: str, payload: str, retain: bool = False) -> int:
        if self._client is None:
            raise Undelivered(f"{self._name} is not connected")
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != self._paho.MQTT_ERR_SUCCESS:
            self._drop()
            raise Undelivered(f"{self._name} has closed the connection ({self._paho.error_string(info.rc)})")
        return info.mid

    def _wait_for(self, number: int, deadline: float) -> bool:
        with self._change:
            self._change.wait_for(
                lambda: number in self._acknowledged or not self._connected, max(0.0, deadline - time.monotonic())
            )
            return number in self._acknowledged

    def _drop(self) -> None:
        """Forget the connection, without a word to the broker."""
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            with suppress(OSError):
                if (socket := client.socket()) is not None:
                    socket.close()
            client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        with self._change:
            self._answer = str(code) if code.is_failure else ""
            self._connected = not code.is_failure
            self._change.notify_all()

    def _on_end(self, *_: Any) -> None:
        with self._change:
            self._connected = False
            self._answer = "connection closed" if self._answer is None else self._answer
            self._change.notify_all()

    def _on_publish(self, _client: Any, _data: Any, number: int, *_: Any) -> None:
        with self._change:
            self._acknowledged.add(number)
            self._change.notify_all()


def _state(state: str) -> str:
    return json.dumps({"state": state})
