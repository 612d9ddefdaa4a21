"""From the old service to waguard: what is still to be changed, in which order, and the way back."""
