"""The training spine: state, steps, devices, optimisers, checkpoints, loop and writers."""
