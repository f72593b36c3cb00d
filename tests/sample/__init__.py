"""What makes the sample trace and the profile that ship with Gamekeeper."""
