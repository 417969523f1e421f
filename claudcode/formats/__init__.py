"""How pages print dates and times, by language, for Django to look up."""
