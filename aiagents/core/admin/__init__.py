"""Building blocks of the admin's lists, independent of any app. The site records who did what (aiagents/admin_site.py)."""
