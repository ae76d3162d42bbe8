"""The scorecard for people: tables in the terminal, and one page."""
