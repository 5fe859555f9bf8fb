from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    label = "accounts"

    def ready(self) -> None:
        # Not before: authentication needs this app's models.
        from accounts import authentication
        from aiagents.core.live import credential_watch

        credential_watch.register(authentication.still_standing, authentication.credential_of)
