"""What ends a rehearsal early: each is one sentence for whoever typed the command."""


class RehearsalError(Exception):
    """The rehearsal cannot begin or go on; the text is shown as it is."""


class Unanswered(Exception):
    """A request whose answer never came, so that nobody knows whether it was counted; the text names what happened."""
