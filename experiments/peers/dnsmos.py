"""DNSMOS (C. Reddy et al., ICASSP 2022) of recordings at 16 kHz that standard input names.

A peer is a script for an interpreter that has `speechmos` and soundfile.
"""

import json
import sys

import soundfile
from speechmos import dnsmos

if __name__ == "__main__":
    for path in json.load(sys.stdin)["files"]:
        samples, rate = soundfile.read(path)
        scores = dnsmos.run(samples, rate)
        row = {name: float(scores[f"{name}_mos"]) for name in ("ovrl", "sig", "bak")}
        print(json.dumps(row))
