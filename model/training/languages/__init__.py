"""The recipe of `pocket_languages`: names the programming language of a text. See ../README.md."""
