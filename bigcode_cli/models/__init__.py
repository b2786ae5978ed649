"""What the commands on models need beside `hub`, which brings models here."""
