"""The analytics pages of the admin site: the API's reports as cards, charts and tables."""
