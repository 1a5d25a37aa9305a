"""What the one who runs the daemon sees of it: word to the service manager, and whether it is well."""
