"""Laws of the models that are loaded: nobody loses what is used, nobody is forgotten, and memory is never overdrawn."""

from __future__ import annotations

from functools import partial

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mlxknife.domain.errors import EngineError, KnifeError, NotEnoughMemory, ServerBusy, WorkerLost
from mlxknife.domain.generation.values.requests import Told
from mlxknife.domain.serving.rules.eviction import Limits
from mlxknife.domain.serving.services.loaded_model import Claim
from mlxknife.domain.serving.services.model_pool import Residents
from mlxknife.domain.serving.values.processes import Began, Fallen, Fell, LeftOut, Ready, ResidentEvent, Unloaded
from tests.fakes.hand_hosts import HandHost, HandHosts
from tests.fakes.system import FakeSystem
from tests.unit.serving_stage import UNIT, over, prepared, said, served

_SIZES = {"small": 1, "other": 1, "middle": 2, "large": 4, "huge": 50}
_BUDGET = 8
_NAMES = st.sampled_from(sorted(_SIZES))


@attrs.define(eq=False)
class Client:
    """Somebody who asked for a model, and what was heard so far."""

    name: str
    replies: list[Claim | KnifeError] = attrs.field(factory=list)
    told: dict[int, list[Told | KnifeError]] = attrs.field(factory=dict)
    host: HandHost | None = None
    has_asked: bool = False
    has_gone: bool = False

    @property
    def claim(self) -> Claim | None:
        """What it holds."""
        reply = self.replies[0] if self.replies else None
        return reply if isinstance(reply, Claim) and not self.has_gone else None

    def hear(self, index: int, what: Told | KnifeError) -> None:
        """Note what comes of an answer: nothing after its end, and nothing to one who went."""
        assert not self.has_gone
        heard = self.told.setdefault(index, [])
        assert not heard or not self._is_end(heard[-1])
        heard.append(what)

    @property
    def ended(self) -> int:
        """How many answers came to an end."""
        return sum(self._is_end(heard[-1]) for heard in self.told.values())

    @staticmethod
    def _is_end(what: Told | KnifeError) -> bool:
        return isinstance(what, KnifeError) or what.ended is not None


class ResidentsMachine(RuleBasedStateMachine):
    """Clients come and go, processes load, speak and fall, in any order."""

    @initialize(models=st.none() | st.integers(1, 3), idle=st.none() | st.just(10.0))
    def begin(self, models: int | None, idle: float | None) -> None:
        self.hosts = HandHosts()
        self.system = FakeSystem()
        self.limits = Limits(int(_BUDGET * UNIT * 1.2), models)
        self.events: list[ResidentEvent] = []
        self.residents = Residents(self.hosts, self.system, self.limits, idle, on_event=self.events.append)
        self.clients: list[Client] = []
        self.forgets: dict[int, object] = {}
        self.fallen: set[HandHost] = set()

    @rule(name=_NAMES)
    def ask(self, name: str) -> None:
        client = Client(name)
        self.clients.append(client)
        client_forgets = self.residents.claim(served(name, _SIZES[name]), client.replies.append)
        self.forgets[id(client)] = client_forgets

    @precondition(lambda self: any(not client.replies for client in self.clients))
    @rule(data=st.data())
    def think_again(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if not client.replies]))
        forget = self.forgets[id(client)]
        assert callable(forget)
        forget()
        self.clients.remove(client)

    def _loading(self) -> list[HandHost]:
        return [host for host in self.hosts.running if not host.has_loaded]

    @precondition(lambda self: self._loading())
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self._loading())).load()

    def _silent(self) -> list[Client]:
        return [client for client in self.clients if client.claim and not client.has_asked]

    @precondition(lambda self: self._silent())
    @rule(data=st.data(), answers=st.integers(1, 3))
    def want_answers(self, data: st.DataObject, answers: int) -> None:
        client = data.draw(st.sampled_from(self._silent()))
        assert client.claim is not None
        client.has_asked = True
        client.claim.answer(prepared(answers=answers), client.hear)

    @precondition(lambda self: any(host.rows for host in self.hosts.running))
    @rule(data=st.data(), ends=st.booleans())
    def speak(self, data: st.DataObject, ends: bool) -> None:  # noqa: FBT001 - drawn
        host = data.draw(st.sampled_from([host for host in self.hosts.running if host.rows]))
        row = data.draw(st.sampled_from(sorted(host.rows)))
        if ends:
            del host.rows[row]
            host.say(over(row))
        else:
            host.say(said(row, "a"))

    @precondition(lambda self: any(client.claim for client in self.clients))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self._leave(data.draw(st.sampled_from([client for client in self.clients if client.claim])))

    def _leave(self, client: Client) -> None:
        claim = client.claim
        assert claim is not None
        client.has_gone = True
        claim.release()

    @precondition(lambda self: self.hosts.running)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 100.0]))
    def fall(self, data: st.DataObject, seconds: float) -> None:
        host = data.draw(st.sampled_from(self.hosts.running))
        self.fallen.add(host)
        host.say(Fell(EngineError("fell") if host.has_loaded else WorkerLost("never came up")))
        self.system.time += seconds

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.system.time += seconds
        self.residents.tick()

    @invariant()
    def memory_is_never_overdrawn(self) -> None:
        loaded = self.residents.loaded()
        assert sum(one.bytes for one in loaded) <= (self.limits.memory_bytes or 0)
        assert self.limits.models is None or len(loaded) <= self.limits.models

    @invariant()
    def what_is_told_of_a_model_is_where_it_stands(self) -> None:
        """Each that began is told once to be ready and once to end, in this order, whether or not it got ready."""
        standing: dict[str, str] = {}
        for event in self.events:
            before = standing.get(event.name)
            if isinstance(event, Began):
                assert before is None
                standing[event.name] = "loading"
            elif isinstance(event, Ready):
                assert before == "loading"
                standing[event.name] = "ready"
            else:
                assert isinstance(event, (Unloaded, Fallen))
                assert before is not None
                del standing[event.name]
        assert standing == {one.name: one.state.value for one in self.residents.loaded()}

    @invariant()
    def every_process_is_somebodys(self) -> None:
        held = {id(one.host) for one in self.residents.loaded()}
        assert held == {id(host) for host in self.hosts.running}

    @invariant()
    def nothing_that_is_used_is_ended_but_by_its_own_fall(self) -> None:
        for client in self.clients:
            if client.claim is None:
                continue
            host = client.claim.resident.host
            if isinstance(host, HandHost):
                client.host = host
            elif client.host is not None:
                assert client.host in self.fallen

    @invariant()
    def who_is_refused_is_refused_for_a_reason(self) -> None:
        for client in self.clients:
            assert len(client.replies) <= 1
            for reply in client.replies:
                if isinstance(reply, NotEnoughMemory):
                    assert client.name == "huge"
                assert not isinstance(reply, ServerBusy)
                if isinstance(reply, WorkerLost):
                    assert any(host.location.token == client.name for host in self.fallen)

    @invariant()
    def no_place_is_left_empty_while_somebody_waits(self) -> None:
        """Whoever waits, waits for a load, or for room that somebody holds."""
        if any(not client.replies for client in self.clients):
            assert self.residents.loaded()

    def teardown(self) -> None:
        """In the end everybody is served: let all go, load what there is to load, and so on until nobody waits."""
        if not hasattr(self, "residents"):
            return
        for _ in range(2 * len(self.clients) + 2):
            for client in self.clients:
                if client.claim is not None:
                    self._leave(client)
            for host in self._loading():
                host.load()
        assert all(client.replies for client in self.clients)
        assert self.residents.waiting == 0
        self.residents.close()
        assert not self.hosts.running
        self.what_is_told_of_a_model_is_where_it_stands()


TestResidents = ResidentsMachine.TestCase


def test_a_model_that_is_kept_and_does_not_fit_is_told_of() -> None:
    events: list[ResidentEvent] = []
    residents = Residents(HandHosts(), FakeSystem(), Limits(UNIT), on_event=events.append)
    residents.keep(served("huge", 50))
    residents.claim(served("huge", 50), lambda _: None)
    (event,) = events
    assert isinstance(event, LeftOut)
    assert (event.name, type(event.error)) == ("huge", NotEnoughMemory)


def test_nobody_loses_a_model_that_another_lets_go_as_it_is_loaded() -> None:
    hosts, clients = HandHosts(), [Client("small"), Client("other")]
    residents = Residents(hosts, FakeSystem(), Limits(models=1))
    residents.keep(served("small"))
    for client in clients:
        residents.claim(served(client.name), client.replies.append)
    hosts.started[0].load()
    assert clients[0].claim is not None
    assert not hosts.started[0].is_closed
    clients[0].claim.answer(prepared(), clients[0].hear)
    hosts.started[0].say(over(1))
    assert clients[0].ended == 1
    clients[0].claim.release()
    hosts.started[1].load()
    assert clients[1].claim is not None


def test_what_is_to_be_kept_comes_back_when_there_is_room() -> None:
    hosts, system, client = HandHosts(), FakeSystem(), Client("other")
    residents = Residents(hosts, system, Limits(models=1), idle_seconds=10.0)
    residents.keep(served("small"))
    assert residents.keeps
    hosts.started[0].load()
    system.time += 100
    residents.tick()
    assert not hosts.started[0].is_closed  # however long nobody asks for it
    hosts.started[0].say(Fell(WorkerLost("gone")))
    residents.tick()
    assert [host.location.token for host in hosts.running] == ["small"]
    hosts.started[1].load()
    residents.claim(served("other"), client.replies.append)
    assert [host.location.token for host in hosts.running] == ["other"]  # it makes room where nothing else can
    hosts.started[2].load()
    residents.tick()
    assert [host.location.token for host in hosts.running] == ["other"]
    assert client.claim is not None
    client.claim.release()
    system.time += 100
    residents.tick()
    residents.tick()
    assert [host.location.token for host in hosts.running] == ["small"]


def test_what_comes_after_the_close_is_refused() -> None:
    residents = Residents(HandHosts(), FakeSystem())
    residents.close()
    heard: list[Claim | KnifeError] = []
    residents.claim(served("small"), heard.append)
    assert [type(reply) for reply in heard] == [ServerBusy]


def test_an_answer_that_its_process_takes_along_is_told_once() -> None:
    hosts, clients = HandHosts(), [Client("small"), Client("small")]
    residents = Residents(hosts, FakeSystem())
    for client in clients:
        residents.claim(served("small"), client.replies.append)
    (host,) = hosts.started
    host.load()
    for client in clients:
        assert client.claim is not None
        client.claim.answer(prepared(answers=2), client.hear)
    host.say(said(1, "a"))
    host.say(Fell(WorkerLost("gone")))
    assert [client.ended for client in clients] == [2, 2]
    assert isinstance(clients[0].told[0][0], Told)
    late = partial(clients[0].hear, 9)
    assert clients[0].claim is not None
    clients[0].claim.answer(prepared(), lambda _, what: late(what))
    assert isinstance(clients[0].told[9][0], WorkerLost)
