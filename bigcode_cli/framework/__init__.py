"""Options, settings, errors, output and the Typer glue that every command shares."""
