"""History on demand: what is missing of a range, fetched through repair's queue and the same writer.

`orders` is what was asked, `cuts` makes windows of it, `targets` holds it against the venues and the database, `run`
works on it, `show` tells of it, `rollups` follows up.
"""
