"""Composition: from `conf/` and a command line to one resolved configuration, with errors a user can act on."""
