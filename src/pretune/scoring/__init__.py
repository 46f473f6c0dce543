"""Figures, intervals and linear baselines of every task."""
