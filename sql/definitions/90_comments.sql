-- What columns mean, where the same words hold in many places. A column that stands for itself is explained beside its
-- table or view: here it is left out, by name, and so are the columns of which a table says something of its own.
DO $$
DECLARE
    remark record;
BEGIN
    FOR remark IN
        WITH words (relation, column_name, says) AS (
            VALUES
            ('%', 'exchange', 'The exchange''s name, as ccxt gives it.'),
            ('%', 'symbol', 'The unified symbol, as ccxt gives it: BTC/USDT, BTC/USDT:USDT.'),
            ('%', 'instrument_id', 'The instrument: market.instrument_id(exchange, symbol) finds it, market.instruments lists all.'),
            ('%', 'channel', 'What is collected: trades, candles, book, quotes, ticker, funding, open_interest, mark_price or liquidations.'),
            ('ingest.exchanges', 'exchange_id', 'The number by which instruments name it.'),
            ('ingest.instruments', 'exchange_id', 'The venue: ingest.exchanges.'),
            -- reference data
            ('ingest.instrument_changes', 'change_id', 'In the order in which they were noted.'),
            ('ingest.instrument_changes', 'changed_at', 'When the daemon learnt of it.'),
            ('%.instrument_changes', 'before', 'The columns that changed, with their values before.'),
            ('%.instrument_changes', 'after', 'The same columns, with their values from then on.'),
            ('ingest.exchange_status', 'exchange_id', 'The venue: ingest.exchanges.'),
            ('%.exchange_status', 'since', 'Start of this state.'),
            ('%.exchange_status', 'until', 'Its end: the start of the next one, or when a daemon that was killed last looked; NULL of the present one.'),
            ('%.exchange_status', 'state', 'online: every stream is delivered; degraded: some are not, or REST fails; offline: none is; blocked: the venue refuses this address; maintenance: it says so itself; stopped: the daemon ended.'),
            ('%.exchange_status', 'detail', 'The latest error, or what the venue says.'),
            ('%.exchange_status', 'checked_at', 'When this was last found to be so.'),
            ('%.exchange_status', 'latency_ms', 'Milliseconds that the latest REST call took; NULL before the first.'),
            ('%.exchange_status', 'limiter', 'Share of the venue''s request limit that was free, from 0 to 1.'),
            ('%.exchange_status', 'shard', 'Which of how many daemons saw it so: 1/1 where one collects everything.'),
            -- instruments
            ('%.instruments', 'native_symbol', 'The exchange''s own name: BTCUSDT.'),
            ('%.instruments', 'kind', 'spot, swap, future, option or index.'),
            ('%.instruments', 'base', 'The currency that is traded: of amounts.'),
            ('%.instruments', 'quote', 'The currency that is paid: of prices.'),
            ('%.instruments', 'settle', 'The currency in which a derivative is settled.'),
            ('%.instruments', 'price_step', 'Smallest change of the price, in quote currency.'),
            ('%.instruments', 'amount_step', 'Smallest change of the amount, in base currency (contracts for derivatives).'),
            ('%.instruments', 'min_amount', 'Least amount of an order, in base currency.'),
            ('%.instruments', 'max_amount', 'Greatest amount of an order, in base currency.'),
            ('%.instruments', 'min_notional', 'Least value of an order, in quote currency.'),
            ('%.instruments', 'contract_size', 'Base currency in one contract; NULL where amounts are not contracts.'),
            ('%.instruments', 'expiry', 'When it ends; NULL where it does not.'),
            ('%.instruments', 'active', 'Whether the exchange says that it is traded now: false while it is halted.'),
            ('%.instruments', 'first_seen_at', 'When the daemon first met it.'),
            ('%.instruments', 'updated_at', 'When its description last changed.'),
            ('%.instruments', 'delisted_at', 'When it was gone from the listing; NULL while it is listed.'),
            -- trades
            ('market.trades', 'time', 'When the exchange executed it, to the microsecond at most.'),
            ('market.trades', 'trade_id', 'The exchange''s id, as text.'),
            ('market.trades', 'side', 'The taker''s side, buy or sell; NULL where the exchange does not say.'),
            ('market.trades', 'price', 'In quote currency, the exchange''s own digits.'),
            ('market.trades', 'amount', 'In base currency (contracts for derivatives), the exchange''s own digits.'),
            -- candles
            ('market.%candles%', 'time', 'The open of the candle.'),
            ('%.%candles%', 'open', 'First price, in quote currency.'),
            ('%.%candles%', 'high', 'Highest price, in quote currency.'),
            ('%.%candles%', 'low', 'Lowest price, in quote currency.'),
            ('%.%candles%', 'close', 'Last price, in quote currency.'),
            ('market.%candles%', 'volume', 'In base currency (contracts for derivatives).'),
            ('market.%candles%', 'quote_volume', 'In quote currency.'),
            ('market.%candles%', 'trades', 'Number of trades.'),
            ('market.%candles%', 'taker_buy_volume', 'The part of volume in which the taker bought; NULL where the side is not known.'),
            ('market.%candles%', 'taker_buy_quote_volume', 'The part of quote_volume in which the taker bought.'),
            ('market.candles%', 'minutes', 'How many one-minute candles are in it.'),
            ('market.candles%', 'timeframe', 'Its length: 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w, or another that an exchange reported.'),
            -- books and quotes
            ('market.order_book%', 'time', 'The tick of the cadence: the book as it was known then.'),
            ('market.order_books', 'event_time', 'The exchange''s time of the last change in it; NULL when a REST snapshot was the last.'),
            ('market.order_books', 'sequence', 'The exchange''s id of this state of the book.'),
            ('%.order_books', 'bid_prices', 'In quote currency, from the best one outwards.'),
            ('%.order_books', 'bid_amounts', 'In base currency, each at the price of the same place.'),
            ('%.order_books', 'ask_prices', 'In quote currency, from the best one outwards.'),
            ('%.order_books', 'ask_amounts', 'In base currency, each at the price of the same place.'),
            ('market.order_book%', 'best_bid', 'Highest bid, in quote currency; NULL where there is none.'),
            ('market.order_book%', 'best_ask', 'Lowest ask, in quote currency; NULL where there is none.'),
            ('market.order_book%', 'in_sync', 'False from a break of the sequence until the book was rebuilt: do not trade on it.'),
            ('market.order_book%', 'checksum_ok', 'Whether the exchange''s checksum of this state is that of our book; NULL where it sent none.'),
            ('market.order_book%', 'spread', 'Best ask minus best bid, in quote currency.'),
            ('market.order_book%', 'mid', 'The mean of best bid and best ask, in quote currency.'),
            ('market.quotes', 'time', 'The exchange''s time of the change; the time of receipt where the exchange gives none.'),
            ('market.quotes', 'sequence', 'The exchange''s id of the book''s state.'),
            ('market.quotes', 'bid', 'Best bid, in quote currency.'),
            ('market.quotes', 'bid_amount', 'Amount at the best bid, in base currency.'),
            ('market.quotes', 'ask', 'Best ask, in quote currency.'),
            ('market.quotes', 'ask_amount', 'Amount at the best ask, in base currency.'),
            ('market.quotes', 'spread', 'Ask minus bid, in quote currency.'),
            ('market.quotes', 'mid', 'The mean of bid and ask, in quote currency.'),
            -- tickers
            ('market.tickers', 'time', 'The exchange''s time of the ticker.'),
            ('market.tickers', 'last', 'Price of the last trade, in quote currency.'),
            ('market.tickers', 'bid', 'Best bid, in quote currency; NULL where there is none.'),
            ('market.tickers', 'ask', 'Best ask, in quote currency; NULL where there is none.'),
            ('%.tickers', 'bid_amount', 'Amount at the best bid, in base currency.'),
            ('%.tickers', 'ask_amount', 'Amount at the best ask, in base currency.'),
            ('market.tickers', 'open_24h', 'Price 24 hours before, in quote currency.'),
            ('%.tickers', 'high_24h', 'Highest price of the last 24 hours, in quote currency.'),
            ('%.tickers', 'low_24h', 'Lowest price of the last 24 hours, in quote currency.'),
            ('market.tickers', 'volume_24h', 'Of the last 24 hours, in base currency.'),
            ('market.tickers', 'quote_volume_24h', 'Of the last 24 hours, in quote currency.'),
            -- streams
            ('%.streams', 'state', 'starting, live, reconnecting, blocked (the exchange refuses this address) or stopped.'),
            ('%.streams', 'detail', 'What led to the state, where there is more to say.'),
            ('%.streams', 'state_since', 'When it came into this state.'),
            ('%.streams', 'last_received_at', 'When the latest committed record was received.'),
            ('%.streams', 'committed_at', 'When the last batch was committed.'),
            ('market.streams', 'last_time', 'The exchange''s time of the latest committed record.'),
            ('market.streams', 'rows_stored', 'Rows stored since the stream was first seen.'),
            ('market.streams', 'rows_duplicate', 'Rows received again and not stored twice.'),
            ('market.streams', 'promise', 'What shows that nothing is missing: contiguous ids, a sequence, the grid of minutes, or none.'),
            ('market.streams', 'covered_from', 'Where collecting began: before it nothing is claimed but what was fetched.'),
            ('market.streams', 'proved_to', 'Up to this time ids, sequence or grid show that all is stored, or named in market.gaps.'),
            ('market.streams', 'attested_to', 'Up to this time the stream was subscribed and its line alive.'),
            -- gaps and windows
            ('%.gaps', 'gap_id', 'Its number.'),
            ('market.gaps', 'from_time', 'Start, inclusive: the last record before the break.'),
            ('market.gaps', 'to_time', 'End, inclusive: the first record after the break; NULL while it lasts.'),
            ('market.gaps', 'from_id', 'First missing id, where ids are contiguous.'),
            ('market.gaps', 'to_id', 'Last missing id, where ids are contiguous.'),
            ('market.gaps', 'cause', 'What opened it.'),
            ('market.gaps', 'state', 'open, repairing, repaired, awaiting_dump (REST no longer reaches it, a daily file will) or unrecoverable.'),
            ('market.gaps', 'evidence', 'What was seen when it opened and closed.'),
            ('market.gaps', 'detail', 'What repair found: why it waits, or cannot go on.'),
            ('%.gaps', 'opened_at', 'When it was noticed.'),
            ('%.gaps', 'closed_at', 'When it was repaired or given up; NULL before.'),
            ('%.gaps', 'attempts', 'How often repair has tried.'),
            ('%.gaps', 'updated_at', 'When its state last changed.'),
            ('%.backfill_jobs', 'job_id', 'Its number: the older goes first.'),
            ('%.backfill_jobs', 'gap_id', 'The gap that it closes; NULL for a backfill.'),
            ('%.backfill_jobs', 'state', 'waiting, claimed, cut (it goes on as others: part_of), done, failed or cancelled.'),
            ('%.backfill_jobs', 'attempts', 'How often it was claimed.'),
            ('%.backfill_jobs', 'claimed_by', 'The process that works on it.'),
            ('%.backfill_jobs', 'claimed_until', 'Until when that process may be silent.'),
            ('%.backfill_jobs', 'rows_stored', 'Rows that were new.'),
            ('%.backfill_jobs', 'error', 'What the last failure said.'),
            ('%.backfill_jobs', 'created_at', 'When it was queued.'),
            ('%.backfill_jobs', 'finished_at', 'When it ended.'),
            ('market.fetched', 'job_id', 'The window''s number.'),
            ('market.fetched', 'purpose', 'repair or backfill.'),
            ('market.fetched', 'from_time', 'Start of the window, inclusive.'),
            ('market.fetched', 'to_time', 'End of the window, inclusive.'),
            ('market.fetched', 'from_id', 'First id of the window, inclusive; NULL where it goes by time.'),
            ('market.fetched', 'to_id', 'Last id of the window, inclusive.'),
            ('market.fetched', 'finished_at', 'When it was fetched.'),
            ('market.fetched', 'rows_stored', 'Rows that were new.'),
            ('market.fetched', 'rows_known', 'Rows that were stored already.'),
            ('ingest.rollup_changes', 'change_id', 'Its number.'),
            ('ingest.rollup_changes', 'from_time', 'Start, inclusive.'),
            ('ingest.rollup_changes', 'to_time', 'End, inclusive.'),
            ('ingest.rollup_changes', 'changed_at', 'When it was told.'),
            ('ingest.refresh_requests', 'request_id', 'Its number.'),
            ('ingest.refresh_requests', 'requested_at', 'When it was asked for.'),
            -- rejected input
            ('ingest.rejected', 'rejected_id', 'Its number: `ingest rejected show` takes it.'),
            ('ingest.rejected', 'reason', 'Why it could not be stored.'),
            ('ingest.rejected', 'payload', 'The raw bytes.'),
            -- the program's own
            ('ingest.migrations', 'name', 'The file, below sql/.'),
            ('ingest.migrations', 'sha256', 'Of the file''s text, in hex.'),
            ('ingest.migrations', 'applied_at', 'When it was applied last.'),
            ('ingest.migrations', 'compatible', 'Whether a program that does not know it may work with the database.'),
            ('ingest.installation', 'made_at', 'When the database was first migrated.'),
            ('ingest.maintenance_runs', 'last_started_at', 'When it was last begun.'),
            ('ingest.maintenance_runs', 'last_succeeded_at', 'When it last went well.'),
            ('ingest.maintenance_runs', 'total_runs', 'How often it was begun.'),
            ('ingest.maintenance_runs', 'total_failures', 'How often it failed.'),
            ('ingest.%', 'table_name', 'The table of schema ingest.'),
            ('ingest.chunk_sizes', 'chunk_name', 'The chunk, with its schema.'),
            ('ingest.chunk_sizes', 'range_start', 'Start of its time, inclusive.'),
            ('ingest.chunk_sizes', 'range_end', 'End of its time, exclusive.'),
            ('ingest.chunk_sizes', 'compressed', 'Whether it is compressed (Community).'),
            ('ingest.%_sizes', 'table_bytes', 'Rows, without indexes.'),
            ('ingest.%_sizes', 'index_bytes', 'Indexes.'),
            ('ingest.%_sizes', 'toast_bytes', 'What is stored beside the rows: long values, and the data of compressed chunks.'),
            ('ingest.%_sizes', 'total_bytes', 'All of it.'),
            ('ingest.%_sizes', 'bytes_before_compression', 'What the compressed chunks took before; NULL where none is.'),
            ('ingest.%_sizes', 'bytes_after_compression', 'What the compressed chunks take now.'),
            ('ingest.table_sizes', 'chunks', 'Number of chunks.'),
            ('ingest.table_sizes', 'compressed_chunks', 'Number of those that are compressed.'),
            ('ingest.table_sizes', 'oldest', 'Start of the oldest chunk.'),
            ('ingest.table_sizes', 'newest', 'End of the newest chunk.'),
            ('ingest.index_use', 'index_name', 'The index.'),
            ('ingest.index_use', 'columns', 'What it is on.'),
            ('ingest.index_use', 'is_unique', 'Whether it keeps rows unique.'),
            ('ingest.index_use', 'index_bytes', 'Its size, over all chunks.'),
            ('ingest.index_use', 'scans', 'How often it was used since the statistics were reset.'),
            ('ingest.index_use', 'rows_read', 'Entries read in those.'),
            ('ingest.policy_jobs', 'job_id', 'TimescaleDB''s number of it.'),
            ('ingest.policy_jobs', 'policy', 'What it does.'),
            ('ingest.policy_jobs', 'every', 'How often it runs.'),
            ('ingest.policy_jobs', 'scheduled', 'Whether it runs by itself.'),
            ('ingest.policy_jobs', 'next_start_at', 'When it runs next.'),
            ('ingest.policy_jobs', 'last_started_at', 'When it last began.'),
            ('ingest.policy_jobs', 'last_succeeded_at', 'When it last went well.'),
            ('ingest.policy_jobs', 'total_runs', 'How often it has run.'),
            ('ingest.policy_jobs', 'total_failures', 'How often it has failed.'),
            -- everywhere else
            ('%', 'received_at', 'When this machine received it.')
        ),
        columns AS (
            SELECT c.oid, format('%s.%s', c.relnamespace::regnamespace, c.relname) AS relation, a.attname::text AS name
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relnamespace IN ('ingest'::regnamespace, 'market'::regnamespace) AND c.relkind IN ('r', 'v', 'm')
        ),
        own (relation, name) AS (
            VALUES ('market.candles', 'minutes'), ('market.candles', 'received_at'), ('ingest.candles_coarse', 'received_at'),
                   ('ingest.order_books', 'received_at'), ('ingest.refresh_requests', 'table_name'),
                   ('ingest.rollup_changes', 'channel')
        )
        SELECT c.relation, c.name, (SELECT w.says FROM words w WHERE c.relation LIKE w.relation AND c.name = w.column_name
                                    ORDER BY length(w.relation) DESC LIMIT 1) AS says
        FROM columns c
        WHERE (c.relation, c.name) NOT IN (SELECT o.relation, o.name FROM own o)
        UNION ALL
        -- Of a minute's books the view says what the rollup says, and of derivatives what the table says.
        SELECT replace(c.relation, 'ingest.', 'market.'), c.name, col_description(c.oid, a.attnum)
        FROM columns c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = c.name
        WHERE c.relation IN ('ingest.book_1m', 'ingest.funding_rates', 'ingest.open_interest', 'ingest.mark_prices',
                             'ingest.liquidations')
          AND c.name NOT IN ('instrument_id', 'received_at')
    LOOP
        IF remark.says IS NOT NULL THEN
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', remark.relation, remark.name, remark.says);
        END IF;
    END LOOP;
END
$$;
