"""ExDark, objects in low light."""
