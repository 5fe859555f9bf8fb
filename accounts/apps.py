from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    label = "accounts"

    def ready(self) -> None:
        # Not before: authentication needs this app's models.
        from accounts import authentication
        from aiagents.lib import credentials

        credentials.register(authentication.still_standing, authentication.credential_of)
