"""What all parts of supervision ask before they change a session: how far the daemon is."""

from waguard.errors import DatabaseUnfitError, DatabaseUnknownError, UnavailableError, WaguardError
from waguard.supervision.outages import Outages


class RunState:
    """One value for the whole daemon; only the methods here change it."""

    def __init__(self, outages: Outages) -> None:
        self._outages = outages
        self._loaded = self._restored = self._stopping = self._database = False

    @property
    def loaded(self) -> bool:
        """Whether the rows are known, and with them whose the workers are."""
        return self._loaded

    @property
    def restored(self) -> bool:
        """Whether the restore at the start is through."""
        return self._restored

    @property
    def stopping(self) -> bool:
        """Whether the daemon ends: nothing is started any more."""
        return self._stopping

    @property
    def database(self) -> bool:
        """Whether the database answered when it was asked last."""
        return self._database

    @property
    def waits_for_lease(self) -> str | None:
        """Why other daemons have the sessions; None: they do not."""
        kinds = ("lease_held", "standby", "host_without_lease")
        return next(filter(None, map(self._outages.why, kinds)), None)

    @property
    def database_unknown(self) -> str | None:
        """Why nobody uses the database although it answers; None: it is ours."""
        return self._outages.why("database_unknown")

    @property
    def begin_failed(self) -> str | None:
        """Why the start fails until a person acts; None: it does not."""
        return self._outages.why("begin_failed")

    def rows_loaded(self) -> None:
        """All rows were read, and their sessions come to memory now."""
        self._loaded = True
        self.rows_read()

    def restore_finished(self) -> None:
        """From here on the reconciler compares."""
        self._restored = True

    def begin_stop(self) -> None:
        """There is no way back."""
        self._stopping = True

    def rows_read(self) -> None:
        """All rows were read: nothing is missing for that."""
        self._outages.update("database_unfit", None)
        self.database_answered()

    def database_answered(self) -> None:
        """Whatever is missing in it."""
        self._database = True
        self._outages.update("database_down", None)

    def database_failed(self, error: WaguardError) -> None:
        """The rows could not be read, or it did not answer."""
        if isinstance(error, DatabaseUnfitError):  # it answers
            self._outages.update("database_unfit", error.message)
            return
        self._database = False
        if not isinstance(error, DatabaseUnknownError):  # which is reported by who sees it
            self._outages.update("database_down", error.message)

    def require_loaded(self) -> None:
        """Raises ``UnavailableError`` while no row is known."""
        if not self._loaded:
            failed = "the start fails: the condition begin_failed says why"
            why = self.waits_for_lease or self.database_unknown or (self.begin_failed and failed)
            why = why or "the database does not answer yet"
            raise UnavailableError(why, retry_after=5)

    def require_running(self) -> None:
        """Raises ``UnavailableError`` while the daemon stops: try again later."""
        if self._stopping:
            raise UnavailableError("waguard is stopping", retry_after=10)
