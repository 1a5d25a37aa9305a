"""The configuration: TOML file < environment < flags.

`model` is its shape, `fields` the kinds of values in it, `source` loads it, `problems` words what is wrong, `keys`
lists every key for the documentation, `lines` finds a key's line in a file, `secret` checks and masks addresses.
"""
