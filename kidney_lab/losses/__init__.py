"""Losses: pure functions of tensors first, thin modules second."""
