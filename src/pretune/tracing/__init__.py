"""From one prediction to the contribution of every layer to it."""
