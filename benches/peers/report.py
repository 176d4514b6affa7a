"""The table: medians with their spread, ratios round by round, and whether the
machine was quiet enough to tell."""

import statistics

# A peer whose cost swings by more than this (interquartile range over median)
# says that the machine was busy with something else.
NOISY = 0.25
# So does a host that takes more than this of a core away.
STOLEN = 0.05
UNITS = {"cpu_us": "CPU µs", "per_second": "answers/s"}


def spread(values):
    if len(values) < 4:
        return (max(values) - min(values)) / statistics.median(values)
    quarters = statistics.quantiles(values, n=4)
    return (quarters[2] - quarters[0]) / statistics.median(values)


def figure(values, digits=2):
    if not isinstance(values, list):
        return f"{values:.{digits}f}" if isinstance(values, float) else str(values)
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}–{max(values):.{digits}f}]"


def digits_of(metric):
    return 0 if metric == "per_second" else 1


def judged(load, samples):
    """One result for each target of a load."""
    results = []
    for target in load.targets:
        value = lambda name: [sample[target.metric] for sample in samples[name]]
        better = min if target.most is not None else max
        best = better(load.peers, key=lambda name: statistics.median(value(name)))
        ratios = [ours / theirs for ours, theirs in zip(value(load.ours), value(best))]
        results.append({
            "metric": target.metric, "best": best, "ratio": statistics.median(ratios), "ratios": ratios, "target": str(target),
            "met": target.met(statistics.median(ratios)), "noisy": noisy(samples[load.ours], samples[best]),
            "medians": {name: statistics.median(value(name)) for name in samples}})
    return results


def noisy(ours, theirs):
    if spread([sample["cpu_us"] for sample in theirs]) > NOISY:
        return True
    return statistics.median(sample["steal"] for sample in ours + theirs) > STOLEN


def load_lines(title, load, samples, results):
    lines = [f"\n{title}", f"  {'server':<16} {'CPU µs':>26} {'answers/s':>30} {'p50 ms':>8} {'p99 ms':>8} {'memory MiB':>11}"]
    for name, rounds in samples.items():
        column = lambda metric: [sample[metric] for sample in rounds]
        lines.append(f"  {name:<16} {figure(column('cpu_us'), 1):>26} {figure(column('per_second'), 0):>30} "
                     f"{statistics.median(column('p50_ms')):>8.2f} {statistics.median(column('p99_ms')):>8.2f} "
                     f"{statistics.median(column('memory_mib')):>11.0f}")
    for result in results:
        lines.append(f"  {UNITS[result['metric']]}: {figure(result['ratios'])} of {result['best']}, target {result['target']}: {verdict(result)}")
    return lines


def verdict(result):
    if result["target"] == "–":
        return ""
    word = "met" if result["met"] else "MISSED"
    return word + (" (the machine was too noisy to tell)" if result.get("noisy") else "")


def markdown(results):
    lines = ["| work | measure | Warren | best peer | ratio, median [least–most] | target | |", "|---|---|---|---|---|---|---|"]
    for result in results:
        if "best" in result:
            digits = digits_of(result["metric"])
            ours, theirs = result["medians"][result["ours"]], result["medians"][result["best"]]
            lines.append(f"| {result['title']} | {UNITS[result['metric']]} | {ours:.{digits}f} | {theirs:.{digits}f} ({result['best']}) "
                         f"| {figure(result['ratios'])} | {result['target']} | {verdict(result)} |")
        else:
            lines.append(f"| {result['title']} | {result['metric']} | {figure(result['value'])} | | | {result['target']} | {verdict(result)} |")
    return "\n".join(lines)
