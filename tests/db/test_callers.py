"""Who shares a venue's limit: the locks of the sessions that call it tell, and nothing that can be left behind."""

import asyncio

import pytest

from ingest.errors import Retryable
from ingest.exchanges.limiter import Limiter
from ingest.store.callers import Callers, Kind, share_of
from tests.conftest import Fetch
from tests.db.support import Proxy


@pytest.mark.parametrize(
    ("kind", "daemons", "backfills", "share"),
    [
        ("daemon", 1, 0, 1.0),
        ("backfill", 0, 1, 1.0),
        ("backfill", 0, 4, 0.25),
        ("daemon", 1, 4, 0.5),
        ("backfill", 1, 4, 0.125),
        ("daemon", 2, 1, 0.25),
        ("daemon", 0, 0, 1.0),
    ],
)
def test_daemons_and_backfills_have_a_half_each(kind: Kind, daemons: int, backfills: int, share: float) -> None:
    assert share_of(kind, daemons, backfills) == share


async def test_each_caller_sees_the_others_until_they_end(database_url: str, fetch: Fetch) -> None:
    async with Callers(database_url, "binance", "backfill") as first:
        assert await first.share() == 1.0
        assert await first.share() == 1.0  # it is one, however often it asks
        async with (
            Callers(database_url, "binance", "backfill") as second,
            Callers(database_url, "okx", "backfill") as elsewhere,
            Callers(database_url, "binance", "daemon") as daemon,
        ):
            assert await second.share() == 0.5
            assert await elsewhere.share() == 1.0
            assert await first.share() == 0.5
            assert await daemon.share() == 0.5
            assert await first.share() == 0.25
        # As when a process is killed: its session ends.
        killed = Callers(database_url, "binance", "daemon")
        await killed.share()
        assert await first.share() == 0.5
        fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'ingest daemon calls binance' AND datname = current_database()"
        )
        assert await first.share() == 1.0
        with pytest.raises(Retryable):
            await killed.share()
        assert await killed.share() == 0.5  # it holds again
        await killed.__aexit__(None, None, None)


async def test_a_limiter_follows_and_stays_as_it_was_while_the_database_is_away(
    database_url: str, proxy: Proxy
) -> None:
    limiter = Limiter(6_000)
    async with Callers(proxy.url, "binance", "backfill") as own:
        following = asyncio.create_task(own.follow(limiter))
        async with Callers(database_url, "binance", "daemon") as daemon:
            await daemon.share()
            await until_share(limiter, 0.5)
            proxy.refuse()
            proxy.cut()
            with pytest.raises(Retryable):
                await own.share()
        with pytest.raises(Retryable):
            await own.share()
        assert limiter.share == 0.5  # though it is alone now: it cannot know
        proxy.accept()
        await until_share(limiter, 1.0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def until_share(limiter: Limiter, share: float) -> None:
    async with asyncio.timeout(60):
        while limiter.share != share:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
