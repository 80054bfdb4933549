"""Models on the Hugging Face Hub: fetched by name, uploaded by nothing but your own call.

What goes up is what ``save_pretrained`` writes, settings and weights, and a model card; no sample,
transcript or id. What comes down is read like any folder: json and safetensors, no pickle and no
code, each part by a plugin that is installed here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any, Protocol

from modalxai import storage
from modalxai.errors import CheckpointError, InputError, RequestError
from modalxai.foreign_errors import cause, told

__all__ = ["CARD", "HubMixin", "fetch", "is_name", "model_card", "push"]

CARD = "README.md"
"""The file that the hub shows as a model's page."""
UNREAD = (*(f"*{suffix}" for suffix in storage.PICKLES), "*.py", "*.msgpack", "*.h5", "*.onnx")
"""Files that are left on the hub: pickles, code, and weights of other frameworks."""
DASH = "–"


class Saved(Protocol):
    """Whatever writes itself into a folder: a model, an encoder, a fusion."""

    def save_pretrained(self, folder: str | Path) -> None: ...


class Client(Protocol):
    """What is used of ``huggingface_hub.HfApi``."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool, token: Any) -> Any: ...
    def file_exists(self, repo_id: str, filename: str, *, revision: Any, token: Any) -> bool: ...
    def upload_folder(
        self, *, repo_id: str, folder_path: str, commit_message: str, revision: Any, token: Any
    ) -> Any: ...


class ShareTable(Protocol):
    """What a card needs of a `modalxai.Report`."""

    def shares(self) -> Sequence[Any]: ...
    def table(self) -> str: ...


class HubMixin:
    """``push_to_hub`` for whatever has ``save_pretrained``."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        report: ShareTable | None = None,
        card: str | None = None,
        private: bool = True,
        message: str = "Upload with modalxai",
        revision: str | None = None,
        token: str | None = None,
        replace_card: bool = False,
    ) -> str:
        """Upload weights, settings and a model card; see `push`.

        Parameters
        ----------
        repo_id
            ``"owner/name"``; made if it is not there.
        report
            A `modalxai.Report`, whose table of shares goes into the card.
        card
            Markdown to use instead of `model_card`.
        private
            Of a repository that is made now. Make it public by ``False``, or on its page.
        message, revision, token
            Of the commit; the token is that of ``hf auth login`` for ``None``.
        replace_card
            Whether a card that is there already is replaced: someone may have edited it.

        Returns
        -------
        str
            The address of the commit.
        """
        text = model_card(self, report, repo_id) if card is None else card
        return push(
            self,  # type: ignore[arg-type]  # a mixin: the class it is mixed into has it
            repo_id,
            text,
            private=private,
            message=message,
            revision=revision,
            token=token,
            replace_card=replace_card,
        )


def push(
    part: Saved,
    repo_id: str,
    card: str | None = None,
    *,
    private: bool = True,
    message: str = "Upload with modalxai",
    revision: str | None = None,
    token: str | None = None,
    replace_card: bool = False,
    client: Client | None = None,
) -> str:
    """Upload what ``part.save_pretrained`` writes, and a card.

    Parameters
    ----------
    part
        A model, or one part of it.
    repo_id
        ``"owner/name"``; made if it is not there.
    card
        Markdown, written as ``README.md``; none for ``None``.
    private, message, revision, token, replace_card
        See `HubMixin.push_to_hub`.
    client
        ``huggingface_hub.HfApi()`` for ``None``.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    InputError
        A name that no repository can have.
    CheckpointError
        The part wrote a pickle.
    RequestError
        The hub refused, or cannot be reached; what it said is the cause.
    """
    if not is_name(repo_id):
        raise InputError(
            "this cannot be the name of a repository",
            expected="owner/name: letters, digits, '-', '_' and '.'",
            got=repr(repo_id),
            mend='write model.push_to_hub("my-account/my-model")',
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part.save_pretrained(folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        if pickles := sorted(path.name for path in files if path.suffix in storage.PICKLES):
            raise CheckpointError(
                f"{type(part).__name__} wrote pickles, which are not uploaded",
                expected="json and safetensors",
                got=str(pickles),
                mend="have its save_pretrained write safetensors; see modalxai.testing",
            )
        try:
            api: Any = _client() if client is None else client
            api.create_repo(repo_id, private=private, exist_ok=True, token=token)
            asked = {"revision": revision, "token": token}
            if card is not None and (replace_card or not api.file_exists(repo_id, CARD, **asked)):
                storage.write_text(folder / CARD, card)
            done = api.upload_folder(
                repo_id=repo_id, folder_path=str(folder), commit_message=message, **asked
            )
        except Exception as error:  # the hub's client raises whatever the network makes of it
            raise RequestError(
                f"{repo_id}: nothing was uploaded",
                expected="a hub that can be reached, and an account that may write there",
                got=told(error, token),
                mend="log in with `hf auth login`, or check the name and the network",
            ) from cause(error, token)
    return str(getattr(done, "commit_url", done))


def fetch(name: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a model on the hub, downloaded unless it is in the hub's cache.

    Parameters
    ----------
    name
        ``"owner/name"``.
    revision
        A commit, tag or branch. Name a commit for results that must not change.
    token
        That of ``hf auth login`` for ``None``.

    Raises
    ------
    CheckpointError
        No such model, or no network.
    """
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            name, revision=revision, token=token, ignore_patterns=list(UNREAD)
        )
    except Exception as error:  # as above
        raise CheckpointError(
            f"{name}: neither a folder here nor a model that could be fetched",
            expected="a folder that save_pretrained wrote, or owner/name on the hub",
            got=told(error, token),
            mend="check the path or name; a name needs a network, a private one a login",
        ) from cause(error, token)
    return Path(str(found))


def is_name(asked: str | Path) -> bool:
    """Whether this may be the name of a repository, ``"owner/name"``; a `Path` never is."""
    part = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
    plain = isinstance(asked, str) and re.fullmatch(f"{part}/{part}", asked) is not None
    return plain and not any(two in str(asked) for two in ("..", "--"))


def model_card(
    model: Any,
    report: ShareTable | None = None,
    name: str = "owner/name",
    *,
    license: str | None = None,
    languages: Sequence[str] = (),
    about: str = "",
) -> str:
    """A card in Markdown: what the model is, what it listens to, and what that does not say.

    Names of labels, groups and modalities are escaped: they can hold anything and stay text.

    Parameters
    ----------
    model
        An `EmotionModel`; of another part the card says only what it is.
    report
        A `modalxai.Report`, for its table of shares.
    name
        Under which others will load it.
    license, languages
        For the card's head: ``"apache-2.0"``, ``["ko"]``.
    about
        Your own words, Markdown, before everything else.

    Raises
    ------
    InputError
        A licence or language that is no plain word.
    """
    words = [*languages, *([] if license is None else [license])]
    if wrong := [word for word in words if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", word)]:
        raise InputError(
            "a card's head takes plain words",
            expected='license="apache-2.0", languages=["ko"]',
            got=repr(wrong),
            mend="use the hub's own short names",
        )
    head = ["---", "library_name: modalxai"]
    head += [] if license is None else [f"license: {license}"]
    head += ["language:", *(f"- {word}" for word in languages)] if languages else []
    head += ["tags:", "- modalxai", "- emotion-recognition", "- explainability", "---"]
    title = f"# {escape(name.rpartition('/')[2])}"
    parts = ["\n".join(head), title, *([about] if about else []), *_what_it_is(model, name)]
    if report is not None:
        parts += ["## What it listens to", _share_table(report), _fenced(report.table())]
    parts.append(_LIMITS)
    return "\n\n".join(parts) + "\n"


def escape(text: Any) -> str:
    """Any text as Markdown that shows it, on one line: punctuation as entities, no controls."""
    shown = "".join(c if c.isprintable() else " " for c in str(text))
    return "".join(c if c.isalnum() or c == " " or ord(c) > 127 else f"&#{ord(c)};" for c in shown)


def _what_it_is(model: Any, name: str) -> list[str]:
    modalities, labels = getattr(model, "modalities", ()), getattr(model, "labels", ())
    encoders: Mapping[str, Any] = getattr(model, "encoders", {})
    if not modalities:
        return [f"A part of a model: {escape(type(model).__name__)}."]
    rows = [["modality", "encoder", "width"]]
    rows += [[escape(m), escape(_kind(encoders[m])), str(encoders[m].dim)] for m in modalities]
    rows += [["all of them", escape(_kind(model.fusion)), f"{len(labels)} labels"]]
    said = ", ".join(f"{escape(one.name)} ({escape(one.kind)})" for one in labels)
    code = f'import modalxai as mx\n\nmodel = mx.EmotionModel.from_pretrained("{name}")'
    return [_table(rows), f"Labels: {said}.", _fenced(code, "python")]


def _kind(part: Any) -> str:
    return type(getattr(part, "wrapped", part)).__name__


def _share_table(report: ShareTable) -> str:
    rows = list(report.shares())
    if not rows:
        return "The report has no rows."
    modalities = list(rows[0].share)
    grouped = any(row.group for row in rows)
    header = ["label", *(["group"] if grouped else []), "n", *map(escape, modalities), "remarks"]
    lines = [header]
    for row in rows:
        cells = [escape(row.label), *([escape(row.group)] if grouped else []), str(row.n)]
        cells += [_percent(row.share[m], row.low[m], row.high[m]) for m in modalities]
        cells.append(escape("; ".join(dict.fromkeys([*row.flags, *filter(None, [row.reason])]))))
        lines.append(cells)
    return _table(lines)


def _percent(share: float, low: float, high: float) -> str:
    if isnan(share):
        return DASH
    interval = "" if isnan(low) or isnan(high) else f" ({100 * low:.0f} to {100 * high:.0f})"
    return f"{100 * share:.0f} %{interval}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _fenced(text: str, language: str = "text") -> str:
    """A block of code whose fence is longer than any in it."""
    shown = "\n".join(
        "".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")
    )
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def _client() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


_LIMITS = """## What this does not say

A score is the model's, about a recording and its words; it is not what somebody feels. Shares say
what this model used, on these samples, under the removal named above; they are not properties of
people or of emotions. Do not decide about a person by them."""
