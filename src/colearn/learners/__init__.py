"""Learners: one base class, and one module a framework."""
