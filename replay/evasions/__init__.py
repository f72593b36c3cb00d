"""Ways in which a thief hides an attack; each puts an oracle of its own before the victim's."""
