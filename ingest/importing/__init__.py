"""`ingest import`: exchanges' dump files, and any table with a mapping, into the database at COPY's speed.

In the order of the data: `names` reads what a file's name tells, `layout` and `mapping` say what its columns are, `job`
is a file with all that, `source` and `table` bring its rows in blocks, `fast` turns a block into COPY text by
arithmetic on columns, `exact` does it line by line where that is not certain, `reader` chooses between them, `run` sees
what is missing, `telling` says it, `ledger` remembers how far a file came, `load` imports files, `command` shows it.
"""
