-- Whether the table has a row of the instrument in a block's time that another source brought: what this import stores
-- has its own received_at, and its blocks may meet within a millisecond.
SELECT EXISTS (SELECT FROM {table}
               WHERE instrument_id = %(instrument_id)s AND time >= %(from_time)s AND time < %(to_time)s
                 AND received_at <> %(received_at)s)
