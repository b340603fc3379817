"""Ledger drivers: where votes and decisions are ordered."""
