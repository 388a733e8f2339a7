"""What the machine is, and how much of it others used meanwhile."""
import os
import re

SHORTEST = 0.5  # s of all cores: the system counts in steps of 0.01 s


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            found = re.search(r"^model name\s*:\s*(.*)$", lines.read(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else "unknown processor"


def openmp_runtimes():
    """The OpenMP runtimes in this process: with one, attn and PyTorch have the same threads."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as lines:
            return sorted(set(re.findall(r"/\S*/(lib(?:g|i)?omp[^/\s]*\.so[^/\s]*)", lines.read())))
    except OSError:
        return []


class Load:
    """Processor time, of the whole machine and of this process, since it was made."""

    def __init__(self):
        self.begin = self.read()

    @staticmethod
    def read():
        """(all, busy, ours) in s; None where the system does not tell."""
        try:
            with open("/proc/stat", encoding="utf-8") as lines:
                ticks = [int(text) for text in lines.readline().split()[1:9]]
        except OSError:
            return None
        second = os.sysconf("SC_CLK_TCK")
        ours = os.times()
        return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, ours.user + ours.system

    def of_others(self):
        """The share of all cores' time that other processes, and a host above, took; None where unknown,
        or after too short a time."""
        end = self.read()
        if self.begin is None or end is None:
            return None
        total, busy, ours = (after - before for before, after in zip(self.begin, end))
        return max(0.0, busy - ours) / total if total >= SHORTEST else None
