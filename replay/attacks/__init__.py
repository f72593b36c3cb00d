"""Model extraction attacks that really attack: they ask a victim and record what they sent.

One attack per module; each is a generator of `base.Sent`. They need torch, except for `tramer`.
"""
