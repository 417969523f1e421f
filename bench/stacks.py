"""What py-spy's raw stacks say: the functions with most time of their own. Pure."""

import re
from collections import Counter

MAIN_THREAD = "_run_module_as_main"
_LINE_NUMBER = re.compile(r":\d+\)$")


def hottest(stacks: str, count: int) -> list[tuple[str, float, float]]:
    """Return the `count` functions with most time of their own: name, own and whole percent.

    `stacks` are py-spy's raw lines: frames by semicolons, outermost first, then a count. Only the
    main thread counts: the others wait, and the kernel does not always say so.
    """
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, samples = line.rpartition(" ")
        if not frames.startswith(MAIN_THREAD):
            continue
        names = [_LINE_NUMBER.sub(")", frame) for frame in frames.split(";")]
        own[names[-1]] += int(samples)
        for name in set(names):
            whole[name] += int(samples)
    total = max(1, own.total())
    return [
        (name, 100 * n / total, 100 * whole[name] / total) for name, n in own.most_common(count)
    ]
