"""The analytics pages of the back office: the API's reports as cards, charts and tables."""
