"""How good is it: metrics, intervals, paired comparison, linear baselines."""
