"""Training of the networks that profiles carry: `train.py` is the way in."""
