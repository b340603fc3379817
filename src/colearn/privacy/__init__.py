"""Differential privacy: budgets, accountants and the noise in votes and training."""
