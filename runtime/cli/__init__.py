"""The command line: one module a sub-command, each imported only when it is asked for."""
