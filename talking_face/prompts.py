"""Recorded prompts of the Asterisk telephone exchange as training speech: real people, known texts, five languages.

    python -m talking_face.prompts OUT --language es --sounds /usr/share/asterisk/sounds/es_MX_f_Allison \\
        --texts /usr/share/doc/asterisk-core-sounds-es/core-sounds-es.txt.gz --voice allison-es

writes the folder that `talking_face.dataset corpus` packs (see `talking_face.corpus`). Debian's packages
asterisk-core-sounds-{en,es,fr,it,ru}-g722 hold 16 kHz studio recordings, CC BY-SA 3.0, the Russian ones CC BY 3.0.
The words of other languages than English get their phones from espeak-ng, and pocketsphinx's English models lay them
on the sound, each sound by its nearest English one.
"""

import argparse
import gzip
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from animate.errors import MienError, OptionError
from talking_face.alignment import SAMPLE_RATE, align_speech, normalise
from talking_face.corpus import assemble
from talking_face.phones import SILENCE, Phone, ipa_phones
from talking_face.voice_engines import available

_LINE = re.compile(r"^([\w/-]+)\s*:\s*(.+?)\s*$")
_ASIDE = re.compile(r"[\[(<{][^\])>}]*[\])>}]")  # remarks on how it sounds, and noises
_LONGEST, _SHORTEST = 15.0, 0.3  # seconds of a prompt
_GAP = 0.15  # seconds before, between and after the prompts of a file
_FILE = 8.0  # seconds; shorter prompts are joined to files of at least this length
_FEWEST, _MOST = 3.0, 22.0  # phones a second of a text that can be what was said


def read_texts(path: Path) -> dict[str, str]:
    """Prompt (its path without suffix) to text, of a `core-sounds-xx.txt`, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        lines = [_LINE.match(line) for line in file if not line.startswith(";")]
    texts = {found[1]: _ASIDE.sub(" ", found[2]).strip() for found in lines if found}
    return {name: text for name, text in texts.items() if any(char.isalpha() for char in text)}


def pronounce(words: list[str], language: str) -> dict[str, tuple[str, ...]]:
    """What espeak-ng makes of each word alone; words that it spells in another language or leaves mute are missing.

    Raises OptionError where espeak-ng is not installed.
    """
    if not available("espeak"):
        raise OptionError("The phones of other languages need espeak-ng: apt-get install espeak-ng.")
    listed = sorted(set(words))
    command = ["espeak-ng", "-q", "--ipa", "--sep=_", "-v", language]
    said = subprocess.run(command, input="\n\n".join(listed), capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if len(lines) != len(listed):
        lines = [subprocess.run([*command, word], capture_output=True, text=True, check=True).stdout for word in listed]
    lexicon = {}
    for word, line in zip(listed, lines, strict=True):
        symbols = [symbol for part in line.split() for symbol in part.split("_") if symbol]
        try:
            phones = [name for symbol in symbols for name in ipa_phones(symbol)]
        except KeyError:
            continue
        phones = [name for place, name in enumerate(phones) if name != SILENCE and phones[:place][-1:] != [name]]
        if phones and "(" not in line:
            lexicon[word] = tuple(phones)
    return lexicon


def prompts(
    sounds: Path, texts: dict[str, str], language: str, suffix: str = ".g722"
) -> Iterator[tuple[np.ndarray, list[Phone], str]]:
    """Sound (N,) at 16 kHz, phones that cover it, and text, of every prompt whose text fits its sound."""
    from talking_face.audio import load_audio

    spoken = {name: normalise(text) for name, text in texts.items()}
    words = [word for said in spoken.values() for word in said]
    lexicon = pronounce(words, language) if language != "en" else None
    for name, said in spoken.items():
        path = sounds / f"{name}{suffix}"
        if not path.is_file() or not said or (lexicon is not None and not set(said) <= set(lexicon)):
            continue
        sound = load_audio(path)
        if not _SHORTEST <= len(sound) / SAMPLE_RATE <= _LONGEST:
            continue
        phones = align_speech(sound, " ".join(said), lexicon)
        spoken_time = sum(phone.duration for phone in phones if phone.name != SILENCE)
        count = sum(phone.name != SILENCE for phone in phones)
        expected = sum(len(lexicon[word]) for word in said) if lexicon is not None else count
        if count and count == expected and _FEWEST <= count / spoken_time <= _MOST:
            yield sound, phones, texts[name]


def write_corpus(folder: Path, sounds: Path, texts: Path, language: str, voice: str, suffix: str = ".g722") -> float:
    """Write the prompts below `sounds`, joined to files of about eight seconds; returns the seconds written."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    total = 0.0
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as lines:
        for number, group in enumerate(_groups(prompts(sounds, read_texts(texts), language, suffix))):
            sound, phones = assemble([(piece, labels) for piece, labels, _ in group], (_GAP,) * (len(group) + 1))
            name, duration = f"{number:06d}.flac", len(sound) / SAMPLE_RATE
            soundfile.write(folder / name, sound, SAMPLE_RATE, subtype="PCM_16")
            entry = {"file": name, "voice": voice, "language": language, "duration": round(duration, 4)}
            entry |= {"text": " / ".join(text for *_, text in group), "phones": [phone.row() for phone in phones]}
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
            total += duration
    return total


def _groups(items: Iterable[tuple]) -> Iterator[list[tuple]]:
    group, length = [], 0.0
    for item in items:
        group.append(item)
        length += len(item[0]) / SAMPLE_RATE
        if length >= _FILE:
            yield group
            group, length = [], 0.0
    if group:
        yield group


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--language", required=True, help="espeak-ng's name of the language; en needs none")
    parser.add_argument("--sounds", type=Path, required=True, help="folder with the recordings, .g722")
    parser.add_argument("--texts", type=Path, required=True, help="core-sounds-xx.txt, gzipped or not")
    parser.add_argument("--voice", required=True, help="name of the speaker")
    options = parser.parse_args()
    try:
        seconds = write_corpus(options.out, options.sounds, options.texts, options.language, options.voice)
    except MienError as error:
        parser.exit(1, f"{error}\n")
    print(f"{seconds / 60:.1f} min of {options.voice}")


if __name__ == "__main__":
    main()
