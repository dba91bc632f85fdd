"""The fixtures, a module per operator. Each module's CASES maps the name of a fixture
to a function that makes it."""
