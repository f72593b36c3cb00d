"""What a thief gets: substitutes trained on his loot, and how well they do.

Figures follow their seed, on one machine with one torch thread.
"""
