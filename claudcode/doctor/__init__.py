"""`manage.py doctor`: looks at what operators get wrong, and says what to do about each."""
