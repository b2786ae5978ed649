"""`bigcode tag`: find and redact personal data and secrets."""
