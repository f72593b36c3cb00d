"""The demo: broker, service and sink as processes, with thieves among honest accounts."""
