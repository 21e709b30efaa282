"""Lesions in a few words, as they are said and as they print: "ablate 20% of conv5_3", "noise 0.8 on conv3_2".

    lesion   = part { " + " part }
    part     = verb [ dose ] place [ seed ]
    place    = [ "at" | "on" | "in" | "into" | "of" ] [ share | units ] site
    share    = NUMBER "% of"          units = "units" NUMBERS "of"          seed = "(seed" NUMBER ")"

A verb is a kind's name in small letters. Its dose is one number ("noise 0.8"), or numbers by name ("clamp min 0"), with
its switches as they are called ("relative", "multiplicative"). `Ablate`, `Keep` and `Prune` have their own verbs.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any

from .errors import LesionError
from .lesion import KINDS, Lesion, SiteLesion, UnitLesion
from .values import told

# Verbs that are not just a kind's name in small letters: the kind, and what else they say.
_VERBS: dict[str, tuple[str, dict[str, Any]]] = {
    "ablate": ("Ablate", {}),
    "mean-ablate": ("Ablate", {"to": "mean"}),
    "resample-ablate": ("Ablate", {"to": "resample"}),
    "keep only": ("Keep", {}),
    "keep": ("Keep", {}),
    "mean-ablate all but": ("Keep", {"to": "mean"}),
    "resample-ablate all but": ("Keep", {"to": "resample"}),
}
_SWITCHES: dict[str, dict[str, Any]] = {"per channel": {"per": "channel"}, "unscaled": {"rescale": False}}
_PLACE = re.compile(r"(?:^|\s)(?:at|on|in|into|of)\s+")
_SEED = re.compile(r"\s*\(?\s*\bseed\s+(\d+)\s*\)?$")
_SHARE = re.compile(r"([-+.\de]+)\s*%\s*(?:of(?:\s+|$))?(?:the\s+)?(?:units\s+(?:of|at|in)\s+)?")
_UNITS = re.compile(r"units?\s+([\d\s,–-]+?)\s*(?:of|at|in)\s+")
_EXAMPLES = {
    "Ablate": "ablate 20% of conv5_3",
    "Keep": "keep only 10% of conv5_3",
    "Noise": "noise 0.8 on conv3_2, or noise 0.5 relative on conv3_2",
    "Dropout": "dropout 0.8 on conv4_3",
    "Clamp": "clamp 0 at units 3,7 of conv5_3, or clamp max 2 at conv5_3",
    "Shift": "shift +2 at units 3,7 of conv5_3",
    "Scale": "scale 0.5 at conv4_3",
    "Prune": "prune 50% of the weights into conv4_3",
}


def lesion_of_words(text: str) -> Lesion:
    """Read a lesion from words; what a lesion prints is read back as the same lesion.

    Only what is printed short cannot be: more than six units, numbers of more than six digits, a mask, a dropout
    without rescaling.

    Raises:
        LesionError: words that are no lesion, with the nearest right ones; or a lesion that cannot be.

    Example:
        >>> lesion_of_words("ablate 20% of conv5_3 + noise 0.8 on conv3_2")
        Ablate('conv5_3', fraction=0.2) + Noise('conv3_2', std=0.8)
        >>> str(lesion_of_words("prune 50% into conv4_3"))
        'prune 50% of the weights into conv4_3 (seed 0)'
    """
    if not isinstance(text, str) or not text.strip():
        raise LesionError(f"a lesion in words, such as {_EXAMPLES['Ablate']!r}; got {told(text)}")
    parts = [_part(" ".join(part.split())) for part in re.split(r"\s\+\s", f" {text} ")]
    total: Lesion = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _part(text: str) -> Lesion:
    verb, kind, said = _verb(text)
    rest = text[len(verb) :].strip()
    if seed := _SEED.search(rest):
        if "seed" not in {f.name for f in dataclasses.fields(KINDS[kind])}:
            raise _wrong(text, kind, "has no seed")
        said["seed"], rest = int(seed[1]), rest[: seed.start()].strip()
    if kind == "Prune":
        found = re.fullmatch(r"([-+.\de]+)\s*%\s*(?:of the weights\s+)?(?:into|at|of)\s+(.+)", rest)
        if found is None:
            raise _wrong(text, kind, "says no share of the weights and no site")
        return _made(kind, said | {"fraction": _number(found[1], text, kind) / 100, "site": found[2]}, text)
    if issubclass(KINDS[kind], UnitLesion) and kind in ("Ablate", "Keep"):
        return _made(kind, said | _place(rest.removeprefix("at ").removeprefix("of "), text, kind), text)
    where = _PLACE.search(f" {rest}")
    if where is None:
        raise _wrong(text, kind, "says no place: write 'at' and a site after its dose")
    said |= _dose(f" {rest}"[: where.start()].split(), text, kind)
    return _made(kind, said | _place(f" {rest}"[where.end() :], text, kind), text)


def _verb(text: str) -> tuple[str, str, dict[str, Any]]:
    """The words of a part that are its verb, the kind they stand for, and what else they say."""
    verbs = dict(_VERBS)
    for name in KINDS:
        verbs.setdefault(name.lower(), (name, {}))
    lower = text.lower()
    here = [verb for verb in verbs if lower == verb or lower.startswith(f"{verb} ")]
    if not here:
        first = lower.split(" ")[0]
        near = difflib.get_close_matches(first, verbs, n=1, cutoff=0.5)
        example = f": write {_EXAMPLES.get(verbs[near[0]][0], near[0])!r}" if near else ""
        hint = f"did you mean {near[0]!r}{example}" if near else f"there are {', '.join(verbs)}"
        raise LesionError(f"no lesion begins with {told(first)} in {told(text)}: {hint}")
    verb = max(here, key=len)
    return text[: len(verb)], verbs[verb][0], dict(verbs[verb][1])


def _dose(words: list[str], text: str, kind: str) -> dict[str, Any]:
    """What the words between verb and place say: numbers, by name or the one that needs none, and switches."""
    fields = {f.name: f for f in dataclasses.fields(KINDS[kind])}
    own = [name for name in fields if name not in {f.name for f in dataclasses.fields(UnitLesion)}]
    numbers = [name for name in own if fields[name].type is float or str(fields[name].type).startswith("float")]
    switches = {name: {name: True} for name in own if fields[name].default is False}
    switches |= {words: says for words, says in _SWITCHES.items() if set(says) <= set(own)}
    said: dict[str, Any] = {}
    rest = list(words)
    while rest:
        pair = " ".join(rest[:2])
        switch = next((each for each in (pair, rest[0]) if each in switches), None)
        if switch is not None:
            said |= switches[switch]
            rest = rest[len(switch.split()) :]
        elif rest[0] in numbers and len(rest) > 1:
            said[rest[0]] = _number(rest[1], text, kind)
            rest = rest[2:]
        elif re.match(r"[-+×x.\d]", rest[0]) and numbers and numbers[0] not in said:
            said[numbers[0]] = _number(rest[0], text, kind)
            rest = rest[1:]
        else:
            near = difflib.get_close_matches(rest[0], [*switches, *numbers], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join([*numbers, *switches])}"
            raise _wrong(text, kind, f"has no {told(rest[0])} ({hint})")
    if numbers and not said.keys() & set(numbers):
        raise _wrong(text, kind, f"says no {' or '.join(numbers)}")
    return said


def _place(words: str, text: str, kind: str) -> dict[str, Any]:
    """The site, and which of its units."""
    said: dict[str, Any] = {}
    if share := _SHARE.match(words):
        said["fraction"], words = _number(share[1], text, kind) / 100, words[share.end() :]
    elif units := _UNITS.match(words):
        said["units"], words = _units(units[1], text, kind), words[units.end() :]
    elif re.match(r"units?\s", words):
        raise _wrong(text, kind, "names units: write them as 'units 3,7 of SITE'")
    words = words.strip()
    if not words or " " in words.replace(", ", ","):
        raise _wrong(text, kind, f"names no one site, but {told(words)}" if words else "names no site")
    return said | {"site": words}


def _units(words: str, text: str, kind: str) -> list[int]:
    found: list[int] = []
    for one in filter(None, re.split(r"[\s,]+", words)):
        span = re.fullmatch(r"(\d+)(?:[–-](\d+))?", one)
        if span is None or len(one) > 20 or (last := int(span[2] or span[1])) - int(span[1]) > 100_000:
            raise _wrong(text, kind, f"has units {told(one)}: write numbers, such as 3,7 or 3-7")
        found += range(int(span[1]), last + 1)
    return found


def _number(word: str, text: str, kind: str) -> float:
    """A number, also a gain as ×0.5 and a probability as 80%."""
    plain = word.lstrip("×x") if kind == "Scale" else word
    try:
        return float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        raise _wrong(text, kind, f"has {told(word)} where a number belongs") from None


def _made(kind: str, said: dict[str, Any], text: str) -> SiteLesion:
    if "fraction" in said:
        said["fraction"] = round(said["fraction"], 12)  # 7% is 0.07, not what dividing makes of it
    try:
        (lesion,) = Lesion.from_dict({"kind": kind, **said}).parts
    except LesionError as error:
        raise LesionError(f"{told(text)}: {error}") from None
    return lesion


def _wrong(text: str, kind: str, what: str) -> LesionError:
    example = f": write, for example, {_EXAMPLES[kind]}" if kind in _EXAMPLES else ""
    return LesionError(f"{told(text)} {what}{example}")
