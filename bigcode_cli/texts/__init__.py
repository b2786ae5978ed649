"""What commands share that work on many texts: finding them, and keeping their results."""
