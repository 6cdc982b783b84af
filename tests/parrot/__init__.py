"""A tiny Llama that recites: trained once on this machine, kept in the repo's cache, exact to the last byte.

``parrot_folder()`` returns a model folder whose greedy answer to each question in ``ANSWERS`` is the text there: alone,
after any system prompt, in any later turn, in any batch. It looks back by about fifty tokens and no further, so what
stands before the last question does not matter to it.
"""

from tests.parrot.answers import ANSWERS, STOP_STRING, TOOL_RESULT, answer_of
from tests.parrot.folders import parrot_4bit_folder, parrot_folder

__all__ = ["ANSWERS", "STOP_STRING", "TOOL_RESULT", "answer_of", "parrot_4bit_folder", "parrot_folder"]
