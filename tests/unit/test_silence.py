"""When quiet becomes suspicious: floors by channel, what each stream learns, and the ceiling."""

import pytest

from ingest.clock import MINUTE, SECOND
from ingest.collect.silence import FLOOR_NS, Silence
from ingest.records import CHANNELS, Channel
from tests.db.support import NOON

HOUR = 60 * MINUTE


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_quiet_below_the_floor_is_suspicious(channel: Channel) -> None:
    floor = 150 * SECOND if channel == "candles" else MINUTE  # a closed candle comes each minute
    silence = Silence(channel, NOON)
    assert silence.limit_ns == floor
    assert not silence.observe(None, NOON + floor - 1)
    assert silence.observe(None, NOON + floor)


@pytest.mark.parametrize(("channel", "limit"), [("trades", 3 * SECOND), ("candles", 93 * SECOND)])
def test_the_floor_is_a_setting(channel: Channel, limit: int) -> None:
    assert Silence(channel, NOON, 3 * SECOND).limit_ns == limit
    assert FLOOR_NS == MINUTE


def test_a_record_ends_the_quiet() -> None:
    silence = Silence("trades", NOON)
    assert not silence.observe(1, NOON + 59 * SECOND)
    assert not silence.observe(1, NOON + 118 * SECOND)
    assert not silence.observe(2, NOON + 119 * SECOND)
    assert silence.since_ns == NOON + 119 * SECOND


def test_it_is_said_once_and_again_after_as_long_a_quiet() -> None:
    silence = Silence("trades", NOON)
    said = [second for second in range(200) if silence.observe(None, NOON + second * SECOND)]
    assert said == [60, 120, 180]


def test_the_longest_quiet_that_ended_is_learned_three_times_over() -> None:
    silence = Silence("trades", NOON)
    assert not silence.observe(1, NOON)
    assert not silence.observe(2, NOON + 50 * SECOND)
    assert silence.limit_ns == 150 * SECOND
    assert not silence.observe(3, NOON + 51 * SECOND)  # a short one teaches nothing
    assert silence.limit_ns == 150 * SECOND
    assert not silence.observe(3, NOON + 200 * SECOND)
    assert silence.observe(3, NOON + 201 * SECOND)


def test_what_the_venue_confirms_is_learned_at_once() -> None:
    silence = Silence("trades", NOON)
    assert silence.observe(None, NOON + MINUTE)
    silence.real(NOON + MINUTE)
    assert silence.limit_ns == 3 * MINUTE
    assert not silence.observe(None, NOON + 4 * MINUTE - 1)
    assert silence.observe(None, NOON + 4 * MINUTE)
    silence.real(NOON + 4 * MINUTE)
    assert silence.limit_ns == 12 * MINUTE


def test_the_ceiling_is_an_hour() -> None:
    silence = Silence("trades", NOON)
    silence.observe(1, NOON)
    silence.observe(2, NOON + 30 * HOUR)
    assert silence.limit_ns == HOUR
    silence.real(NOON + 90 * HOUR)
    assert silence.limit_ns == HOUR
    assert not silence.observe(2, NOON + 31 * HOUR - 1)
    assert silence.observe(2, NOON + 31 * HOUR)


def test_a_stream_that_was_not_delivered_learns_nothing_from_it() -> None:
    silence = Silence("trades", NOON)
    silence.observe(1, NOON)
    silence.restart(NOON + 50 * MINUTE)
    assert not silence.observe(1, NOON + 51 * MINUTE - 1)
    assert not silence.observe(2, NOON + 51 * MINUTE - 1)
    assert silence.limit_ns == 3 * (MINUTE - 1)


def test_a_clock_that_steps_back_is_no_quiet() -> None:
    silence = Silence("trades", NOON)
    silence.observe(1, NOON)
    assert not silence.observe(2, NOON - HOUR)
    assert silence.limit_ns == MINUTE
    assert not silence.observe(2, NOON - HOUR + 59 * SECOND)
