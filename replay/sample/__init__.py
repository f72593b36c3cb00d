"""The sample trace and its model's profile, with what made them; README.md tells of both."""
