"""Beside the script on every worker."""
import re


def tokens(line):
    return re.findall(r"\w+", line.lower())
