"""What servers answer is told apart, and waited for in proportion."""

import errno

import aiohttp
import pytest
from refusals import refused

from vgbdm.storage import network
from vgbdm.storage.network import (
    AbsentError,
    CutShortError,
    DeniedError,
    Server,
    is_served,
    meaning_of,
    reach,
    transfer,
)

ADDRESS = "http://archive.example/a.zarr"


def answer(status: int, **headers: str) -> aiohttp.ClientResponseError:
    asked = aiohttp.RequestInfo(ADDRESS, "GET", {}, ADDRESS)
    return aiohttp.ClientResponseError(asked, (), status=status, headers=headers)


def made_of(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def of_boto(status: int) -> Exception:
    error = Exception("An error occurred")
    error.response = {"ResponseMetadata": {"HTTPStatusCode": status}}
    return error


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (answer(500), "passing"),
        (answer(503), "passing"),
        (answer(429), "passing"),
        (answer(408), "passing"),
        (answer(501), "lasting"),
        (answer(400), "lasting"),
        (answer(404), "absent"),
        (answer(403), "denied"),
        (answer(401), "denied"),
        (FileNotFoundError(ADDRESS), "absent"),
        (made_of(FileNotFoundError(ADDRESS), answer(503)), "passing"),
        (made_of(FileNotFoundError(ADDRESS), aiohttp.ServerDisconnectedError()), "passing"),
        (made_of(FileNotFoundError(ADDRESS), FileNotFoundError(ADDRESS)), "absent"),
        (made_of(FileNotFoundError("no such key"), of_boto(404)), "absent"),
        (made_of(FileNotFoundError("of memory"), KeyError("a")), "absent"),
        (made_of(OSError(errno.EBUSY, "slow down"), of_boto(503)), "passing"),
        (made_of(OSError(errno.EINVAL, "bad header"), of_boto(400)), "lasting"),
        (made_of(PermissionError("denied"), of_boto(403)), "denied"),
        (made_of(TimeoutError("slow upload"), of_boto(400)), "passing"),
        (OSError("Forbidden: bucket/key"), "denied"),
        (aiohttp.ClientPayloadError("not completed"), "passing"),
        (made_of(aiohttp.ClientPayloadError("not completed"), answer(400)), "passing"),
        (ConnectionResetError(), "passing"),
        (CutShortError("3 bytes of 4"), "passing"),
        (aiohttp.InvalidURL("http://"), "lasting"),
        (TypeError("no such option"), "lasting"),
        (type("NoCredentialsError", (Exception,), {})(), "denied"),
    ],
    ids=repr,
)
def test_what_an_error_means(error, meaning):
    assert meaning_of(error) == meaning


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(network, "time", found)  # threads of other tests have theirs
    return found


def failing(*errors):
    left = list(errors)

    def request():
        if left:
            raise left.pop(0)
        return "values"

    return request


def test_what_passes_is_asked_again_ever_more_seldom(clock):
    server = Server(ADDRESS, "ask later")
    assert server.ask_now(failing(*[answer(503)] * 4), "a") == "values"
    assert server.answered
    ratios = [b / a for a, b in zip(clock.slept, clock.slept[1:], strict=False)]
    assert len(clock.slept) == 4 and ratios == pytest.approx([2.0] * 3)


def test_a_server_may_say_how_long_to_wait(clock):
    Server(ADDRESS, "").ask_now(failing(answer(429, **{"Retry-After": "5"})), "a")
    assert clock.slept == [5.0]


def test_a_server_that_never_answered_is_given_up_soon_and_another_late(clock):
    server = Server(ADDRESS, "ask later")
    ever = failing(*[ConnectionRefusedError("refused")] * 999)
    line = refused(lambda: server.ask_now(ever, f"{ADDRESS}/key"), f"{ADDRESS}/key", "ask later")
    assert "does not answer: refused" in line and "tries in" in line
    assert network.UNKNOWN / 2 < clock.now <= network.UNKNOWN
    server.ask_now(failing(), "a")
    clock.now = 0.0
    refused(lambda: server.ask_now(ever, "a"), "does not answer")
    assert network.KNOWN - network.LONGEST_WAIT <= clock.now <= network.KNOWN
    assert max(clock.slept) <= network.LONGEST_WAIT


def test_long_waits_are_told_now_and_then(clock, caplog):
    server = Server(ADDRESS, "")
    server.answered = True
    server.ask_now(failing(*[answer(503)] * 3), "a")
    assert not caplog.records
    server.ask_now(failing(*[answer(503)] * 9), "a")
    assert 1 <= len(caplog.records) <= 1 + clock.now / network.BETWEEN
    assert "it answers 503; asked again in" in caplog.text


def test_one_long_silence_is_not_the_end_of_a_server_that_never_answered(clock):
    def silent():
        clock.now += network.SILENCE
        raise TimeoutError("no byte")

    asked = iter([silent, silent, lambda: "values"])
    assert Server(ADDRESS, "").ask_now(lambda: next(asked)(), "a") == "values"
    refused(lambda: Server(ADDRESS, "").ask_now(silent, "a"), f"{network.FEWEST} tries")


def test_what_does_not_pass_is_not_asked_again(clock):
    server = Server(ADDRESS, "ask later")
    with pytest.raises(AbsentError):
        server.ask_now(failing(FileNotFoundError(ADDRESS)), "a")
    with pytest.raises(DeniedError):
        server.ask_now(failing(answer(403)), "a")
    refused(lambda: server.ask_now(failing(answer(400)), "a"), "it answers 400", "ask later")
    assert not clock.slept


def test_what_is_cut_short_each_time_is_damaged_there(clock):
    server = Server(ADDRESS, "ask later")
    request = failing(*[CutShortError("3 bytes of 4")] * 99)
    refused(lambda: server.ask_now(request, "a"), "cannot be read (3 bytes of 4)")
    assert len(clock.slept) == network.TRANSFERS - 1


def test_what_cannot_be_decoded_is_transferred_again_from_servers_alone():
    errors = [RuntimeError("blosc")] * (network.TRANSFERS - 1)
    assert transfer(ADDRESS, failing(*errors)) == "values"
    for address, count in ((ADDRESS, network.TRANSFERS), ("/data/a.zarr", 1), ("memory://a", 1)):
        with pytest.raises(RuntimeError):
            transfer(address, failing(*[RuntimeError("blosc")] * count))
    assert [is_served(a) for a in (ADDRESS, "s3://a", "/a", "file:///a")] == [
        True,
        True,
        False,
        False,
    ]


def test_requests_have_limits_of_time_unless_they_are_given():
    own = reach(ADDRESS, {"client_kwargs": {"trust_env": True}})["client_kwargs"]
    assert own["trust_env"] and own["timeout"].sock_read == network.SILENCE
    told = aiohttp.ClientTimeout(sock_read=1)
    assert reach(ADDRESS, {"client_kwargs": {"timeout": told}})["client_kwargs"]["timeout"] is told
    assert reach("s3://a", {"anon": True}) == {
        "anon": True,
        "config_kwargs": {
            "connect_timeout": network.CONNECTION,
            "read_timeout": network.SILENCE,
            "retries": {"total_max_attempts": 1},
        },
    }
    assert reach("gs://a", {})["session_kwargs"]["timeout"].sock_connect == network.CONNECTION
    assert reach("/a", {}) == {}
