"""The errors of this package, and the list that collects them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_contracts.lines import line_of


class ContractError(Exception):
    """A contract cannot be compiled.

    Attributes:
        path: the YAML file.
        where: the place in the document, such as `schema.raw_events.properties.price.logicalTypeOptions`.
        reason: the reason, with the value received.
        line: the line of the file, from 1; None if the place has no line of its own.
        exit_code: the exit code of the command line.
    """

    exit_code = 2

    def __init__(self, path: Path | str, where: str, reason: str, line: int | None = None) -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {where}: {reason}")
        self.path = Path(path)
        self.where = where
        self.reason = reason
        self.line = line

    def at_line(self, line: int | None) -> ContractError:
        """Return the same error with its line in the file."""
        return ContractError(self.path, self.where, self.reason, line)


class ContractErrors(ContractError):  # noqa: N818 - it is several errors
    """A contract has several errors: one line each in the message; path, where and reason are the first's.

    Attributes:
        errors: every error that was found, in the order of the document.
    """

    def __init__(self, errors: Iterable[ContractError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.path, first.where, first.reason, first.line)
        self.args = ("\n".join(str(error) for error in self.errors),)


class UnknownFieldError(ValueError):
    """A rule names a field that the contract does not have.

    Attributes:
        name: the name of the field.
    """

    def __init__(self, name: object, known: Iterable[str]) -> None:
        super().__init__(f"no field is called {name!r}; there are {', '.join(known)}")
        self.name = str(name)


class Problems:
    """The errors of one contract, collected so that the author sees all of them at once.

    Attributes:
        path: the YAML file.
        errors: the errors so far, in the order of the document.
        warnings: sentences about parts that load and may surprise, each with its place.
        content: the content of the file, once it was read; it gives each error its line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[ContractError] = []
        self.warnings: list[str] = []
        self.content = b""
        self._in_document: list[str] = []

    def add_to_document(self, where: str, reason: str) -> None:
        """Add an error of the document itself; what is compiled at the same place adds no further error."""
        self._append(ContractError(self.path, where, reason))
        self._in_document.append(where)

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Collect a ValueError or ContractError of the block, with its place."""
        try:
            yield
        except ContractError as error:
            self._add(error)
        except UnknownFieldError as error:
            if not self.has_broken(error.name):
                self._add(ContractError(self.path, where, str(error)))
        except ValueError as error:
            self._add(ContractError(self.path, where, str(error)))

    def in_document(self, place: str) -> bool:
        """Tell whether the document itself has an error at or below a place."""
        return any(f"{known}.".startswith(f"{place}.") for known in self._in_document)

    def has_broken(self, field: str) -> bool:
        """Tell whether a field has an error; then a rule that reads it adds no error."""
        return any(f".properties.{field}." in f"{error.where}." for error in self.errors)

    def refuse(self) -> None:
        """Raise the errors, if there are any.

        Raises:
            ContractError: there is one error.
            ContractErrors: there are several errors.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise ContractErrors(self.errors)

    def _add(self, error: ContractError) -> None:
        place = f"{error.where}."
        if not any(
            place.startswith(f"{known}.") or f"{known}.".startswith(place) for known in self._in_document
        ):
            self._append(error)

    def _append(self, error: ContractError) -> None:
        if self.content and error.line is None:
            error = error.at_line(line_of(self.content, error.where))
        self.errors.append(error)
