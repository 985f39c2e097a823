"""Losses: a function first, a thin module second."""
