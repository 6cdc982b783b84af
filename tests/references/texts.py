"""A hundred texts that an embedding model may meet, plain and difficult ones."""

from __future__ import annotations

_SENTENCES = """
A man is eating food.|A man is eating a piece of bread.|The girl is carrying a baby.|A man is riding a horse.
A woman is playing violin.|Two men pushed carts through the woods.|A monkey is playing drums.|A cheetah runs behind its prey.
The stock market fell sharply today.|Interest rates were left unchanged by the central bank.|Rain is expected in the north.
How do I install the package?|What is the capital of France?|Why is the sky blue?|Where are the logs of the server written?
def add(a, b):\\n    return a + b|SELECT name FROM users WHERE id = 42;|for (int i = 0; i < n; i++) { sum += x[i]; }
{"error": {"code": 404, "message": "not found"}}|https://example.org/a/b?c=d&e=f#g|user@example.org|C:\\\\Users\\\\name\\\\file.txt
The committee approved the budget after a long debate.|Our flight to Lisbon was delayed by three hours.
Boil the pasta for nine minutes, then drain it.|Photosynthesis turns light into chemical energy.
The treaty was signed in 1648.|Water boils at 100 degrees Celsius at sea level.|She sold her car and bought a bicycle.
The patient complains of headaches and dizziness.|Turn left at the church, then follow the river.
The library closes at eight in the evening.|He plays the piano badly, but with joy.|Cats sleep most of the day.
A neural network has layers of weights.|The bridge was closed for repairs.|Call me when you arrive.
Das Wetter ist heute sch\u00f6n.|Le chat dort sur le canap\u00e9.|El tren sale a las cinco.|\u0418\u0432\u0430\u043d \u0447\u0438\u0442\u0430\u0435\u0442 \u043a\u043d\u0438\u0433\u0443.
\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002|\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002|\uc11c\uc6b8\uc740 \ub300\ud55c\ubbfc\uad6d\uc758 \uc218\ub3c4\uc785\ub2c8\ub2e4.|\u03a0\u03bf\u03cd \u03b5\u03af\u03bd\u03b1\u03b9 \u03b7 \u03b2\u03b9\u03b2\u03bb\u03b9\u03bf\u03b8\u03ae\u03ba\u03b7;
\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645|\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd|\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01|\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e|Ch\u00e0o bu\u1ed5i s\u00e1ng|\u0130stanbul'da ya\u011fmur ya\u011f\u0131yor.
"""
_DIFFICULT = (
    "",
    " ",
    "\n\n\t  \n",
    "a",
    "A" * 400,
    "word " * 10_000,
    "\0",
    "before\0after",
    "\u0000\u0001\u0002\u001f\u007f",
    "\U0001f600",
    "I \u2764\ufe0f \U0001f355 and \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "\u202eright to left override\u202c",
    "e\u0301 is \u00e9",
    "\ufeffbyte order mark",
    "\u200b\u200c\u200d\u2060",
    "\ufffd\ufffe\uffff",
    "z\u0335\u0321\u0323a\u0334l\u0337g\u0338o\u0336",
    "\u212b\u00c5\u2126\ufb01\uff26\uff55\uff4c\uff4c",
    "<s> </s> <pad> <unk> [CLS] [SEP] [PAD] [MASK]",
    "<|endoftext|><bos><eos><start_of_turn>",
    "1234567890 " * 30,
    "3.14159 2.71828 1.41421 1e-12 0xdeadbeef",
    "UPPER lower MiXeD",
    "tab\tnewline\nreturn\rform\f",
    "...!!!???---___***",
    "'single' \"double\" `back` \u201ccurly\u201d \u00abangle\u00bb",
    "a\u0000" * 50,
    "\U00010348\U0001d11e\U00020000",
    "the the the the the the the the",
    "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "\u05d0\u05d1\u05d2 abc \u0627\u0628\u062c 123",
    "x" * 99 + " " + "y" * 99,
    "\r\n" * 40,
    "\u3000\u00a0\u2003",
    "\ud55c\uae00 \u4e2d\u6587 \u65e5\u672c\u8a9e \u0440\u0443\u0441\u0441\u043a\u0438\u0439 " * 20,
)
_COUNT = 100


def texts() -> list[str]:
    """Return the texts."""
    sentences = [one.replace("\\n", "\n") for line in _SENTENCES.strip().splitlines() for one in line.split("|")]
    found = [*_DIFFICULT, *sentences]
    found += [f"{one} {other}" for one, other in zip(sentences, reversed(sentences), strict=True)]
    return found[:_COUNT]
