"""What the text of a line says by itself: places, shapes and check digits."""
