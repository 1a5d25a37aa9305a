"""docs/reference/schema.md says what the database says, and the database explains everything that it holds."""

import os

import pytest

from tests.db import schema_reference


def test_the_page_is_what_the_comments_say(database_url: str) -> None:
    page = schema_reference.render(database_url)
    if os.environ.get("UPDATE_REFERENCE"):
        schema_reference.PAGE.write_text(page)
    assert schema_reference.PAGE.read_text() == page, "make reference"


def test_everything_is_explained(database_url: str) -> None:
    assert schema_reference.silent(database_url) == []


@pytest.mark.community
def test_community_says_the_same(community_database_url: str) -> None:
    assert schema_reference.silent(community_database_url) == []
    assert schema_reference.PAGE.read_text() == schema_reference.render(community_database_url)


def test_every_table_and_function_stands_in_the_page_with_its_policy(database_url: str) -> None:
    page = schema_reference.render(database_url)
    for heading in ("`market.ohlcv`", "`market.trades`", "`ingest.trades`", "`ingest.candles_1h`", "`ingest.policies`"):
        assert f"#### {heading}" in page
    assert (
        "Key: instrument_id, time, trade_id. Chunks of 1 day; compressed after 3 days (Community); kept for 365 days."
        in page
    )
    assert "Rolled up from `candles_30m` by 1 hour." in page
