"""Keep count of what is in stock."""


class Inventory:
    """Items by name, with how many there are and what one costs."""

    def __init__(self):
        self.items = {}

    def add(self, name, count, price):
        """Put `count` more of an item into stock."""
        if count < 0:
            raise ValueError("count must not be negative")
        self.items[name] = (self.count(name) + count, price)

    def count(self, name):
        """Return how many of an item are there."""
        return self.items.get(name, (0, 0))[0]

    def remove(self, name, count):
        """Take `count` of an item out of stock."""
        if count < 0:
