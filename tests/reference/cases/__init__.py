"""The fixtures, a module for each operator. Each module's CASES maps the name of a fixture
to a function that makes it."""
