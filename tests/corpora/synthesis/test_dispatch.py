"""Many requests: order, limits, retries, budgets, interrupts."""

import json
import threading
from itertools import pairwise

import pytest
from chat_server import ODD, completion, failure
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from synthesis_parameters import model_settings

from ruri_kedro.corpora.synthesis.chat import Answer, Prompt, Request, TryAgain
from ruri_kedro.corpora.synthesis.dispatch import Dispatcher, Limits, Pace
from ruri_kedro.corpora.synthesis.journal import Journal
from ruri_kedro.corpora.synthesis.server import ChatServer
from ruri_kedro.corpora.synthesis.usage import Prices, Usage, estimate
from ruri_kedro.errors import RecipeError, SynthesisError
from ruri_kedro.recipe.parse import parse

FREE = Prices(0, 0)


def limits(**given) -> Limits:
    fast = {"workers": 4, "per_minute": None, "tries": 3, "first_wait": 0.001, "longest_wait": 0.01, "max_failures": 0}
    return Limits(**{**fast, **given})


def request(number: int) -> Request:
    return Prompt("問い$n").request({"n": str(number)}, "m", {})


def makers(count: int):
    return [lambda number=number: request(number) for number in range(count)]


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


@pytest.fixture
def send(server, journal):
    """Send `count` requests to the server."""

    def send(count: int, **given):
        settings = model_settings("server", "m", {"max_tokens": 8}, base_url=server.url, timeout=60.0)
        dispatcher = Dispatcher(ChatServer(settings), limits(**given), FREE)
        return dispatcher.send(makers(count), journal, "test"), dispatcher

    return send


class Scripted:
    """A model that does what it is told for each request."""

    def __init__(self, act) -> None:
        self.act = act

    def complete(self, asked: Request) -> Answer:
        return self.act(asked.messages[-1]["content"])


def test_odd_answers_are_failed_tries_and_the_run_goes_on(send, server, journal):
    """Each request gets an odd answer of its own twice, and is answered at the third try."""
    odd = dict(enumerate(ODD.values()))
    server.reply = lambda prompt, times: odd[int(prompt[2:])] if times < 2 else completion("はい。")
    failures, dispatcher = send(len(odd), tries=3)
    assert failures == {} and len(journal) == len(odd) >= 15
    assert dispatcher.used == Usage(len(odd), 10 * len(odd), 5 * len(odd)) and dispatcher.failed == 0


def test_requests_that_only_get_odd_answers_are_counted_and_named(send, server, journal):
    odd = dict(enumerate(ODD.values()))
    server.reply = lambda prompt, times: odd[int(prompt[2:])]
    failures, dispatcher = send(len(odd), tries=2, max_failures=len(odd))
    assert len(failures) == dispatcher.failed == len(odd) and len(journal) == 0
    assert all(reason.startswith("no answer in 2 tries, the last: ") for reason in failures.values())


@pytest.mark.parametrize(
    "row", [{"prompt_tokens": -1}, {"prompt_tokens": "3"}, {"text": 3}, {"completion_tokens": 1e99}]
)
def test_an_odd_answer_in_the_journal_is_asked_for_again(tmp_path, row):
    with Journal(tmp_path / "j.jsonl") as written:
        written.add("a", Answer("はい。", "stop", 3, 1))
    kept = json.loads((tmp_path / "j.jsonl").read_text("utf-8"))
    (tmp_path / "j.jsonl").write_text(json.dumps(kept) + "\n" + json.dumps(kept | {"key": "b"} | row) + "\n", "utf-8")
    with Journal(tmp_path / "j.jsonl") as read:
        assert "a" in read and "b" not in read


def test_every_answer_is_kept_and_no_more_are_under_way_than_allowed(server, send, journal):
    together = threading.Barrier(3)

    def reply(prompt, times):
        if prompt in ("問い0", "問い1", "問い2"):
            together.wait(30)
        return completion(prompt + "の答え", completion_tokens=3)

    server.reply = reply
    failures, dispatcher = send(30, workers=3)
    assert failures == {} and len(server.asked) == 30 and server.at_once == 3
    assert [journal[request(n).key].text for n in range(30)] == [f"問い{n}の答え" for n in range(30)]
    assert dispatcher.used == Usage(30, 300, 90)


def test_a_failing_server_is_asked_again(server, send, journal):
    server.reply = lambda prompt, times: failure(500) if times < 2 else completion(prompt)
    assert send(5, tries=3)[0] == {}
    assert len(server.asked) == 15 and len(journal) == 5


def test_requests_without_an_answer_are_named_as_long_as_they_are_few(server, send, journal):
    server.reply = lambda prompt, times: failure(500, "out of memory") if prompt == "問い3" else completion(prompt)
    failures, _ = send(8, tries=2, max_failures=1)
    assert failures == {request(3).key: "no answer in 2 tries, the last: HTTP 500: out of memory"}
    assert len(journal) == 7 and server.prompts().count("問い3") == 2


def test_too_many_failures_end_the_run_with_what_to_do(server, send, journal):
    server.reply = lambda prompt, times: completion(prompt) if prompt in ("問い0", "問い1") else failure(500, "broken")
    with pytest.raises(SynthesisError, match=r"3 requests failed, .*max_failures allows 2.*broken.*2 answers are kept"):
        send(500, workers=1, tries=1, max_failures=2)
    assert len(server.asked) == 5


def test_the_failures_of_all_sets_count(server, journal):
    server.reply = lambda prompt, times: failure(400, "broken") if prompt == "問い1" else completion(prompt)
    settings = model_settings("server", "m", {"max_tokens": 8}, base_url=server.url, timeout=60.0)
    dispatcher = Dispatcher(ChatServer(settings), limits(max_failures=1), FREE)
    assert list(dispatcher.send(makers(3), journal, "first")) == [request(1).key]
    with pytest.raises(SynthesisError, match=r"2 requests failed, .*max_failures allows 1"):
        dispatcher.send([lambda: request(1)], journal, "second")
    assert dispatcher.used == Usage(2, 20, 10)


def test_refused_requests_count_and_are_not_tried_again(server, send):
    server.reply = lambda prompt, times: failure(400, "unknown option top_k")
    with pytest.raises(SynthesisError, match=r"1 requests failed.*unknown option top_k"):
        send(9, workers=1)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_ends_the_run(journal):
    settings = model_settings("server", "m", {"max_tokens": 8}, base_url="http://127.0.0.1:9/v1")
    dispatcher = Dispatcher(ChatServer(settings), limits(max_failures=99), FREE)
    with pytest.raises(SynthesisError, match=r"cannot be reached .*in 3 tries.*Start the server"):
        dispatcher.send(makers(9), journal, "test")


def test_retry_after_goes_before_the_own_waits(journal):
    waits = iter([TryAgain("busy", wait=0.02), TryAgain("busy", wait=0.0)])

    def act(prompt):
        error = next(waits, None)
        if error:
            raise error
        return Answer(prompt, "stop", 1, 1)

    rests = []
    dispatcher = Dispatcher(Scripted(act), limits(workers=1, first_wait=60, longest_wait=60), FREE)
    rest = dispatcher.pace.rest
    dispatcher.pace.rest = lambda seconds: (rests.append(seconds), rest(seconds))
    assert dispatcher.send(makers(1), journal, "test") == {} and rests == [0.02, 0.0]


def test_a_server_that_asks_for_too_much_patience_ends_the_run(server, send):
    server.reply = lambda prompt, times: failure(429, "quota", Retry_After="3600")
    with pytest.raises(SynthesisError, match=r"come back in 3600 seconds.*longest_wait is 0.01.*quota.*kept"):
        send(5)


@hypothesis_settings(deadline=None)
@given(st.integers(1, 30), st.text(max_size=5))
def test_waits_double_up_to_the_longest_and_are_drawn_by_the_request(attempt, key):
    made = limits(first_wait=0.5, longest_wait=20.0)
    longest = min(0.5 * 2 ** (attempt - 1), 20.0)
    assert longest / 2 <= made.pause(attempt, key) <= longest
    assert made.pause(attempt, key) == made.pause(attempt, key)


def test_waits_of_different_requests_differ():
    assert len({limits(first_wait=1, longest_wait=9).pause(1, str(n)) for n in range(20)}) == 20


@hypothesis_settings(deadline=None)
@given(st.floats(1, 10_000), st.lists(st.floats(0, 5), min_size=1, max_size=30))
def test_turns_are_never_closer_than_the_rate_allows(per_minute, delays):
    now = 0.0
    pace = Pace(per_minute, lambda: now)
    turns = []
    for delay in delays:
        now += delay
        turns.append(now + pace.turn())
    assert all(later - earlier >= 60 / per_minute - 1e-6 for earlier, later in pairwise(turns))


def test_nobody_has_a_turn_while_the_server_rests():
    now = 100.0
    pace = Pace(None, lambda: now)
    assert pace.turn() == 0.0
    pace.rest(7.0)
    pace.rest(2.0)
    assert pace.turn() == pytest.approx(7.0)
    now = 110.0
    assert pace.turn() == 0.0


def test_an_error_of_the_model_is_raised_and_stops_the_others(journal):
    def act(prompt):
        if prompt == "問い2":
            raise ZeroDivisionError(prompt)
        return Answer(prompt, "stop", 1, 1)

    dispatcher = Dispatcher(Scripted(act), limits(workers=1), FREE)
    with pytest.raises(ZeroDivisionError, match="問い2"):
        dispatcher.send(makers(100), journal, "test")
    assert len(journal) == 2 and "synthesis" not in {thread.name for thread in threading.enumerate()}


def test_an_interrupt_waits_for_what_is_under_way_and_sends_no_more(journal, monkeypatch):
    from ruri_kedro.corpora.synthesis import dispatch

    started, go_on, join, presses = threading.Event(), threading.Event(), dispatch._join, iter(["Ctrl-C"])

    def interrupted(threads):
        if next(presses, None):
            assert started.wait(30)
            raise KeyboardInterrupt
        go_on.set()
        join(threads)

    def act(prompt):
        started.set()
        assert go_on.wait(30)
        return Answer(prompt, "stop", 1, 1)

    monkeypatch.setattr(dispatch, "_join", interrupted)
    dispatcher = Dispatcher(Scripted(act), limits(workers=2), FREE)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.send(makers(1000), journal, "test")
    assert 1 <= len(journal) <= 2


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"tries": 0}, {"per_minute": 0}, {"first_wait": 5.0, "longest_wait": 1.0}]
)
def test_limits_without_meaning(wrong):
    with pytest.raises(RecipeError, match=rf"^synthesis\.requests\.{next(iter(wrong))}: "):
        parse(Limits, vars(limits()) | wrong, "synthesis.requests")


def test_the_estimate_is_the_mean_of_what_is_known_or_an_upper_bound():
    requests = [request(n) for n in range(10)]
    assert estimate(requests, [], 100) == Usage(10, 30, 1000)
    known = [Answer("", "stop", 40, 10), Answer("", "stop", 60, 30)]
    assert estimate(requests, known, 100) == Usage(10, 500, 200)
    assert estimate(requests, known, 100).cost(Prices(2.0, 10.0)) == pytest.approx(0.003)
